package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// mode OCTAL FILE…
func cmdMode(ts *testscript.TestScript, _ bool, args []string) {
	for _, file := range args[1:] {
		info, err := os.Stat(ts.MkAbs(file))
		ts.Check(err)
		if got := fmt.Sprintf("%o", info.Mode().Perm()); got != args[0] {
			ts.Fatalf("%s has mode %s, want %s", file, got, args[0])
		}
	}
}

// flip FILE OFFSET changes one bit; a negative offset counts from the end.
func cmdFlip(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	data, err := os.ReadFile(path)
	ts.Check(err)
	at, err := strconv.Atoi(args[1])
	ts.Check(err)
	if at < 0 {
		at += len(data)
	}
	data[at] ^= 1
	ts.Check(os.WriteFile(path, data, 0o600))
}

// cut FILE BYTES leaves the first BYTES, or takes that many off when negative.
func cmdCut(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	n, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	if n < 0 {
		info, err := os.Stat(path)
		ts.Check(err)
		n += info.Size()
	}
	ts.Check(os.Truncate(path, n))
}

// copytree FROM TO
func cmdCopyTree(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.RemoveAll(ts.MkAbs(args[1])))
	ts.Check(os.CopyFS(ts.MkAbs(args[1]), os.DirFS(ts.MkAbs(args[0]))))
	ts.Check(filepath.WalkDir(ts.MkAbs(args[1]), func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			return os.Chmod(path, 0o700)
		}
		return err
	}))
}

// certify csr|self|ca|leaf DIR SUBJECT makes a client's files in DIR: key.pem, and
// its request, its self-signed certificate, a CA of its own, or what that CA signed.
func cmdCertify(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[1])
	ts.Check(os.MkdirAll(dir, 0o700))
	m, err := newMaterial(args[0], args[2], func() (*x509.Certificate, any) { return foreign(ts, dir) })
	ts.Check(err)
	names := map[string][2]string{"csr": {"key.pem", "request.pem"}, "self": {"key.pem", "cert.pem"},
		"ca": {"foreign-key.pem", "foreign.pem"}, "leaf": {"key.pem", "cert.pem"}}[args[0]]
	ts.Check(os.WriteFile(filepath.Join(dir, names[0]), m.key, 0o600))
	ts.Check(os.WriteFile(filepath.Join(dir, names[1]), m.document, 0o600))
}

// A material is what a client brings: a key and what it says about it, in PEM.
type material struct{ key, document []byte }

func newMaterial(kind, subject string, parent func() (*x509.Certificate, any)) (m material, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return m, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return m, err
	}
	name := pkix.Name{CommonName: subject}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: name, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	block := &pem.Block{Type: "CERTIFICATE"}
	switch kind {
	case "csr":
		block.Type = "CERTIFICATE REQUEST"
		block.Bytes, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: name}, key)
	case "ca":
		template.IsCA, template.KeyUsage = true, x509.KeyUsageCertSign
		block.Bytes, err = x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	case "self":
		block.Bytes, err = x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	case "leaf":
		ca, caKey := parent()
		block.Bytes, err = x509.CreateCertificate(rand.Reader, template, ca, key.Public(), caKey)
	}
	return material{pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), pem.EncodeToMemory(block)}, err
}

func foreignPEM(t testing.TB, kind, subject string) []byte {
	t.Helper()
	m, err := newMaterial(kind, subject, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m.document
}

func foreign(ts *testscript.TestScript, dir string) (*x509.Certificate, any) {
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(dir, name))
		ts.Check(err)
		block, _ := pem.Decode(data)
		return block.Bytes
	}
	ca, err := x509.ParseCertificate(read("foreign.pem"))
	ts.Check(err)
	key, err := x509.ParsePKCS8PrivateKey(read("foreign-key.pem"))
	ts.Check(err)
	return ca, key
}

// deep VAR sets VAR to a folder whose path is longer than a socket's address.
func cmdDeep(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(strings.Repeat(strings.Repeat("d", 60)+"/", 3))
	ts.Check(os.MkdirAll(dir, 0o700))
	ts.Setenv(args[0], dir)
}

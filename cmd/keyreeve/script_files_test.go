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
	subject := pkix.Name{CommonName: args[2]}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	write := func(name, kind string, der []byte, err error) {
		ts.Check(err)
		ts.Check(os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	}
	writeKey := func(name string) {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		write(name, "PRIVATE KEY", der, err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: subject, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	switch args[0] {
	case "csr":
		writeKey("key.pem")
		der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: subject}, key)
		write("request.pem", "CERTIFICATE REQUEST", der, err)
	case "self":
		writeKey("key.pem")
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		write("cert.pem", "CERTIFICATE", der, err)
	case "ca":
		writeKey("foreign-key.pem")
		template.IsCA, template.KeyUsage = true, x509.KeyUsageCertSign
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		write("foreign.pem", "CERTIFICATE", der, err)
	case "leaf":
		writeKey("key.pem")
		parent, parentKey := foreign(ts, dir)
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
		write("cert.pem", "CERTIFICATE", der, err)
	}
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

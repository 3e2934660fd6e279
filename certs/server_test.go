package certs_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/internal/durable"
)

func TestIssueServer(t *testing.T) {
	ca := newCA(t, newClock())
	hosts := []string{"KMS.Example.", "kms.example", "10.0.0.9", "2001:db8::9", "::ffff:10.0.0.9"}
	rsaServer := must(ca.IssueServer(certs.ServerRequest{Hosts: hosts}))
	leaf := rsaServer.Certificate
	if diff := cmp.Diff([]string{"kms.example"}, leaf.DNSNames); diff != "" {
		t.Error(diff)
	}
	var addresses []string
	for _, a := range leaf.IPAddresses {
		addresses = append(addresses, a.String())
	}
	if diff := cmp.Diff([]string{"10.0.0.9", "2001:db8::9"}, addresses); diff != "" {
		t.Error(diff)
	}
	if pub, ok := leaf.PublicKey.(*rsa.PublicKey); !ok || pub.N.BitLen() != 2048 {
		t.Errorf("the default key is %T, want RSA-2048", leaf.PublicKey)
	}
	if want := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}; !slices.Equal(leaf.ExtKeyUsage, want) {
		t.Errorf("extended key usage %v, want %v", leaf.ExtKeyUsage, want)
	}
	if leaf.KeyUsage != x509.KeyUsageDigitalSignature|x509.KeyUsageKeyEncipherment || leaf.IsCA || !leaf.BasicConstraintsValid {
		t.Errorf("key usage %b, CA %v", leaf.KeyUsage, leaf.IsCA)
	}
	p256 := must(ca.IssueServer(certs.ServerRequest{Hosts: hosts, KeyType: certs.P256})).Certificate
	if _, ok := p256.PublicKey.(*ecdsa.PublicKey); !ok || p256.KeyUsage != x509.KeyUsageDigitalSignature {
		t.Errorf("P-256: key %T usage %b", p256.PublicKey, p256.KeyUsage)
	}
}

func TestParseHostsRefuses(t *testing.T) {
	for host, want := range map[string]string{
		"":                              "empty",
		"https://kms":                   "URL",
		"10.0.0.0/8":                    "URL or network",
		"kms:5696":                      "without port",
		"[::1]":                         "without brackets",
		"10.0.0.300":                    "looks like an IP address",
		"fe80::1%eth0":                  "zone",
		"0.0.0.0":                       "cannot be connected to",
		"::":                            "cannot be connected to",
		"224.0.0.1":                     "cannot be connected to",
		"a..b":                          "empty part",
		"-a":                            `begins or ends with "-"`,
		"*.example":                     "wildcard",
		"kms example":                   "cannot be in a host name",
		"kms\x00.example":               "cannot be in a host name",
		"schlüssel.example":             "xn--",
		strings.Repeat("a", 64):         "longer than 63",
		strings.Repeat("abcdefg.", 33):  "longer than 253",
		"kms.example\nX-Injected: true": "without port",
	} {
		_, _, err := certs.ParseHosts([]string{host})
		if !errors.Is(err, certs.ErrBadHost) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want ErrBadHost with %q", host, err, want)
		} else if strings.ContainsAny(err.Error(), "\n\x00") {
			t.Errorf("%q: the error carries control characters: %q", host, err)
		}
	}
	if _, _, err := certs.ParseHosts(nil); !errors.Is(err, certs.ErrBadHost) {
		t.Errorf("no hosts: got %v, want ErrBadHost", err)
	}
}

func TestWriteServerFiles(t *testing.T) {
	r := newRig(t, certs.P256)
	for file, perm := range map[string]os.FileMode{"server.pem": 0o644, "server-key.pem": 0o600, "ca.pem": 0o644} {
		if got := must(os.Stat(filepath.Join(r.dir, file))).Mode().Perm(); got != perm {
			t.Errorf("%s has mode %04o, want %04o", file, got, perm)
		}
	}
	for file, blocks := range map[string]int{"server.pem": 2, "server-key.pem": 1, "ca.pem": 1} {
		if got := bytes.Count(must(os.ReadFile(filepath.Join(r.dir, file))), []byte("-----BEGIN")); got != blocks {
			t.Errorf("%s has %d PEM blocks, want %d", file, got, blocks)
		}
	}
	if entries := must(os.ReadDir(r.dir)); len(entries) != 3 {
		t.Errorf("the folder holds %v, want three files", entries)
	}
}

// crashing is a disk whose power fails at the n-th rename.
type crashing struct {
	durable.FS
	left int
}

var errPower = errors.New("power failed")

func (c *crashing) Rename(from, to string) error {
	if c.left == 0 {
		return errPower
	}
	c.left--
	return c.FS.Rename(from, to)
}

// A crash between any two of WriteServer's steps must leave a folder that opens, even when the CA changes too.
func TestServerFolderOpensAfterACrashAnywhere(t *testing.T) {
	for step := 0; ; step++ {
		r := newRig(t, certs.P256)
		next := must(newCA(t, r.clock).IssueServer(certs.ServerRequest{Hosts: []string{"next"}, KeyType: certs.P256}))
		err := certs.WriteServerTo(&crashing{durable.OS, step}, r.dir, next)
		if _, err := certs.LoadServer(r.dir, start); err != nil {
			t.Errorf("after a crash at step %d: %v", step, err)
		}
		if err == nil {
			if step != 5 {
				t.Errorf("%d steps were crashed, want 5", step)
			}
			return
		}
		if !errors.Is(err, errPower) {
			t.Fatal(err)
		}
	}
}

func TestReloadKeepsTheOldCertificate(t *testing.T) {
	r := newRig(t, certs.P256)
	other := newRig(t, certs.P256)
	before := r.reloader.Leaf()
	good := map[string][]byte{}
	for _, f := range []string{"server.pem", "server-key.pem", "ca.pem"} {
		good[f] = must(os.ReadFile(filepath.Join(r.dir, f)))
	}
	theirs := func(f string) []byte { return must(os.ReadFile(filepath.Join(other.dir, f))) }
	short := must(r.ca.IssueServer(certs.ServerRequest{Hosts: []string{"a"}, KeyType: certs.P256, Validity: time.Minute}))
	encrypted := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")})
	client := must(r.ca.IssueClient(request))
	for name, tc := range map[string]struct {
		files map[string][]byte
		want  string
		dates bool
	}{
		"other key":       {map[string][]byte{"server-key.pem": theirs("server-key.pem")}, "does not belong to the certificate", false},
		"other CA":        {map[string][]byte{"ca.pem": theirs("ca.pem")}, "does not lead to ca.pem", false},
		"empty":           {map[string][]byte{"server.pem": nil}, "no certificate found", false},
		"cut certificate": {map[string][]byte{"server.pem": good["server.pem"][:200]}, "no certificate found", false},
		"cut key":         {map[string][]byte{"server-key.pem": good["server-key.pem"][:80]}, "no private key found", false},
		"swapped":         {map[string][]byte{"server.pem": good["server-key.pem"]}, "private key", false},
		"encrypted key":   {map[string][]byte{"server-key.pem": encrypted}, "without a passphrase", false},
		"client's":        {map[string][]byte{"server.pem": client.CertificatePEM(), "server-key.pem": client.KeyPEM().Expose()}, "usage", false},
		"expired":         {map[string][]byte{"server.pem": pemOf(short.Certificate), "server-key.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: short.Key.Expose()})}, "expired on 2026-03-04T05:07:07Z", true},
	} {
		for f, data := range good {
			if changed, ok := tc.files[f]; ok {
				data = changed
			}
			if err := os.WriteFile(filepath.Join(r.dir, f), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if tc.dates {
			r.clock.advance(time.Hour)
		}
		err := r.reloader.Reload()
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, tc.want)
		}
		if errors.Is(err, certs.ErrOutsideDates) != tc.dates {
			t.Errorf("%s: errors.Is(ErrOutsideDates) = %v, want %v", name, !tc.dates, tc.dates)
		}
		if !r.reloader.Leaf().Equal(before) {
			t.Fatalf("%s: the certificate in use changed", name)
		}
	}
	if err := os.Remove(filepath.Join(r.dir, "server.pem")); err != nil {
		t.Fatal(err)
	}
	if err := r.reloader.Reload(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: got %v, want ErrNotExist", err)
	}
	if _, err := certs.NewReloader(r.dir, r.clock.now); err == nil {
		t.Error("NewReloader opened a folder without certificate")
	}
}

func TestReloadTakesANewCertificate(t *testing.T) {
	r := newRig(t, certs.P256)
	before := r.reloader.Leaf()
	next := must(r.ca.IssueServer(certs.ServerRequest{Hosts: []string{"localhost"}, KeyType: certs.P256}))
	if err := certs.WriteServer(r.dir, next); err != nil {
		t.Fatal(err)
	}
	if err := r.reloader.Reload(); err != nil {
		t.Fatal(err)
	}
	served := must(r.reloader.GetCertificate(nil))
	if !served.Leaf.Equal(next.Certificate) || served.Leaf.Equal(before) || len(served.Certificate) != 2 {
		t.Errorf("serves %s with %d certificates, want the new leaf and the CA", served.Leaf.SerialNumber, len(served.Certificate))
	}
}

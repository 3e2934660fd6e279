package certs_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/certs"
)

func TestParseKeyType(t *testing.T) {
	for text, want := range map[string]certs.KeyType{"": certs.RSA2048, "rsa2048": certs.RSA2048, "p256": certs.P256} {
		if got, err := certs.ParseKeyType(text); err != nil || got != want {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, k := range []certs.KeyType{certs.RSA2048, certs.P256} {
		if got, err := certs.ParseKeyType(k.String()); err != nil || got != k {
			t.Errorf("%v does not read back: %v, %v", k, got, err)
		}
	}
	if _, err := certs.ParseKeyType("dsa\n"); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("dsa: %q", err)
	}
}

// An administrator's own server certificate comes with an intermediate and a key in any of the usual forms.
func TestLoadServerTakesForeignFiles(t *testing.T) {
	root := foreign("Corporate Root", nil, asCA)
	sub := foreign("Corporate Sub", &root, asCA)
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048))
	ecKey := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	leaf := func(pub any) []byte {
		template := foreign("kms.example", nil, func(c *x509.Certificate) { c.DNSNames = []string{"kms.example"} }).cert
		return block("CERTIFICATE", must(x509.CreateCertificate(rand.Reader, template, sub.cert, pub, sub.key)))
	}
	parameters := block("EC PARAMETERS", []byte{6, 8, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 3, 1, 7})
	for name, tc := range map[string]struct{ leaf, key []byte }{
		"PKCS#1":             {leaf(&rsaKey.PublicKey), block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey))},
		"PKCS#8":             {leaf(&ecKey.PublicKey), block("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(ecKey)))},
		"SEC 1, parameters":  {leaf(&ecKey.PublicKey), slices.Concat(parameters, block("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(ecKey))))},
		"other, then theirs": {leaf(&ecKey.PublicKey), slices.Concat(block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey)), block("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(ecKey))))},
	} {
		dir := t.TempDir()
		for file, data := range map[string][]byte{
			"server.pem": slices.Concat(tc.leaf, pemOf(sub.cert)), "server-key.pem": tc.key, "ca.pem": pemOf(root.cert),
		} {
			if err := os.WriteFile(filepath.Join(dir, file), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cert, err := certs.LoadServer(dir, start)
		if err != nil || len(cert.Certificate) != 2 {
			t.Errorf("%s: %v", name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, "server.pem"), tc.leaf, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := certs.LoadServer(dir, start); err == nil || !strings.Contains(err.Error(), "put the intermediates after the leaf") {
			t.Errorf("%s without intermediate: %v", name, err)
		}
	}
}

// String types that say the same characters are the same name; a foreign CA's tools choose the type, not the client.
func TestSubjectsCompareAcrossStringTypes(t *testing.T) {
	c := newClock()
	ca := newCA(t, c)
	vmca := foreign("VMCA", nil, asCA)
	r := registry(t, ca, c, must(certs.TrustForeignCA(request, pemOf(vmca.cert), "CN=vc", start)))
	for name, v := range map[string]asn1.RawValue{
		"UTF8String":      {Tag: asn1.TagUTF8String, Bytes: []byte("vc")},
		"PrintableString": {Tag: asn1.TagPrintableString, Bytes: []byte("vc")},
		"IA5String":       {Tag: asn1.TagIA5String, Bytes: []byte("vc")},
		"BMPString":       {Tag: asn1.TagBMPString, Bytes: []byte("\x00v\x00c")},
	} {
		der := must(asn1.Marshal(pkix.RDNSequence{one(oidCN, v)}))
		leaf := foreign("", &vmca, func(cert *x509.Certificate) { cert.RawSubject = der })
		if _, err := r.Identify(leaf.certs()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Who enrols a client copies its subject from where we show it, an empty value too.
func TestSubjectWithAnEmptyValueIsEnrolledAsShown(t *testing.T) {
	c := newClock()
	ca := newCA(t, c)
	vmca := foreign("VMCA", nil, asCA)
	leafOf := func(ou string) pair {
		der := must(asn1.Marshal(pkix.RDNSequence{one(oidOU, asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(ou)}), one(oidCN, "vc")}))
		return foreign("", &vmca, func(cert *x509.Certificate) { cert.RawSubject = der })
	}
	empty, other := leafOf(""), leafOf("x")
	r := registry(t, ca, c, must(certs.TrustForeignCA(request, pemOf(vmca.cert), certs.SubjectOf(empty.cert), start)))
	if _, err := r.Identify(empty.certs()); err != nil {
		t.Errorf("%s: %v", certs.SubjectOf(empty.cert), err)
	}
	if _, err := r.Identify(other.certs()); err == nil {
		t.Errorf("%s was let in", certs.SubjectOf(other.cert))
	}
}

func TestForeignLeafWithAWeakKeyIsRefused(t *testing.T) {
	c := newClock()
	ca := newCA(t, c)
	vmca := foreign("VMCA", nil, asCA)
	r := registry(t, ca, c, must(certs.TrustForeignCA(request, pemOf(vmca.cert), "CN=vc", start)))
	template := foreign("vc", nil, nil).cert
	weak := must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))
	leaf := must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, template, vmca.cert, &weak.PublicKey, vmca.key))))
	_, err := r.Identify([]*x509.Certificate{leaf})
	wantRefusal(t, "P-224", err, certs.CodeBadChain, "P-224")
}

// FuzzParseDN holds that what is read is written so that it is read as the same name again.
func FuzzParseDN(f *testing.F) {
	for _, s := range []string{"CN=a,O=b", `CN=\ a\ +O=\#b`, "1.2.3=#04020102", `CN=a\,b\0A`, "CN=#0C0178"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		dn, err := certs.ParseDN(text)
		if err != nil {
			return
		}
		again, err := certs.ParseDN(dn.String())
		if err != nil || !again.Equal(dn) || again.String() != dn.String() {
			t.Errorf("%q is written as %q, which reads as %q (%v)", text, dn, again, err)
		}
	})
}

func BenchmarkIdentifyPinned(b *testing.B) {
	c := newClock()
	p := foreign("x", nil, nil)
	r := must(certs.NewRegistry(nil, []certs.Client{must(certs.Pin(request, pemOf(p.cert), false, start))}, c.now))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Identify(p.certs()[:1]); err != nil {
			b.Fatal(err)
		}
	}
}

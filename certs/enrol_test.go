package certs_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyreeve/keyreeve/certs"
)

func csr(template *x509.CertificateRequest, key crypto.Signer) []byte {
	der := must(x509.CreateCertificateRequest(rand.Reader, template, key))
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

func TestSignCSROverrulesTheRequest(t *testing.T) {
	ca := newCA(t, newClock())
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	type basicConstraints struct {
		IsCA bool `asn1:"optional"`
	}
	issued := must(ca.SignCSR(request, csr(&x509.CertificateRequest{
		Subject:  pkix.Name{CommonName: "admin", Organization: []string{"Other"}},
		DNSNames: []string{"kms.example"},
		ExtraExtensions: []pkix.Extension{
			{Id: asn1.ObjectIdentifier{2, 5, 29, 19}, Critical: true, Value: must(asn1.Marshal(basicConstraints{true}))},
			{Id: asn1.ObjectIdentifier{2, 5, 29, 15}, Critical: true, Value: must(asn1.Marshal(asn1.BitString{Bytes: []byte{0x06}, BitLength: 7}))},
			{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Value: must(asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 1}}))},
		},
	}, key)))
	leaf := issued.Certificate
	if !key.PublicKey.Equal(leaf.PublicKey) {
		t.Error("the certificate is for another key")
	}
	if got := certs.SubjectOf(leaf); got != "CN=vcenter" {
		t.Errorf("subject %q, want CN=vcenter", got)
	}
	if leaf.IsCA || !leaf.BasicConstraintsValid || leaf.KeyUsage != x509.KeyUsageDigitalSignature || len(leaf.DNSNames) > 0 ||
		!slices.Equal(leaf.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}) {
		t.Errorf("CA %v, usage %b, extended %v, names %v: want a bare client leaf", leaf.IsCA, leaf.KeyUsage, leaf.ExtKeyUsage, leaf.DNSNames)
	}
	if issued.Key != nil || issued.KeyPEM() != nil {
		t.Error("SignCSR returned a private key")
	}
	if issued.Client.Kind != certs.KindCSR || issued.Client.Generation != 1 || issued.Client.Certificates[0].SHA256 != certs.SHA256(leaf) {
		t.Errorf("record %+v", issued.Client)
	}
}

func TestSignCSRAcceptsGoodKeys(t *testing.T) {
	ca := newCA(t, newClock())
	_, edKey, _ := ed25519.GenerateKey(rand.Reader)
	for name, key := range map[string]crypto.Signer{
		"RSA-2048": must(rsa.GenerateKey(rand.Reader, 2048)),
		"P-256":    must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)),
		"P-384":    must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)),
		"P-521":    must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)),
		"Ed25519":  edKey,
	} {
		if _, err := ca.SignCSR(request, csr(&x509.CertificateRequest{}, key)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// weakRSA signs requests and certificates with a modulus of our choice, without being a key that anybody can use.
type weakRSA struct{ pub *rsa.PublicKey }

func (w weakRSA) Public() crypto.PublicKey { return w.pub }

func (w weakRSA) key(change func(*rsa.PublicKey)) []byte {
	change(w.pub)
	return must(x509.MarshalPKIXPublicKey(w.pub))
}

// withPublicKey puts another SubjectPublicKeyInfo into a request, whose signature is wrong from then on.
func withPublicKey(t *testing.T, spki []byte) []byte {
	t.Helper()
	key := must(rsa.GenerateKey(rand.Reader, 2048))
	der := must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key))
	var outer struct {
		Info struct {
			Version    int
			Subject    asn1.RawValue
			Key        asn1.RawValue
			Attributes asn1.RawValue `asn1:"optional,tag:0"`
		}
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &outer); err != nil {
		t.Fatal(err)
	}
	outer.Info.Key = asn1.RawValue{FullBytes: spki}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: must(asn1.Marshal(outer))})
}

func TestSignCSRRefuses(t *testing.T) {
	ca := newCA(t, newClock())
	good := csr(&x509.CertificateRequest{}, must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)))
	p224 := csr(&x509.CertificateRequest{}, must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader)))
	rsaWith := func(change func(*rsa.PublicKey)) []byte {
		pub := must(rsa.GenerateKey(rand.Reader, 2048)).PublicKey
		return withPublicKey(t, weakRSA{&pub}.key(change))
	}
	otherKey := must(x509.MarshalPKIXPublicKey(&must(rsa.GenerateKey(rand.Reader, 2048)).PublicKey))
	for name, tc := range map[string]struct {
		csr  []byte
		want string
		weak bool
	}{
		"RSA-1024":        {rsaWith(func(k *rsa.PublicKey) { k.N.Rsh(k.N, 1024).SetBit(k.N, 0, 1) }), "1024 bits is too weak", true},
		"RSA-16384":       {rsaWith(func(k *rsa.PublicKey) { k.N.Lsh(k.N, 14336).SetBit(k.N, 0, 1) }), "at most 8192", true},
		"even modulus":    {rsaWith(func(k *rsa.PublicKey) { k.N.Sub(k.N, big.NewInt(1)) }), "even", true},
		"exponent 1":      {rsaWith(func(k *rsa.PublicKey) { k.E = 1 }), "exponent 1", true},
		"P-224":           {p224, "P-224", true},
		"another's key":   {withPublicKey(t, otherKey), "does not hold the private key", false},
		"certificate":     {ca.CertificatePEM(), "this is a certificate", false},
		"private key":     {pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: []byte("x")}), "must stay with its owner", false},
		"nothing":         {nil, "cannot be read", false},
		"cut":             {good[:len(good)/2], "cannot be read", false},
		"far too long":    {make([]byte, 2<<20), "too many", false},
		"something other": {pem.EncodeToMemory(&pem.Block{Type: "X\x1b[31m", Bytes: nil}), `X\1B[31m`, false},
	} {
		_, err := ca.SignCSR(request, tc.csr)
		if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "client vcenter") {
			t.Errorf("%s: got %v, want an error with %q", name, err, tc.want)
		}
		if errors.Is(err, certs.ErrWeakKey) != tc.weak {
			t.Errorf("%s: errors.Is(ErrWeakKey) = %v, want %v", name, !tc.weak, tc.weak)
		}
	}
}

func TestEnrolmentRefusesBadNames(t *testing.T) {
	ca := newCA(t, newClock())
	cert := pemOf(foreign("a", nil, nil).cert)
	for _, bad := range []string{"", ".", "..", ".hidden", "-rf", "a b", "a/b", "ä", "a\n", "a\x00", strings.Repeat("a", 65)} {
		for _, req := range []certs.ClientRequest{{Name: bad, Group: "lab"}, {Name: "vcenter", Group: bad}} {
			_, issue := ca.IssueClient(req)
			_, sign := ca.SignCSR(req, nil)
			_, pin := certs.Pin(req, cert, false, start)
			_, trust := certs.TrustForeignCA(req, cert, "CN=a", start)
			for how, err := range map[string]error{"issue": issue, "sign": sign, "pin": pin, "trust": trust} {
				if !errors.Is(err, certs.ErrBadName) || strings.ContainsAny(err.Error(), "\n\x00") {
					t.Errorf("%s %+v: got %q, want ErrBadName without control characters", how, req, err)
				}
			}
		}
	}
	for _, good := range []string{"a", "vCenter-01.lab_x", strings.Repeat("a", 64), "0"} {
		if err := certs.ValidateName("client name", good); err != nil {
			t.Error(err)
		}
	}
}

func TestPin(t *testing.T) {
	self := foreign("kmipClient20261124", nil, nil)
	expired := foreign("old", nil, func(c *x509.Certificate) { c.NotAfter = start.Add(-time.Minute) })
	future := foreign("new", nil, func(c *x509.Certificate) { c.NotBefore = start.Add(time.Minute) })
	weak := foreign("weak", nil, nil)
	weak.cert = must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, weak.cert, weak.cert,
		&must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader)).PublicKey, weak.key))))
	for name, tc := range map[string]struct {
		data   []byte
		ignore bool
		want   string
	}{
		"PEM":             {pemOf(self.cert), false, ""},
		"DER":             {self.cert.Raw, false, ""},
		"expired":         {pemOf(expired.cert), false, "expired on"},
		"expired, told":   {pemOf(expired.cert), true, ""},
		"future":          {pemOf(future.cert), false, "valid only from"},
		"weak":            {pemOf(weak.cert), true, "P-224"},
		"two":             {slices.Concat(pemOf(self.cert), pemOf(expired.cert)), false, "got 2"},
		"with a key":      {slices.Concat(pemOf(self.cert), []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")), false, "private key"},
		"signing request": {csr(&x509.CertificateRequest{}, self.key), false, "sign it instead"},
		"text":            {[]byte("hello"), false, "no certificate found"},
	} {
		c, err := certs.Pin(request, tc.data, tc.ignore, start)
		if tc.want != "" {
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: got %v, want an error with %q", name, err, tc.want)
			}
			continue
		}
		if err != nil || c.Kind != certs.KindPinned || c.IgnoreDates != tc.ignore || c.Validate() != nil {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
}

func TestTrustForeignCARefuses(t *testing.T) {
	vmca := foreign("VMCA", nil, asCA)
	leaf := foreign("leaf", &vmca, nil)
	old := foreign("old", nil, func(c *x509.Certificate) { asCA(c); c.NotAfter = start.Add(-time.Minute) })
	for name, tc := range map[string]struct {
		ca      []byte
		subject string
		want    string
	}{
		"no subject":  {pemOf(vmca.cert), "", "bad distinguished name"},
		"bad subject": {pemOf(vmca.cert), "/CN=x", "OpenSSL's old form"},
		"leaf":        {pemOf(leaf.cert), "CN=x", "pin it"},
		"expired":     {pemOf(old.cert), "CN=x", "expired on"},
		"no CA":       {nil, "CN=x", "no certificate found"},
	} {
		if _, err := certs.TrustForeignCA(request, tc.ca, tc.subject, start); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, tc.want)
		}
	}
}

func TestBundle(t *testing.T) {
	ca := newCA(t, newClock())
	issued := must(ca.IssueClient(request))
	dir := filepath.Join(t.TempDir(), "vcenter")
	if err := certs.WriteBundle(dir, issued); err != nil {
		t.Fatal(err)
	}
	if got := must(os.Stat(dir)).Mode().Perm(); got != 0o700 {
		t.Errorf("folder has mode %04o, want 0700", got)
	}
	key := must(os.ReadFile(filepath.Join(dir, "key.pem")))
	if got := must(os.Stat(filepath.Join(dir, "key.pem"))).Mode().Perm(); got != 0o600 {
		t.Errorf("key.pem has mode %04o, want 0600", got)
	}
	block, rest := pem.Decode(key)
	if block == nil || block.Type != "PRIVATE KEY" || len(rest) > 0 {
		t.Fatalf("key.pem is not one PKCS#8 block")
	}
	if !must(x509.ParsePKCS8PrivateKey(block.Bytes)).(*ecdsa.PrivateKey).PublicKey.Equal(issued.Certificate.PublicKey) {
		t.Error("key.pem and cert.pem do not fit")
	}
	if got := must(os.ReadFile(filepath.Join(dir, "ca.pem"))); !bytes.Equal(got, ca.CertificatePEM()) {
		t.Error("ca.pem is not the CA")
	}
	if err := certs.WriteBundle(dir, must(ca.IssueClient(request))); !errors.Is(err, certs.ErrBundleExists) {
		t.Errorf("second bundle: got %v, want ErrBundleExists", err)
	}
	if !bytes.Equal(key, must(os.ReadFile(filepath.Join(dir, "key.pem")))) {
		t.Error("the refused bundle changed key.pem")
	}
	issued.Clear()
	if issued.Key.Len() != 0 {
		t.Error("Clear left the key")
	}
}

func TestBundleFolders(t *testing.T) {
	ca := newCA(t, newClock())
	signed := must(ca.SignCSR(request, csr(&x509.CertificateRequest{}, must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)))))
	open, empty := filepath.Join(t.TempDir(), "open"), filepath.Join(t.TempDir(), "empty")
	for dir, mode := range map[string]os.FileMode{open: 0o755, empty: 0o700} {
		if err := os.Mkdir(dir, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := certs.WriteBundle(open, signed); err == nil || !strings.Contains(err.Error(), "chmod 700") {
		t.Errorf("open folder: got %v, want a hint at chmod", err)
	}
	if err := certs.WriteBundle(filepath.Join(empty, "no", "parent"), signed); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no parent: got %v, want ErrNotExist", err)
	}
	if err := certs.WriteBundle(empty, signed); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range must(os.ReadDir(empty)) {
		names = append(names, e.Name())
	}
	if diff := cmp.Diff([]string{"ca.pem", "cert.pem"}, names); diff != "" {
		t.Errorf("bundle of a signed request (-want +got):\n%s", diff)
	}
}

func TestClientSurvivesJSON(t *testing.T) {
	ca := newCA(t, newClock())
	renewed := must(must(ca.IssueClient(request)).Client.WithCertificate(must(ca.IssueClient(request)).Certificate, start, start.Add(time.Hour)))
	vmca := foreign("VMCA", nil, asCA)
	for _, c := range []certs.Client{
		renewed,
		renewed.Revoke(start, "stolen"),
		must(certs.Pin(request, pemOf(foreign("a", nil, nil).cert), true, start)),
		must(certs.TrustForeignCA(request, pemOf(vmca.cert), "CN=x,O=y", start)),
	} {
		var back certs.Client
		if err := json.Unmarshal(must(json.Marshal(c)), &back); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c, back); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.Kind, diff)
		}
	}
}

package certs_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/certs"
)

func TestParseDNWritesItselfBack(t *testing.T) {
	for in, want := range map[string]string{
		"CN=vcenter":                             "CN=vcenter",
		"cn = vcenter , o = Example Ltd ,C=US":   "CN=vcenter,O=Example Ltd,C=US",
		`CN=a\,O\=b`:                             `CN=a\,O=b`,
		`CN=a\2CO=b`:                             `CN=a\,O=b`,
		"OU=x+CN=y,DC=vsphere,DC=local":          "DC=vsphere,DC=local",
		`CN=\20lead\20`:                          `CN=\ lead\ `,
		`CN=\#1`:                                 `CN=\#1`,
		`CN=J\C3\BCrgen`:                         "CN=Jürgen",
		`CN=a\0Ab`:                               `CN=a\0Ab`,
		"2.5.4.3=x":                              "CN=x",
		"OID.1.2.3.4=x":                          "1.2.3.4=x",
		"CN=#0C0178":                             "CN=x", // a UTF8String in DER is its text
		"CN=#04020102":                           "CN=#04020102",
		"OU=#1300,CN=x":                          "OU=#0c00,CN=x", // empty text, which "OU=" could not be read back as
		"E=a@b.example,CN=x":                     "EMAILADDRESS=a@b.example,CN=x",
		"emailAddress=a@b.example,S=State,CN=x":  "EMAILADDRESS=a@b.example,ST=State,CN=x",
		"CN=kmipClient20261124, OU=VMware, L=PA": "CN=kmipClient20261124,OU=VMware,L=PA",
	} {
		dn, err := certs.ParseDN(in)
		if err != nil {
			t.Errorf("ParseDN(%q): %v", in, err)
			continue
		}
		got := dn.String()
		if got != want && !(strings.Contains(in, "+") && strings.HasSuffix(got, want)) {
			t.Errorf("ParseDN(%q) = %q, want %q", in, got, want)
		}
		again, err := certs.ParseDN(got)
		if err != nil || !again.Equal(dn) {
			t.Errorf("ParseDN(%q) is not the name it was written from (%v)", got, err)
		}
	}
}

func TestDNAll(t *testing.T) {
	dn, err := certs.ParseDN(`CN=a\,b+OU=x,O=y\,O=z,1.2.3.4=#0101FF`)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for name, value := range dn.All() {
		got = append(got, name+"="+value)
	}
	slices.Sort(got) // inside an RDN no order counts
	if want := []string{"1.2.3.4=#0101ff", "CN=a,b", "O=y,O=z", "OU=x"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	for name := range dn.All() { // ends when asked to
		if name != "1.2.3.4" {
			t.Errorf("%s is not the most significant", name)
		}
		break
	}
}

func TestParseDNRefuses(t *testing.T) {
	for _, in := range []string{
		"", "vcenter", "CN=", "CN=a,", ",CN=a", "CN=a,,O=b", "CN=a+", "FOO=a", "1=a", "2.05.4=a", "2..4=a", "/C=US/CN=a",
		`CN=a\`, `CN=a\zz`, `CN=a\2`, `CN="a"`, "CN=a;O=b", "CN=<a>", "CN=#zz", "CN=#0C05", "CN=#0C0178FF", `CN=\FF`,
		"CN=a\x00b", "CN=" + strings.Repeat("a", 5000), "CN=" + strings.Repeat("\x1d", 2000), // 6003 as written
	} {
		if dn, err := certs.ParseDN(in); !errors.Is(err, certs.ErrBadDN) {
			t.Errorf("ParseDN(%q) = %v, %v; want ErrBadDN", in, dn, err)
		}
	}
}

// subject is a certificate's subject as ParseDN's caller meets it: signed, encoded and parsed.
func subject(t *testing.T, rdns ...[]pkix.AttributeTypeAndValue) *x509.Certificate {
	t.Helper()
	var sequence pkix.RDNSequence
	for _, r := range rdns {
		sequence = append(sequence, r)
	}
	return foreign("", nil, func(c *x509.Certificate) { c.RawSubject = must(asn1.Marshal(sequence)) }).cert
}

func attr(oid []int, value any) pkix.AttributeTypeAndValue {
	return pkix.AttributeTypeAndValue{Type: oid, Value: value}
}

func one(oid []int, value any) []pkix.AttributeTypeAndValue {
	return []pkix.AttributeTypeAndValue{attr(oid, value)}
}

var (
	oidCN = []int{2, 5, 4, 3}
	oidO  = []int{2, 5, 4, 10}
	oidOU = []int{2, 5, 4, 11}
)

// lookalikes are subjects that some tool prints like, or nearly like, CN=vcenter,O=Example.
func lookalikes(t *testing.T) map[string]*x509.Certificate {
	return map[string]*x509.Certificate{
		"comma in the common name":  subject(t, one(oidCN, "vcenter,O=Example")),
		"comma in the organization": subject(t, one(oidO, "CN=vcenter,O=Example")),
		"plus instead of comma":     subject(t, append(one(oidCN, "vcenter"), one(oidO, "Example")...)),
		"reverse order":             subject(t, one(oidCN, "vcenter"), one(oidO, "Example")),
		"other case":                subject(t, one(oidO, "Example"), one(oidCN, "VCENTER")),
		"space at the end":          subject(t, one(oidO, "Example"), one(oidCN, "vcenter ")),
		"NUL at the end":            subject(t, one(oidO, "Example"), one(oidCN, "vcenter\x00")),
		"cyrillic e":                subject(t, one(oidO, "Example"), one(oidCN, "vc\u0435nter")),
		"other type":                subject(t, one(oidO, "Example"), one(oidOU, "vcenter")),
		"one more":                  subject(t, one(oidO, "Example"), one(oidOU, "x"), one(oidCN, "vcenter")),
		"one less":                  subject(t, one(oidCN, "vcenter")),
		"twice":                     subject(t, one(oidO, "Example"), one(oidCN, "vcenter"), one(oidCN, "vcenter")),
		"T61String":                 subject(t, one(oidO, "Example"), one(oidCN, asn1.RawValue{Tag: asn1.TagT61String, Bytes: []byte("vcenter")})),
	}
}

package operations_test

import (
	"crypto/sha256"
	"fmt"
	"math/bits"
	"strings"
	"testing"

	"github.com/gemalto/kmip-go/kmip14"
	"github.com/google/go-cmp/cmp"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

func TestCreateGivesAKeyOfTheLengthAskedFor(t *testing.T) {
	r := newRig(t)
	for _, tc := range []struct {
		alg    kmip14.CryptographicAlgorithm
		length int32 // asked for, 0: none
		want   int32
		bytes  int
	}{
		{kmip14.CryptographicAlgorithmAES, 128, 128, 16},
		{kmip14.CryptographicAlgorithmAES, 192, 192, 24},
		{kmip14.CryptographicAlgorithmAES, 256, 256, 32},
		{kmip14.CryptographicAlgorithmAES, 0, 256, 32},
		{kmip14.CryptographicAlgorithmDES, 56, 56, 8},
		{kmip14.CryptographicAlgorithmDES3, 112, 112, 16},
		{kmip14.CryptographicAlgorithmDES3, 168, 168, 24},
		{kmip14.CryptographicAlgorithmDES3, 0, 168, 24},
		{kmip14.CryptographicAlgorithmHMAC_SHA1, 160, 160, 20},
		{kmip14.CryptographicAlgorithmHMAC_SHA256, 0, 256, 32},
		{kmip14.CryptographicAlgorithmHMAC_SHA512, 1024, 1024, 128},
		{kmip14.CryptographicAlgorithmBlowfish, 448, 448, 56},
		{kmip14.CryptographicAlgorithmCamellia, 192, 192, 24},
		{kmip14.CryptographicAlgorithmRC4, 40, 40, 5},
		{kmip14.CryptographicAlgorithmSKIPJACK, 80, 80, 10},
		{kmip14.CryptographicAlgorithmChaCha20, 256, 256, 32},
		{kmip14.CryptographicAlgorithmHMAC_SHA3_384, 384, 384, 48},
	} {
		t.Run(fmt.Sprintf("%v %d", tc.alg, tc.length), func(t *testing.T) {
			list := []kmip.Attribute{kmip.EnumerationAttribute("Cryptographic Algorithm", tc.alg), mask()}
			if tc.length != 0 {
				list = append(list, kmip.IntegerAttribute("Cryptographic Length", tc.length))
			}
			var out kmip.CreateResponse
			r.ok(kmip.V1_4, kmip14.OperationCreate, createRequest(list), &out)
			block := r.blockOf(r.get(kmip.V1_4, out.UniqueIdentifier))
			key := block.Bytes()
			if len(key) != tc.bytes || block.CryptographicLength != tc.want || block.CryptographicAlgorithm != tc.alg || block.KeyFormatType != kmip14.KeyFormatTypeRaw {
				t.Errorf("got %d bytes, length %d, %v, %v", len(key), block.CryptographicLength, block.CryptographicAlgorithm, block.KeyFormatType)
			}
			if string(key) == strings.Repeat("\x00", len(key)) {
				t.Error("the key is all zeros")
			}
			if n, _ := r.attribute(kmip.V1_0, out.UniqueIdentifier, "Cryptographic Length").Integer(); n != tc.want {
				t.Errorf("the attribute says %d bits, want %d", n, tc.want)
			}
			if tc.alg == kmip14.CryptographicAlgorithmDES || tc.alg == kmip14.CryptographicAlgorithmDES3 {
				for _, b := range key {
					if bits.OnesCount8(b)%2 != 1 {
						t.Fatalf("a byte of a DES key has even parity")
					}
				}
			}
		})
	}
}

func TestCreatedKeysDiffer(t *testing.T) {
	r := newRig(t)
	seen := map[string]bool{}
	for range 20 {
		block := r.blockOf(r.get(kmip.V1_1, r.create()))
		seen[string(block.Bytes())] = true
	}
	if len(seen) != 20 {
		t.Errorf("20 keys, %d different ones", len(seen))
	}
}

func TestCreateRefusals(t *testing.T) {
	r := newRig(t)
	r.create(kmip.NameAttribute("taken"))
	const (
		field   = kmip14.ResultReasonInvalidField
		missing = kmip14.ResultReasonMissingData
	)
	many := make([]kmip.Attribute, 300)
	for i := range many {
		many[i] = kmip.TextAttribute(fmt.Sprintf("x-%d", i), "v")
	}
	without := func(i int) []kmip.Attribute {
		list := aes(256)
		return append(list[:i:i], list[i+1:]...)
	}
	indexed := kmip.NameAttribute("a")
	indexed.Index, indexed.HasIndex = 3, true
	for _, tc := range []struct {
		name   string
		v      kmip.Version
		in     *kmip.CreateRequest
		reason kmip14.ResultReason
	}{
		{"no algorithm", kmip.V1_0, createRequest(without(0)), missing},
		{"no usage mask", kmip.V1_0, createRequest(without(2)), missing},
		{"no usage mask", kmip.V1_3, createRequest(without(2)), missing},
		{"AES of 100 bits", kmip.V1_0, createRequest(aes(100)), field},
		{"AES of no bits", kmip.V1_0, createRequest(aes(0)), field},
		{"AES of less than no bits", kmip.V1_0, createRequest(aes(-256)), field},
		{"AES of 512 bits", kmip.V1_0, createRequest(aes(512)), field},
		{"3DES with parity counted", kmip.V1_0, createRequest([]kmip.Attribute{mask(), kmip.IntegerAttribute("Cryptographic Length", 192),
			kmip.EnumerationAttribute("Cryptographic Algorithm", kmip14.CryptographicAlgorithmDES3)}), field},
		{"RSA", kmip.V1_0, createRequest([]kmip.Attribute{mask(), kmip.EnumerationAttribute("Cryptographic Algorithm", kmip14.CryptographicAlgorithmRSA)}), field},
		{"HMAC of 12 bits", kmip.V1_0, createRequest([]kmip.Attribute{mask(), kmip.IntegerAttribute("Cryptographic Length", 12),
			kmip.EnumerationAttribute("Cryptographic Algorithm", kmip14.CryptographicAlgorithmHMAC_SHA1)}), field},
		{"HMAC of a million bits", kmip.V1_0, createRequest([]kmip.Attribute{mask(), kmip.IntegerAttribute("Cryptographic Length", 1<<20),
			kmip.EnumerationAttribute("Cryptographic Algorithm", kmip14.CryptographicAlgorithmHMAC_SHA1)}), field},
		{"ChaCha20 before 1.4", kmip.V1_3, createRequest([]kmip.Attribute{mask(), kmip.EnumerationAttribute("Cryptographic Algorithm", kmip14.CryptographicAlgorithmChaCha20)}), field},
		{"unknown algorithm", kmip.V1_4, createRequest([]kmip.Attribute{mask(), kmip.EnumerationAttribute("Cryptographic Algorithm", uint32(0x80000001))}), field},
		{"object type Public Key", kmip.V1_0, &kmip.CreateRequest{ObjectType: kmip14.ObjectTypePublicKey, Template: template(aes(256))}, field},
		{"object type of no version", kmip.V1_4, &kmip.CreateRequest{ObjectType: 77, Template: template(aes(256))}, field},
		{"Template", kmip.V1_0, &kmip.CreateRequest{ObjectType: kmip14.ObjectTypeSymmetricKey, Template: kmip.TemplateAttribute{
			Names: []kmip.Name{{Value: []byte("t"), Type: kmip14.NameTypeUninterpretedTextString}}, Attributes: aes(256)}}, kmip14.ResultReasonItemNotFound},
		{"Name in use", kmip.V1_0, createRequest(aes(256, kmip.NameAttribute("taken"))), field},
		{"Name twice", kmip.V1_0, createRequest(aes(256, kmip.NameAttribute("n"), kmip.NameAttribute("n"))), field},
		{"Name without type", kmip.V1_0, createRequest(aes(256, kmip.Attribute{Name: []byte("Name"), Value: object(kmip14.TagAttributeValue, func(w *ttlv.Writer) {
			w.TextString(kmip14.TagNameValue, "n")
		})})), field},
		{"an index out of the blue", kmip.V1_0, createRequest(aes(256, indexed)), field},
		{"single instance twice", kmip.V1_0, createRequest(aes(256, kmip.TextAttribute("Contact Information", "a"), kmip.TextAttribute("Contact Information", "b"))), field},
		{"algorithm twice", kmip.V1_0, createRequest(append(aes(256), aes(256)...)), field},
		{"date twice", kmip.V1_0, createRequest(aes(256, kmip.DateTimeAttribute("Activation Date", 1), kmip.DateTimeAttribute("Activation Date", 2))), field},
		{"wrong type", kmip.V1_0, createRequest(aes(256, kmip.IntegerAttribute("Contact Information", 1))), field},
		{"unknown attribute", kmip.V1_0, createRequest(aes(256, kmip.TextAttribute("Colour", "red"))), field},
		{"attribute of a later version", kmip.V1_3, createRequest(aes(256, kmip.TextAttribute("Comment", "c"))), field},
		{"attribute of another type of object", kmip.V1_4, createRequest(aes(256, kmip.TextAttribute("PKCS#12 Friendly Name", "c"))), field},
		{"read-only State", kmip.V1_0, createRequest(aes(256, kmip.EnumerationAttribute("State", kmip14.StateActive))), field},
		{"read-only Unique Identifier", kmip.V1_0, createRequest(aes(256, kmip.TextAttribute("Unique Identifier", "1"))), field},
		{"read-only Initial Date", kmip.V1_0, createRequest(aes(256, kmip.DateTimeAttribute("Initial Date", 1))), field},
		{"read-only Lease Time", kmip.V1_0, createRequest(aes(256, kmip.IntervalAttribute("Lease Time", 1))), field},
		{"y- of a client", kmip.V1_0, createRequest(aes(256, kmip.TextAttribute("y-mine", "1"))), field},
		{"x- without a name", kmip.V1_0, createRequest(aes(256, kmip.TextAttribute("x-", "1"))), field},
		{"x- with structures in a structure", kmip.V1_0, createRequest(aes(256, kmip.Attribute{Name: []byte("x-deep"), Value: object(kmip14.TagAttributeValue, func(w *ttlv.Writer) {
			w.End(w.Begin(kmip14.TagAttribute))
		})})), field},
		{"a Random Number Generator that is not here", kmip.V1_4, createRequest(aes(256, generator(kmip14.RNGAlgorithmANSIX9_31))), field},
		{"Original Creation Date of what we make", kmip.V1_4, createRequest(aes(256, kmip.DateTimeAttribute("Original Creation Date", 1))), field},
		{"dates in the wrong order", kmip.V1_0, createRequest(aes(256, kmip.DateTimeAttribute("Activation Date", 9), kmip.DateTimeAttribute("Deactivation Date", 8))), field},
		{"protect stop after the end", kmip.V1_0, createRequest(aes(256, kmip.DateTimeAttribute("Protect Stop Date", 9), kmip.DateTimeAttribute("Deactivation Date", 8))), field},
		{"process start before activation", kmip.V1_0, createRequest(aes(256, kmip.DateTimeAttribute("Process Start Date", 7), kmip.DateTimeAttribute("Activation Date", 8))), field},
		{"Application Data for the server to make up", kmip.V1_1, createRequest(aes(256, kmip.Attribute{Name: []byte("Application Specific Information"),
			Value: object(kmip14.TagAttributeValue, func(w *ttlv.Writer) { w.TextString(kmip14.TagApplicationNamespace, "ssl") })})),
			kmip14.ResultReasonApplicationNamespaceNotSupported},
		{"Usage Limits below nothing", kmip.V1_0, createRequest(aes(256, usageLimits(-1))), field},
		{"too many attributes", kmip.V1_0, createRequest(aes(256, many...)), kmip14.ResultReasonIndexOutOfBounds},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if a := r.do(tc.v, kmip14.OperationCreate, tc.in); a.reason != tc.reason {
				t.Errorf("got %v (%v), want %v", a.reason, a.err, tc.reason)
			}
		})
	}
	if n := r.store.Info().Objects; n != 1 {
		t.Errorf("refused requests left %d objects, want the first one only", n)
	}
}

// A client may demand the generator that there is, and is told of it in full.
func TestCreateWithADemandForTheGenerator(t *testing.T) {
	r := newRig(t)
	kind, err := r.attribute(kmip.V1_4, r.create(), "Random Number Generator").Find(kmip14.TagRNGAlgorithm).Enumeration()
	must(t, err)
	uid := r.create(generator(kmip14.RNGAlgorithm(kind)))
	if got := r.attributes(kmip.V1_4, uid, "Random Number Generator"); len(got) != 1 {
		t.Errorf("the key has %d Random Number Generators", len(got))
	}
}

// From 1.4 on the server sets a usage mask that the client left out.
func TestCreateWithoutUsageMask(t *testing.T) {
	r := newRig(t)
	for alg, want := range map[kmip14.CryptographicAlgorithm]string{kmip14.CryptographicAlgorithmAES: "12", kmip14.CryptographicAlgorithmHMAC_SHA256: "384"} {
		var out kmip.CreateResponse
		r.ok(kmip.V1_4, kmip14.OperationCreate, createRequest([]kmip.Attribute{kmip.EnumerationAttribute("Cryptographic Algorithm", alg)}), &out)
		if got := show(r.attribute(kmip.V1_0, out.UniqueIdentifier, "Cryptographic Usage Mask")); got != want {
			t.Errorf("%v: mask %s, want %s", alg, got, want)
		}
	}
}

func TestCreateWithoutTemplateAttribute(t *testing.T) {
	r := newRig(t)
	a := r.send(kmip.V1_1, ask{op: kmip14.OperationCreate, raw: func(w *ttlv.Writer) {
		w.Enumeration(kmip14.TagObjectType, uint32(kmip14.ObjectTypeSymmetricKey))
	}})[0]
	if a.reason != kmip14.ResultReasonMissingData {
		t.Errorf("got %v, want Missing Data", a.reason)
	}
}

// A key's State comes from its dates and the store's clock.
func TestCreateStateFollowsDates(t *testing.T) {
	for _, tc := range []struct {
		name  string
		dates []kmip.Attribute
		want  kmip14.State
		later kmip14.State // 100 seconds after
	}{
		{"none", nil, kmip14.StatePreActive, kmip14.StatePreActive},
		{"activation in the past", []kmip.Attribute{kmip.DateTimeAttribute("Activation Date", began-3600)}, kmip14.StateActive, kmip14.StateActive},
		{"activation now", []kmip.Attribute{kmip.DateTimeAttribute("Activation Date", began)}, kmip14.StateActive, kmip14.StateActive},
		{"activation to come", []kmip.Attribute{kmip.DateTimeAttribute("Activation Date", began+50)}, kmip14.StatePreActive, kmip14.StateActive},
		{"both to come", []kmip.Attribute{kmip.DateTimeAttribute("Activation Date", began+50), kmip.DateTimeAttribute("Deactivation Date", began+99)},
			kmip14.StatePreActive, kmip14.StateDeactivated},
		{"over before it began", []kmip.Attribute{kmip.DateTimeAttribute("Activation Date", 5), kmip.DateTimeAttribute("Deactivation Date", 6)},
			kmip14.StateDeactivated, kmip14.StateDeactivated},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t)
			uid := r.create(tc.dates...)
			if got := r.state(uid); got != tc.want {
				t.Errorf("State %v, want %v", got, tc.want)
			}
			r.now.Add(100)
			if got := r.state(uid); got != tc.later {
				t.Errorf("later State %v, want %v", got, tc.later)
			}
		})
	}
}

// What the server sets by itself, for a key that a 1.1 client makes and looks
// at: vCenter's.
func TestCreateSetsWhatTheServerSets(t *testing.T) {
	r := newRig(t)
	var out kmip.CreateResponse
	r.ok(kmip.V1_1, kmip14.OperationCreate, createRequest(aes(256)), &out)
	if out.ObjectType != kmip14.ObjectTypeSymmetricKey || !out.Template.Empty() {
		t.Errorf("the answer says %v, %v", out.ObjectType, out.Template)
	}
	got := map[string]string{}
	for _, a := range r.attributes(kmip.V1_4, out.UniqueIdentifier) {
		got[string(a.Name)] = show(a.Value)
	}
	block := r.blockOf(r.get(kmip.V1_1, out.UniqueIdentifier))
	sum := sha256.Sum256(block.Bytes())
	want := map[string]string{
		"Unique Identifier":        string(out.UniqueIdentifier),
		"Object Type":              "2",
		"Cryptographic Algorithm":  "3",
		"Cryptographic Length":     "256",
		"Cryptographic Usage Mask": "12",
		"Digest":                   fmt.Sprintf("{6 %x 1}", sum),
		"Operation Policy Name":    "default",
		"Lease Time":               "3600",
		"State":                    "1",
		"Initial Date":             fmt.Sprint(began),
		"Last Change Date":         fmt.Sprint(began),
		"Original Creation Date":   fmt.Sprint(began),
		"Fresh":                    "true",
		"Random Number Generator":  show(r.attribute(kmip.V1_4, r.create(), "Random Number Generator")),
		"Sensitive":                "false",
		"Always Sensitive":         "false",
		"Extractable":              "true",
		"Never Extractable":        "false",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
}

// Everything that a client may say of a new key comes back as it was said.
func TestCreateKeepsWhatTheClientSets(t *testing.T) {
	r := newRig(t)
	structure := object(kmip14.TagAttributeValue, func(w *ttlv.Writer) {
		w.TextString(kmip14.TagNameValue, "inside")
		w.Boolean(kmip14.TagFresh, true)
	})
	big := object(kmip14.TagAttributeValue, func(w *ttlv.Writer) { w.BigInteger(kmip14.TagAttributeValue, []byte{1, 2, 3}) })
	bigValue, _ := ttlv.Parse(big.Value())
	uid := r.create(
		kmip.NameAttribute("one"), kmip.NameAttribute("two"),
		kmip.TextAttribute("Object Group", "g1"), kmip.TextAttribute("Object Group", "g2"),
		application("ssl", "www.example.com"),
		kmip.TextAttribute("Contact Information", "joe"),
		kmip.TextAttribute("Operation Policy Name", "default"),
		cryptographicParameters(),
		usageLimits(1000),
		kmip.TextAttribute("Description", "d"), kmip.TextAttribute("Comment", "c"),
		kmip.BooleanAttribute("Sensitive", true), kmip.BooleanAttribute("Extractable", false),
		kmip.TextAttribute("x-text", "t"), kmip.IntegerAttribute("x-integer", -5), kmip.LongIntegerAttribute("x-long", 1<<40),
		kmip.Attribute{Name: []byte("x-big"), Value: bigValue},
		kmip.EnumerationAttribute("x-enumeration", uint32(7)), kmip.BooleanAttribute("x-boolean", true),
		kmip.BytesAttribute("x-bytes", []byte{1, 2}), kmip.DateTimeAttribute("x-date", 99), kmip.IntervalAttribute("x-interval", 60),
		kmip.Attribute{Name: []byte("x-structure"), Value: structure},
		kmip.TextAttribute("x-text", "second"),
	)
	for _, tc := range []struct{ name, want string }{
		{"Name", "{one 1} {two 1}"},
		{"Object Group", "g1 g2"},
		{"Application Specific Information", "{ssl www.example.com}"},
		{"Contact Information", "joe"},
		{"Operation Policy Name", "default"},
		{"Cryptographic Parameters", "{1 3 4}"},
		{"Usage Limits", "{1000 1000 1}"},
		{"Description", "d"},
		{"Comment", "c"},
		{"Sensitive", "true"},
		{"Always Sensitive", "true"},
		{"Extractable", "false"},
		{"Never Extractable", "true"},
		{"x-text", "t second"},
		{"x-integer", "-5"},
		{"x-long", fmt.Sprint(int64(1 << 40))},
		{"x-big", "0000000000010203"},
		{"x-enumeration", "7"},
		{"x-boolean", "true"},
		{"x-bytes", "0102"},
		{"x-date", "99"},
		{"x-interval", "60"},
		{"x-structure", "{inside true}"},
	} {
		var got []string
		for i, a := range r.attributes(kmip.V1_4, uid, tc.name) {
			if int(a.Index) != i {
				t.Errorf("instance %d of %s has the index %d", i, tc.name, a.Index)
			}
			got = append(got, show(a.Value))
		}
		if diff := cmp.Diff(tc.want, strings.Join(got, " ")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
}

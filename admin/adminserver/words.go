package adminserver

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// The names of enumerations, as the specification spells them (section 9.1.3.2).
var (
	objectTypes = []string{"", "Certificate", "Symmetric Key", "Public Key", "Private Key", "Split Key", "Template", "Secret Data", "Opaque Object", "PGP Key"}
	states      = []string{"", "Pre-Active", "Active", "Deactivated", "Compromised", "Destroyed", "Destroyed Compromised"}
	algorithms  = []string{"", "DES", "3DES", "AES", "RSA", "DSA", "ECDSA", "HMAC-SHA1", "HMAC-SHA224", "HMAC-SHA256", "HMAC-SHA384",
		"HMAC-SHA512", "HMAC-MD5", "DH", "ECDH", "ECMQV", "Blowfish", "Camellia", "CAST5", "IDEA", "MARS", "RC2", "RC4", "RC5", "SKIPJACK", "Twofish", "EC"}
	linkTypes = []string{"Certificate", "Public Key", "Private Key", "Derivation Base Object", "Derived Key", "Replacement Object",
		"Replaced Object", "Parent", "Child", "Previous", "Next"} // from 0x101 on
	// usageBits are those of the Cryptographic Usage Mask (section 9.1.3.3.1), from the lowest.
	usageBits = []string{"Sign", "Verify", "Encrypt", "Decrypt", "Wrap Key", "Unwrap Key", "Export", "MAC Generate", "MAC Verify", "Derive Key",
		"Content Commitment", "Key Agreement", "Certificate Sign", "CRL Sign", "Generate Cryptogram", "Validate Cryptogram",
		"Translate Encrypt", "Translate Decrypt", "Translate Wrap", "Translate Unwrap"}
)

func name(of []string, value uint32) string {
	if value == 0 || value >= uint32(len(of)) {
		return fmt.Sprintf("0x%08X", value)
	}
	return of[value]
}

// pick finds the number of a name, however its words are parted and in any
// case; 0 for no name.
func pick(of []string, what, text string) (uint32, error) {
	if text == "" {
		return 0, nil
	}
	for i, n := range of {
		if n != "" && plain(n) == plain(text) {
			return uint32(i), nil
		}
	}
	return 0, badRequest("unknown %s %q", what, text)
}

func plain(text string) string {
	return strings.ToLower(strings.NewReplacer(" ", "", "-", "", "_", "").Replace(text))
}

func usages(mask int32) (list []string) {
	for bit := range 32 {
		switch {
		case mask&(1<<bit) == 0:
		case bit < len(usageBits):
			list = append(list, usageBits[bit])
		default:
			list = append(list, fmt.Sprintf("0x%08X", uint32(1)<<bit))
		}
	}
	return list
}

func revocationReason(code uint32) string {
	return name(append([]string{""}, admin.RevocationReason("").Values()...), code)
}

const tagLinkType = 0x42004b

// valueText is an attribute's value for people. Those whose numbers have names
// show them; what nobody has a word for is hexadecimal.
func valueText(attribute string, v ttlv.Item) string {
	if attribute == "Cryptographic Usage Mask" {
		if mask, err := v.Integer(); err == nil {
			return strings.Join(usages(mask), ", ")
		}
	}
	switch v.Type() {
	case ttlv.Structure:
		return structureText(v)
	case ttlv.Integer:
		n, _ := v.Integer()
		return strconv.Itoa(int(n))
	case ttlv.LongInteger:
		n, _ := v.LongInteger()
		return strconv.FormatInt(n, 10)
	case ttlv.Enumeration:
		n, _ := v.Enumeration()
		return enumerationText(v, n)
	case ttlv.Boolean:
		b, _ := v.Boolean()
		return strconv.FormatBool(b)
	case ttlv.TextString:
		b, _ := v.Text()
		return string(b)
	case ttlv.DateTime:
		t, _ := v.DateTime()
		return time.Unix(t, 0).UTC().Format(time.RFC3339)
	case ttlv.Interval:
		n, _ := v.Interval()
		return (time.Duration(n) * time.Second).String()
	}
	return hex.EncodeToString(v.Value())
}

func enumerationText(v ttlv.Item, n uint32) string {
	if at := int64(n) - 0x101; v.Tag() == tagLinkType && at >= 0 && at < int64(len(linkTypes)) {
		return linkTypes[at]
	}
	return fmt.Sprintf("0x%08X", n)
}

func structureText(v ttlv.Item) string {
	fields, err := v.Items()
	if err != nil {
		return ""
	}
	var parts []string
	for field, ok := fields.Next(); ok; field, ok = fields.Next() {
		parts = append(parts, valueText("", field))
	}
	return strings.Join(parts, ", ")
}

// firstField is the first field of a structure, the text of a Name among them
// (specification section 3.2); of anything else nothing.
func firstField(v ttlv.Item) string {
	fields, err := v.Items()
	if err != nil {
		return ""
	}
	if first, ok := fields.Next(); ok {
		return valueText("", first)
	}
	return ""
}

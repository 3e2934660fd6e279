package certs

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// DN is a distinguished name in the order of its encoding: the most significant RDN first, the reverse of how RFC 4514
// writes it. Two names are equal when every RDN has the same attributes with the same values, to the letter: a CA that
// issues to "vcenter" and to "VCENTER" has two subjects. Comparing parsed names and not their text is what stops a
// common name that contains ",O=Other" from passing for two attributes.
type DN []rdn

// rdn is a set of attributes, sorted by their encoding so that order inside the set does not count.
type rdn []attribute

type attribute struct {
	oid   string // dotted
	value string // text, or the DER of the value when raw
	raw   bool   // the value is not of a string type that we compare as text
}

// dnNames are the attribute keywords that are read; the first name of an identifier is the one that is written.
var dnNames = []struct{ name, oid string }{
	{"CN", "2.5.4.3"}, {"L", "2.5.4.7"}, {"ST", "2.5.4.8"}, {"S", "2.5.4.8"}, {"O", "2.5.4.10"}, {"OU", "2.5.4.11"},
	{"C", "2.5.4.6"}, {"STREET", "2.5.4.9"}, {"DC", "0.9.2342.19200300.100.1.25"}, {"UID", "0.9.2342.19200300.100.1.1"},
	{"SERIALNUMBER", "2.5.4.5"}, {"SN", "2.5.4.4"}, {"GN", "2.5.4.42"}, {"T", "2.5.4.12"}, {"TITLE", "2.5.4.12"},
	{"POSTALCODE", "2.5.4.17"}, {"DNQ", "2.5.4.46"},
	{"EMAILADDRESS", "1.2.840.113549.1.9.1"}, {"EMAIL", "1.2.840.113549.1.9.1"}, {"E", "1.2.840.113549.1.9.1"},
}

// ErrBadDN is wrapped by the errors of [ParseDN].
var ErrBadDN = errors.New("bad distinguished name")

// maxDN bounds the text of a name, as it is given and as it is written; X.520 names are far shorter.
const maxDN = 4096

// SubjectOf returns a certificate's subject as RFC 4514 writes it, for people; compare with [DN.Equal].
func SubjectOf(cert *x509.Certificate) string {
	dn, err := decodeDN(cert.RawSubject)
	if err != nil {
		return "#" + hex.EncodeToString(cert.RawSubject)
	}
	return dn.String()
}

// decodeDN parses the DER of a name (RFC 5280 section 4.1.2.4).
func decodeDN(der []byte) (DN, error) {
	type attributeValue struct {
		Type  asn1.ObjectIdentifier
		Value asn1.RawValue
	}
	type attributeSET []attributeValue
	var sequence []attributeSET
	if rest, err := asn1.Unmarshal(der, &sequence); err != nil || len(rest) > 0 {
		return nil, fmt.Errorf("%w: the encoding is damaged", ErrBadDN)
	}
	dn := make(DN, len(sequence))
	for i, set := range sequence {
		for _, av := range set {
			a := attribute{oid: av.Type.String()}
			if text, ok := decodeString(av.Value); ok {
				a.value = text
			} else {
				a.value, a.raw = string(av.Value.FullBytes), true
			}
			dn[i] = append(dn[i], a)
		}
		dn[i].sort()
	}
	return dn, nil
}

// decodeString returns the text of the string types whose characters are certain. T61String and UniversalString are
// left out on purpose: tools disagree on what their bytes mean, so they only compare as bytes.
func decodeString(v asn1.RawValue) (string, bool) {
	if v.Class != asn1.ClassUniversal || v.IsCompound {
		return "", false
	}
	switch v.Tag {
	case asn1.TagUTF8String, asn1.TagPrintableString, asn1.TagIA5String, asn1.TagNumericString:
		return string(v.Bytes), utf8.Valid(v.Bytes)
	case asn1.TagBMPString:
		return decodeBMP(v.Bytes)
	}
	return "", false
}

func decodeBMP(b []byte) (string, bool) {
	if len(b)%2 != 0 {
		return "", false
	}
	units := make([]uint16, 0, len(b)/2)
	for i := 0; i < len(b); i += 2 {
		unit := uint16(b[i])<<8 | uint16(b[i+1])
		if utf16.IsSurrogate(rune(unit)) {
			return "", false
		}
		units = append(units, unit)
	}
	return string(utf16.Decode(units)), true
}

func (r rdn) sort() {
	slices.SortFunc(r, func(a, b attribute) int { return strings.Compare(a.key(), b.key()) })
}

// key is an injective encoding: lengths stand before contents, so no value can imitate a boundary.
func (a attribute) key() string {
	return fmt.Sprintf("%d:%s%t%d:%s", len(a.oid), a.oid, a.raw, len(a.value), a.value)
}

// key is equal for equal names and for no others; it serves as a map key.
func (dn DN) key() string {
	var b strings.Builder
	for _, set := range dn {
		b.WriteString(strconv.Itoa(len(set)) + "/")
		for _, a := range set {
			b.WriteString(a.key())
		}
	}
	return b.String()
}

// Equal reports whether both are the same name.
func (dn DN) Equal(other DN) bool { return dn.key() == other.key() }

// All yields keyword and value of each attribute, the most significant first. A value that is not text is "#" and its
// DER in hexadecimal.
func (dn DN) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, set := range dn {
			for _, a := range set {
				value := a.value
				if a.raw {
					value = "#" + hex.EncodeToString([]byte(a.value))
				}
				if !yield(nameOf(a.oid), value) {
					return
				}
			}
		}
	}
}

// reversed is the name in the opposite order, to recognise a subject that was typed the wrong way round.
func (dn DN) reversed() DN {
	r := slices.Clone(dn)
	slices.Reverse(r)
	return r
}

// String writes the name as RFC 4514 section 2 says.
func (dn DN) String() string {
	var b strings.Builder
	for i, set := range slices.Backward(dn) {
		if i < len(dn)-1 {
			b.WriteByte(',')
		}
		for j, a := range set {
			if j > 0 {
				b.WriteByte('+')
			}
			a.write(&b)
		}
	}
	return b.String()
}

func (a attribute) write(b *strings.Builder) {
	b.WriteString(nameOf(a.oid))
	b.WriteByte('=')
	switch {
	case a.raw:
		b.WriteString("#" + hex.EncodeToString([]byte(a.value)))
		return
	case a.value == "":
		b.WriteString("#0c00") // an empty UTF8String: ParseDN takes "OU=" for a slip of the person who typed it
		return
	}
	for i := range len(a.value) {
		c := a.value[i]
		switch {
		case c < 0x20 || c == 0x7F:
			fmt.Fprintf(b, `\%02X`, c)
			continue
		case strings.IndexByte(`"+,;<>\`, c) >= 0,
			i == 0 && (c == ' ' || c == '#'),
			i == len(a.value)-1 && c == ' ':
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
}

func nameOf(oid string) string {
	for _, n := range dnNames {
		if n.oid == oid {
			return n.name
		}
	}
	return oid
}

// ParseDN reads a name as RFC 4514 writes it, for example "CN=vcenter,OU=VMware,C=US". Spaces after a comma, around
// "=" and the like, which many tools print, carry no meaning; a space that belongs to a value's edge is written "\ ".
// Errors wrap [ErrBadDN].
func ParseDN(text string) (DN, error) {
	if len(text) > maxDN {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrBadDN, maxDN)
	}
	if strings.HasPrefix(text, "/") {
		return nil, fmt.Errorf("%w: %s is OpenSSL's old form; write it as CN=name,O=organization,C=country", ErrBadDN, quote(text))
	}
	p := dnParser{rest: text}
	var dn DN
	for {
		set, err := p.rdn()
		if err != nil {
			return nil, fmt.Errorf("%w %s: %w", ErrBadDN, quote(text), err)
		}
		dn = append(dn, set)
		if p.rest == "" {
			slices.Reverse(dn)
			// What is kept of a name is its text as String writes it, with more escapes than it may have been given.
			if n := len(dn.String()); n > maxDN {
				return nil, fmt.Errorf("%w: longer than %d bytes with its escapes: %d", ErrBadDN, maxDN, n)
			}
			return dn, nil
		}
		p.rest = p.rest[1:] // the comma at which rdn stopped
	}
}

// dnParser reads RFC 4514 section 3 from rest.
type dnParser struct{ rest string }

// rdn reads attributes joined by "+" up to a comma or the end.
func (p *dnParser) rdn() (rdn, error) {
	var set rdn
	for {
		a, err := p.attribute()
		if err != nil {
			return nil, err
		}
		set = append(set, a)
		if p.rest == "" || p.rest[0] != '+' {
			set.sort()
			return set, nil
		}
		p.rest = p.rest[1:]
	}
}

func (p *dnParser) attribute() (attribute, error) {
	name, rest, ok := strings.Cut(p.rest, "=")
	if !ok {
		return attribute{}, fmt.Errorf("%s has no \"=\"", quote(p.rest))
	}
	oid, err := oidOf(strings.TrimSpace(name))
	if err != nil {
		return attribute{}, err
	}
	p.rest = strings.TrimLeft(rest, " ")
	if strings.HasPrefix(p.rest, "#") {
		return p.hexValue(oid)
	}
	value, err := p.value()
	if err == nil && value == "" {
		err = fmt.Errorf("%s has no value; write #0c00 for one that is empty", clean(name))
	}
	return attribute{oid: oid, value: value}, err
}

// oidOf accepts a keyword in either case or a dotted identifier.
func oidOf(name string) (string, error) {
	upper := strings.ToUpper(name)
	for _, n := range dnNames {
		if n.name == upper {
			return n.oid, nil
		}
	}
	dotted := strings.TrimPrefix(upper, "OID.")
	parts := strings.Split(dotted, ".")
	for _, part := range parts {
		n, err := strconv.ParseUint(part, 10, 31)
		if err != nil || strconv.FormatUint(n, 10) != part || len(parts) < 2 {
			return "", fmt.Errorf("attribute type %s is unknown; write it as a dotted number", quote(name))
		}
	}
	return dotted, nil
}

// hexValue reads "#" and the DER of the value in hexadecimal; a string in it is compared as text like any other.
func (p *dnParser) hexValue(oid string) (attribute, error) {
	end := strings.IndexAny(p.rest, ",+")
	if end < 0 {
		end = len(p.rest)
	}
	der, err := hex.DecodeString(strings.TrimSpace(p.rest[1:end]))
	if err != nil {
		return attribute{}, fmt.Errorf("%s is not hexadecimal", quote(p.rest[:end]))
	}
	var v asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &v); err != nil || len(rest) > 0 {
		return attribute{}, fmt.Errorf("%s is not one DER value", quote(p.rest[:end]))
	}
	p.rest = p.rest[end:]
	if text, ok := decodeString(v); ok {
		return attribute{oid: oid, value: text}, nil
	}
	return attribute{oid: oid, value: string(bytes.Clone(der)), raw: true}, nil
}

// value reads text with escapes up to an unescaped comma or plus, without the unescaped spaces at its end.
func (p *dnParser) value() (string, error) {
	var out []byte
	keep := 0 // length of out up to the last character that is not an unescaped space
	for p.rest != "" && p.rest[0] != ',' && p.rest[0] != '+' {
		c := p.rest[0]
		switch {
		case c == '\\':
			b, n, err := unescape(p.rest)
			if err != nil {
				return "", err
			}
			out, p.rest = append(out, b), p.rest[n:]
			keep = len(out)
			continue
		case strings.IndexByte("\"\x00;<>", c) >= 0:
			return "", fmt.Errorf("the character %q must be escaped with a backslash", c)
		}
		out, p.rest = append(out, c), p.rest[1:]
		if c != ' ' {
			keep = len(out)
		}
	}
	if !utf8.Valid(out[:keep]) {
		return "", errors.New("a value is not UTF-8")
	}
	return string(out[:keep]), nil
}

// unescape reads one escape: a special character, or two hexadecimal digits for one byte of UTF-8.
func unescape(s string) (value byte, length int, err error) {
	if len(s) >= 2 && strings.IndexByte(`"+,;<>\ #=`, s[1]) >= 0 {
		return s[1], 2, nil
	}
	if len(s) >= 3 {
		if b, err := hex.DecodeString(s[1:3]); err == nil {
			return b[0], 3, nil
		}
	}
	return 0, 0, errors.New(`a backslash must be followed by a special character or two hexadecimal digits`)
}

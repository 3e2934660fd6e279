package operations_test

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/internal/keywrap"
	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/operations"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

const (
	nist     = kmip14.BlockCipherModeNISTKeyWrap
	padding  = kmip14.BlockCipherModeAESKeyWrapPadding
	plainly  = kmip14.EncodingOptionNoEncoding
	asTTLV   = kmip14.EncodingOptionTTLVEncoding
	wrapUse  = kmip14.CryptographicUsageMaskWrapKey
	openUse  = kmip14.CryptographicUsageMaskUnwrapKey
	wrapBoth = wrapUse | openUse
)

func hexed(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

var kek16 = hexed("000102030405060708090a0b0c0d0e0f")

// mode is Cryptographic Parameters with a Block Cipher Mode, under the tag that
// it has inside Key Information.
func mode(m kmip14.BlockCipherMode) ttlv.Item {
	return object(kmip14.TagCryptographicParameters, func(w *ttlv.Writer) { w.Enumeration(kmip14.TagBlockCipherMode, uint32(m)) })
}

// wrappingKey registers an Active AES key for that use.
func (r *rig) wrappingKey(key []byte, use kmip14.CryptographicUsageMask, more ...kmip.Attribute) []byte {
	r.t.Helper()
	list := append(more, kmip.IntegerAttribute("Cryptographic Usage Mask", int32(use)), kmip.DateTimeAttribute("Activation Date", began))
	return r.taken(kmip.V1_1, kmip14.ObjectTypeSymmetricKey, symmetricKey(raw, key, aesAlg, int32(8*len(key))), list...)
}

func wrapWith(uid, kek []byte, m kmip14.BlockCipherMode, e kmip14.EncodingOption, names ...string) *kmip.GetRequest {
	in := &kmip.GetRequest{UniqueIdentifier: uid, HasWrapping: true, Wrapping: kmip.KeyWrappingSpecification{
		Method: kmip14.WrappingMethodEncrypt, EncryptionKey: kmip.KeyInformation{UniqueIdentifier: kek}, EncodingOption: e}}
	if m != 0 {
		in.Wrapping.EncryptionKey.Parameters = mode(m)
	}
	for _, n := range names {
		in.Wrapping.AttributeNames = append(in.Wrapping.AttributeNames, []byte(n))
	}
	return in
}

// wrapped gets an object wrapped, and returns its Key Block and wrapped value.
func (r *rig) wrapped(v kmip.Version, in *kmip.GetRequest) (kmip.KeyBlock, []byte) {
	r.t.Helper()
	var out kmip.GetResponse
	r.ok(v, kmip14.OperationGet, in, &out)
	var block kmip.KeyBlock
	must(r.t, block.Decode(out.Object, v))
	if block.Value.Type() != ttlv.ByteString || block.WrappingData.IsZero() {
		r.t.Fatalf("the key is not wrapped: %s", show(out.Object))
	}
	return block, block.Value.Value()
}

// The vector of RFC 3394 section 4.1, by KMIP.
func TestGetWrapped(t *testing.T) {
	r := newRig(t)
	kek := r.wrappingKey(kek16, wrapUse)
	uid := r.register(hexed("00112233445566778899aabbccddeeff"))
	block, got := r.wrapped(kmip.V1_1, wrapWith(uid, kek, nist, plainly))
	if want := hexed("1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5"); !bytes.Equal(got, want) {
		t.Errorf("wrapped %x, want %x", got, want)
	}
	if block.KeyFormatType != raw || block.CryptographicAlgorithm != aesAlg || block.CryptographicLength != 128 {
		t.Errorf("the Key Block says %v %v %d", block.KeyFormatType, block.CryptographicAlgorithm, block.CryptographicLength)
	}
	var how kmip.KeyWrappingData
	must(t, how.Decode(block.WrappingData, kmip.V1_1))
	if how.Method != kmip14.WrappingMethodEncrypt || !bytes.Equal(how.EncryptionKey.UniqueIdentifier, kek) || how.EncodingOption != plainly ||
		show(how.EncryptionKey.Parameters) != show(mode(nist)) {
		t.Errorf("the Key Wrapping Data is %s", show(block.WrappingData))
	}
	if key := r.bytesOf(kmip.V1_1, uid); hex.EncodeToString(key) != "00112233445566778899aabbccddeeff" {
		t.Errorf("a plain Get returns %x", key)
	}
}

// With TTLV Encoding, which is what no option means, the Key Value is wrapped
// with the attributes asked for.
func TestGetWrappedWithEncoding(t *testing.T) {
	r := newRig(t)
	kek := r.wrappingKey(kek16, wrapUse)
	uid := r.register(key32, kmip.TextAttribute("x-a", "v"))
	secret := r.taken(kmip.V1_1, kmip14.ObjectTypeSecretData, secretData(1, opaqueFormat, []byte("hunter2")))
	for _, tc := range []struct {
		name   string
		v      kmip.Version
		in     *kmip.GetRequest
		unwrap func(kek, data []byte) ([]byte, error)
		want   ttlv.Item
	}{
		{"1.0, no parameters", kmip.V1_0, wrapWith(uid, kek, 0, 0), keywrap.Unwrap, keyValue(key32)},
		{"no option", kmip.V1_1, wrapWith(uid, kek, nist, 0), keywrap.Unwrap, keyValue(key32)},
		{"with padding", kmip.V1_4, wrapWith(uid, kek, padding, asTTLV), keywrap.UnwrapPadded, keyValue(key32)},
		{"attributes", kmip.V1_1, wrapWith(uid, kek, nist, asTTLV, "Cryptographic Usage Mask", "x-a", "Comment", "no such"), keywrap.Unwrap,
			keyValue(key32, mask(), kmip.TextAttribute("x-a", "v"))},
		{"a password", kmip.V1_1, wrapWith(secret, kek, nist, asTTLV), keywrap.Unwrap, keyValue([]byte("hunter2"))},
		{"a password as it is", kmip.V1_1, wrapWith(secret, kek, padding, plainly), keywrap.UnwrapPadded, ttlv.Item{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, wrapped := r.wrapped(tc.v, tc.in)
			got, err := tc.unwrap(kek16, wrapped)
			must(t, err)
			want := tc.want.Raw()
			if want == nil {
				want = []byte("hunter2")
			}
			if !bytes.Equal(got, want) {
				t.Errorf("what was wrapped is\n%x, want\n%x", got, want)
			}
		})
	}
	in := wrapWith(uid, kek, nist, 0)
	in.KeyFormatType = transparent
	block, wrapped := r.wrapped(kmip.V1_1, in)
	got, err := keywrap.Unwrap(kek16, wrapped)
	must(t, err)
	want := object(kmip14.TagKeyValue, func(w *ttlv.Writer) {
		m := w.Begin(kmip14.TagKeyMaterial)
		w.ByteString(kmip14.TagKey, key32)
		w.End(m)
	})
	if block.KeyFormatType != transparent || !bytes.Equal(got, want.Raw()) {
		t.Errorf("a transparent key is wrapped as %v %x", block.KeyFormatType, got)
	}
}

func keyValue(material []byte, list ...kmip.Attribute) ttlv.Item {
	return object(kmip14.TagKeyValue, func(w *ttlv.Writer) {
		w.ByteString(kmip14.TagKeyMaterial, material)
		for i := range list {
			list[i].Encode(w)
		}
	})
}

// A wrapping key is Active, for wrapping, and the client's own; what a client
// may not have in the clear it gets wrapped, or not at all.
func TestGetWrappedRefusals(t *testing.T) {
	const denied, illegal, absent = kmip14.ResultReasonPermissionDenied, kmip14.ResultReasonIllegalOperation, kmip14.ResultReasonItemNotFound
	const unsupported, encoding = kmip14.ResultReasonFeatureNotSupported, kmip14.ResultReasonEncodingOptionError
	r := newRig(t)
	good := r.wrappingKey(kek16, wrapUse)
	uid := r.register(key32)
	barney := r.as(operations.Principal{Client: "vcenter", User: "barney", Group: "lab"})
	stranger := r.as(operations.Principal{Client: "other", Group: "other"})
	stranger.now.Store(began)
	archived := r.wrappingKey(kek16, wrapUse)
	r.change(archived, func(o *keystore.Object) { o.ArchiveDate = keystore.At(began) })
	deactivated, compromised, destroyed := r.wrappingKey(kek16, wrapUse), r.wrappingKey(kek16, wrapUse), r.wrappingKey(kek16, wrapUse)
	r.good(r.revoke(deactivated, kmip14.RevocationReasonCodeSuperseded))
	r.good(r.revoke(compromised, kmip14.RevocationReasonCodeKeyCompromise))
	r.good(r.revoke(destroyed, kmip14.RevocationReasonCodeSuperseded))
	r.good(r.identifier(kmip14.OperationDestroy, destroyed))
	shared := barney.wrappingKey(kek16, wrapUse, kmip.TextAttribute("Operation Policy Name", "group-read"))
	preActive := r.taken(kmip.V1_1, kmip14.ObjectTypeSymmetricKey, symmetricKey(raw, kek16, aesAlg, 128), kmip.IntegerAttribute("Cryptographic Usage Mask", int32(wrapUse)))
	des := r.taken(kmip.V1_1, kmip14.ObjectTypeSymmetricKey, symmetricKey(raw, key32[:24], kmip14.CryptographicAlgorithmDES3, 168),
		kmip.IntegerAttribute("Cryptographic Usage Mask", int32(wrapUse)), kmip.DateTimeAttribute("Activation Date", began))
	for name, tc := range map[string]struct {
		in     *kmip.GetRequest
		reason kmip14.ResultReason
	}{
		"a kek that is not there": {wrapWith(uid, []byte("0192f0c1-2345-7abc-8def-0123456789ab"), nist, plainly), absent},
		"a kek that cannot be":    {wrapWith(uid, []byte("key"), nist, plainly), absent},
		"a stranger's kek":        {wrapWith(uid, stranger.wrappingKey(kek16, wrapUse), nist, plainly), absent},
		"another user's kek":      {wrapWith(uid, barney.wrappingKey(kek16, wrapUse), nist, plainly), denied},
		"a kek to look at":        {wrapWith(uid, shared, nist, plainly), denied},
		"a Pre-Active kek":        {wrapWith(uid, preActive, nist, plainly), denied},
		"a Deactivated kek":       {wrapWith(uid, deactivated, nist, plainly), denied},
		"a Compromised kek":       {wrapWith(uid, compromised, nist, plainly), denied},
		"a Destroyed kek":         {wrapWith(uid, destroyed, nist, plainly), absent},
		"an archived kek":         {wrapWith(uid, archived, nist, plainly), kmip14.ResultReasonObjectArchived},
		"a kek past Protect Stop": {wrapWith(uid, r.wrappingKey(kek16, wrapUse, kmip.DateTimeAttribute("Protect Stop Date", began)), nist, plainly), denied},
		"a kek for other uses":    {wrapWith(uid, r.wrappingKey(kek16, openUse|12), nist, plainly), denied},
		"a kek with Usage Limits": {wrapWith(uid, r.wrappingKey(kek16, wrapUse, usageLimits(9)), nist, plainly), denied},
		"a 3DES kek":              {wrapWith(uid, des, nist, plainly), denied},
		"a password as kek":       {wrapWith(uid, r.taken(kmip.V1_1, kmip14.ObjectTypeSecretData, secretData(1, raw, kek16)), nist, plainly), illegal},
		"a kek for another mode":  {wrapWith(uid, r.wrappingKey(kek16, wrapUse, parameters(padding)), nist, plainly), absent},
		"a mode that is none":     {wrapWith(uid, good, kmip14.BlockCipherModeCBC, plainly), unsupported},
		"attributes, not encoded": {wrapWith(uid, good, nist, plainly, "State"), encoding},
		"a structure, not encoded": {func() *kmip.GetRequest {
			g := wrapWith(uid, good, nist, plainly)
			g.KeyFormatType = transparent
			return g
		}(), encoding},
		"a Key Wrap Type beside it":  {func() *kmip.GetRequest { g := wrapWith(uid, good, nist, plainly); g.KeyWrapType = 1; return g }(), kmip14.ResultReasonInvalidField},
		"a signature":                {func() *kmip.GetRequest { g := wrapWith(uid, good, nist, plainly); g.Wrapping.Method = 2; return g }(), unsupported},
		"no kek":                     {wrapWith(uid, nil, 0, plainly), kmip14.ResultReasonMissingData},
		"7 bytes without padding":    {wrapWith(r.taken(kmip.V1_1, kmip14.ObjectTypeSecretData, secretData(1, raw, key32[:7])), good, nist, plainly), kmip14.ResultReasonCryptographicFailure},
		"an Opaque Object":           {wrapWith(r.taken(kmip.V1_1, kmip14.ObjectTypeOpaqueObject, opaque(1, key32)), good, nist, plainly), illegal},
		"a Template":                 {wrapWith(r.template("t", mask()), good, nist, plainly), illegal},
		"a key not to be extracted":  {wrapWith(r.register(key32, kmip.BooleanAttribute("Extractable", false)), good, nist, plainly), kmip14.ResultReasonNotExtractable},
		"a Sensitive key, in clear":  {&kmip.GetRequest{UniqueIdentifier: r.register(key32, kmip.BooleanAttribute("Sensitive", true))}, kmip14.ResultReasonSensitive},
		"a Sensitive key, wrapped":   {wrapWith(r.register(key32, kmip.BooleanAttribute("Sensitive", true)), good, nist, plainly), 0},
		"the mode of the kek":        {wrapWith(uid, r.wrappingKey(kek16, wrapUse, parameters(padding)), 0, plainly), 0},
		"the only mode, said":        {wrapWith(uid, r.wrappingKey(kek16, wrapUse, parameters(padding)), padding, plainly), 0},
		"an object that is not mine": {wrapWith(barney.register(key32), good, nist, plainly), denied},
	} {
		t.Run(name, func(t *testing.T) {
			a := r.do(kmip.V1_4, kmip14.OperationGet, tc.in)
			if a.reason != tc.reason {
				t.Errorf("%v (%v), want %v", a.reason, a.err, tc.reason)
			}
			if a.err == nil && bytes.Contains(a.payload.Raw(), key32[:16]) {
				t.Error("the key is in the answer in the clear")
			}
		})
	}
}

func parameters(m kmip14.BlockCipherMode) kmip.Attribute {
	return kmip.Attribute{Name: []byte("Cryptographic Parameters"),
		Value: object(kmip14.TagAttributeValue, func(w *ttlv.Writer) { w.Enumeration(kmip14.TagBlockCipherMode, uint32(m)) })}
}

// wrappedKey is a Symmetric Key that comes wrapped: as the Key Value itself or,
// inside, as Key Material.
func wrappedKey(value []byte, inside bool, length int32, how kmip.KeyWrappingData) ttlv.Item {
	return object(kmip14.TagSymmetricKey, func(w *ttlv.Writer) {
		b := w.Begin(kmip14.TagKeyBlock)
		w.Enumeration(kmip14.TagKeyFormatType, uint32(raw))
		if inside {
			m := w.Begin(kmip14.TagKeyValue)
			w.ByteString(kmip14.TagKeyMaterial, value)
			w.End(m)
		} else {
			w.ByteString(kmip14.TagKeyValue, value)
		}
		w.Enumeration(kmip14.TagCryptographicAlgorithm, uint32(aesAlg))
		if length != 0 {
			w.Integer(kmip14.TagCryptographicLength, length)
		}
		how.Encode(w, kmip.V1_4)
		w.End(b)
	})
}

// A key that comes wrapped is kept and handed out as it came, and in the clear
// only with the key that it takes.
func TestRegisterWrapped(t *testing.T) {
	r := newRig(t)
	kek := r.wrappingKey(kek16, wrapBoth)
	bare, err := keywrap.Wrap(kek16, key32)
	must(t, err)
	value := keyValue(key32)
	encoded, err := keywrap.Wrap(kek16, value.Raw())
	must(t, err)
	for _, tc := range []struct {
		name   string
		inside bool
		value  []byte
		option kmip14.EncodingOption
	}{{"bare", false, bare, plainly}, {"bare, inside", true, bare, plainly}, {"encoded", false, encoded, asTTLV}, {"encoded by default", true, encoded, 0}} {
		t.Run(tc.name, func(t *testing.T) {
			how := kmip.KeyWrappingData{Method: 1, EncryptionKey: kmip.KeyInformation{UniqueIdentifier: kek, Parameters: mode(nist)}, EncodingOption: tc.option}
			in := wrappedKey(tc.value, tc.inside, 256, how)
			uid := r.taken(kmip.V1_4, kmip14.ObjectTypeSymmetricKey, in, mask())
			for _, as := range []kmip14.KeyWrapType{0, kmip14.KeyWrapTypeAsRegistered} {
				var out kmip.GetResponse
				r.ok(kmip.V1_4, kmip14.OperationGet, &kmip.GetRequest{UniqueIdentifier: uid, KeyFormatType: raw, KeyWrapType: as}, &out)
				if !bytes.Equal(out.Object.Raw(), in.Raw()) {
					t.Errorf("%v: Get returns %x, want %x", as, out.Object.Raw(), in.Raw())
				}
			}
			var out kmip.GetResponse
			r.ok(kmip.V1_4, kmip14.OperationGet, &kmip.GetRequest{UniqueIdentifier: uid, KeyWrapType: kmip14.KeyWrapTypeNotWrapped}, &out)
			if want := symmetricKey(raw, key32, aesAlg, 256); !bytes.Equal(out.Object.Raw(), want.Raw()) {
				t.Errorf("not wrapped: %x, want %x", out.Object.Raw(), want.Raw())
			}
			if it := r.attribute(kmip.V1_4, uid, "Digest"); !it.IsZero() {
				t.Error("a key that the server has not seen has a digest")
			}
			a := r.do(kmip.V1_4, kmip14.OperationGet, &kmip.GetRequest{UniqueIdentifier: uid, KeyFormatType: transparent})
			if a.reason != kmip14.ResultReasonKeyFormatTypeNotSupported {
				t.Errorf("wrapped bytes as a transparent key: %v", a.err)
			}
			if a := r.do(kmip.V1_4, kmip14.OperationGet, wrapWith(uid, kek, nist, plainly)); a.reason != kmip14.ResultReasonIllegalOperation {
				t.Errorf("wrapped twice: %v", a.err)
			}
			if a := r.rekey(kmip.V1_4, &kmip.ReKeyRequest{UniqueIdentifier: uid}); a.reason != kmip14.ResultReasonPermissionDenied {
				t.Errorf("re-keyed: %v", a.err)
			}
			if tc.option == plainly {
				if a := r.do(kmip.V1_0, kmip14.OperationGet, &kmip.GetRequest{UniqueIdentifier: uid}); a.reason != kmip14.ResultReasonKeyFormatTypeNotSupported {
					t.Errorf("1.0 is told of an Encoding Option: %v", a.err)
				}
			}
		})
	}
}

func TestUnwrapRefusals(t *testing.T) {
	const denied, absent, failed = kmip14.ResultReasonPermissionDenied, kmip14.ResultReasonItemNotFound, kmip14.ResultReasonCryptographicFailure
	r := newRig(t)
	good := r.wrappingKey(kek16, wrapBoth)
	stranger := r.as(operations.Principal{Client: "other", Group: "other"})
	stranger.now.Store(began)
	bare, err := keywrap.Wrap(kek16, key32)
	must(t, err)
	noValue, err := keywrap.Wrap(kek16, object(kmip14.TagKeyBlock, func(w *ttlv.Writer) { w.ByteString(kmip14.TagKeyMaterial, key32) }).Raw())
	must(t, err)
	for name, tc := range map[string]struct {
		kek    []byte
		value  []byte
		length int32
		option kmip14.EncodingOption
		more   []kmip.Attribute
		reason kmip14.ResultReason
	}{
		"a kek for wrapping only":  {r.wrappingKey(kek16, wrapUse), bare, 256, plainly, nil, denied},
		"a kek that is not there":  {[]byte("our own"), bare, 256, plainly, nil, absent},
		"a stranger's kek":         {stranger.wrappingKey(kek16, wrapBoth), bare, 256, plainly, nil, absent},
		"another kek":              {r.wrappingKey(key32[:16], wrapBoth), bare, 256, plainly, nil, failed},
		"cut":                      {good, bare[:32], 256, plainly, nil, failed},
		"of another length":        {good, bare, 128, plainly, nil, failed},
		"bare, said to be encoded": {good, bare, 256, asTTLV, nil, failed},
		"encoded, no Key Value":    {good, noValue, 256, asTTLV, nil, failed},
		"Sensitive":                {good, bare, 256, plainly, []kmip.Attribute{kmip.BooleanAttribute("Sensitive", true)}, kmip14.ResultReasonSensitive},
	} {
		t.Run(name, func(t *testing.T) {
			how := kmip.KeyWrappingData{Method: 1, EncryptionKey: kmip.KeyInformation{UniqueIdentifier: tc.kek}, EncodingOption: tc.option}
			in := wrappedKey(tc.value, false, tc.length, how)
			uid := r.taken(kmip.V1_4, kmip14.ObjectTypeSymmetricKey, in, append(tc.more, mask())...)
			a := r.do(kmip.V1_4, kmip14.OperationGet, &kmip.GetRequest{UniqueIdentifier: uid, KeyWrapType: kmip14.KeyWrapTypeNotWrapped})
			if a.reason != tc.reason {
				t.Errorf("%v (%v), want %v", a.reason, a.err, tc.reason)
			}
			if got := r.get(kmip.V1_4, uid); !bytes.Equal(got.Object.Raw(), in.Raw()) {
				t.Error("as registered it is not as it was registered")
			}
		})
	}
}

func TestRegisterWrappedRefusals(t *testing.T) {
	r := newRig(t)
	how := kmip.KeyWrappingData{Method: 1, EncryptionKey: kmip.KeyInformation{UniqueIdentifier: []byte("k")}}
	bad := how
	bad.EncryptionKey.Parameters = object(kmip14.TagCryptographicParameters, func(w *ttlv.Writer) { w.Enumeration(kmip14.TagBlockCipherMode, 99) })
	for name, tc := range map[string]struct {
		object ttlv.Item
		reason kmip14.ResultReason
	}{
		"no length":           {wrappedKey(key32, false, 0, how), kmip14.ResultReasonMissingData},
		"an impossible one":   {wrappedKey(key32, false, 100, how), kmip14.ResultReasonInvalidField},
		"empty":               {wrappedKey(nil, false, 256, how), kmip14.ResultReasonInvalidField},
		"empty inside":        {wrappedKey(nil, true, 256, how), kmip14.ResultReasonInvalidField},
		"parameters of none":  {wrappedKey(key32, false, 256, bad), kmip14.ResultReasonInvalidField},
		"a method that is 99": {wrappedKey(key32, false, 256, kmip.KeyWrappingData{Method: 99}), kmip14.ResultReasonInvalidField},
	} {
		if a := r.take(kmip.V1_4, kmip14.ObjectTypeSymmetricKey, tc.object, mask()); a.reason != tc.reason {
			t.Errorf("%s: %v (%v), want %v", name, a.reason, a.err, tc.reason)
		}
	}
	secret := object(kmip14.TagSecretData, func(w *ttlv.Writer) {
		w.Enumeration(kmip14.TagSecretDataType, 1)
		w.Item(wrappedKey(key32, false, 256, how).Find(kmip14.TagKeyBlock))
	})
	uid := r.taken(kmip.V1_4, kmip14.ObjectTypeSecretData, secret)
	if got := r.get(kmip.V1_4, uid); !bytes.Equal(got.Object.Raw(), secret.Raw()) {
		t.Errorf("wrapped Secret Data comes back as %x, want %x", got.Object.Raw(), secret.Raw())
	}
}

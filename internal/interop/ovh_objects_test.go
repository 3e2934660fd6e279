//go:build interop

package interop

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"
	"time"

	ovh "github.com/ovh/kmip-go"
	"github.com/ovh/kmip-go/kmipclient"
)

// TestOVHClientObjects takes what is no plain key through a client that we did
// not write, at every version.
func TestOVHClientObjects(t *testing.T) {
	s := start(t)
	for _, v := range ovhVersions {
		t.Run(fmt.Sprintf("objects-%v", v), func(t *testing.T) { ovhObjects(t, dialOVH(t, s, v)) })
		t.Run(fmt.Sprintf("re-key-%v", v), func(t *testing.T) { ovhRekeyed(t, dialOVH(t, s, v), fmt.Sprintf("replaced %v", v)) })
		t.Run(fmt.Sprintf("template-%v", v), func(t *testing.T) { ovhByTemplate(t, dialOVH(t, s, v), fmt.Sprintf("template %v", v)) })
		t.Run(fmt.Sprintf("wrapped-%v", v), func(t *testing.T) { ovhWrapped(t, dialOVH(t, s, v), v) })
	}
}

func ovhObjects(t *testing.T, c *kmipclient.Client) {
	password := c.Register().SecretString(ovh.SecretDataTypePassword, "hunter2").
		WithAttribute(ovh.AttributeNameCryptographicUsageMask, ovh.CryptographicUsageVerify).MustExec().UniqueIdentifier
	secret, ok := c.Get(password).MustExec().Object.(*ovh.SecretData)
	if !ok || secret.SecretDataType != ovh.SecretDataTypePassword || string(*secret.KeyBlock.KeyValue.Plain.KeyMaterial.Bytes) != "hunter2" {
		t.Errorf("the password came back as %+v", secret)
	}
	ovhState(t, c, password, ovh.StatePreActive)
	thing := &ovh.OpaqueObject{OpaqueDataType: 0x80000001, OpaqueDataValue: []byte("anything")}
	uid := c.Register().Object(thing).MustExec().UniqueIdentifier
	back, ok := c.Get(uid).MustExec().Object.(*ovh.OpaqueObject)
	if !ok || back.OpaqueDataType != thing.OpaqueDataType || !bytes.Equal(back.OpaqueDataValue, thing.OpaqueDataValue) {
		t.Errorf("the Opaque Object came back as %+v", back)
	}
	for _, uid := range []string{password, uid} {
		c.Destroy(uid).MustExec()
		if _, err := c.Get(uid).Exec(); err == nil {
			t.Errorf("%s was handed out after its end", uid)
		}
	}
}

func ovhRekeyed(t *testing.T, c *kmipclient.Client, name string) {
	old := c.Create().AES(256, ovh.CryptographicUsageEncrypt|ovh.CryptographicUsageDecrypt).WithName(name).MustExec().UniqueIdentifier
	before := ovhKey(t, c, old)
	made := c.Rekey(old).WithOffset(time.Hour).MustExec().UniqueIdentifier
	if found := c.Locate().WithName(name).MustExec().UniqueIdentifier; !slices.Equal(found, []string{made}) {
		t.Errorf("the Name leads to %v, want the new key %v", found, made)
	}
	if bytes.Equal(ovhKey(t, c, made), before) || !bytes.Equal(ovhKey(t, c, old), before) {
		t.Error("the new key is the old one, or the old one is not what it was")
	}
	links := map[string]ovh.LinkType{old: ovh.LinkTypeReplacementObjectLink, made: ovh.LinkTypeReplacedObjectLink}
	for uid, want := range links {
		got := c.GetAttributes(uid, ovh.AttributeNameLink).MustExec().Attribute
		if len(got) != 1 || got[0].AttributeValue.(ovh.Link).LinkType != want {
			t.Errorf("the links of %s are %v, want one of type %v", uid, got, want)
		}
	}
	if _, err := c.Rekey(old).Exec(); err == nil {
		t.Error("a key was replaced twice")
	}
}

// ovhByTemplate uses what KMIP 1.3 deprecates and still has.
func ovhByTemplate(t *testing.T, c *kmipclient.Client, name string) {
	//lint:ignore SA1019 Templates are part of what is tested.
	inside := &ovh.Template{Attribute: []ovh.Attribute{
		{AttributeName: ovh.AttributeNameCryptographicLength, AttributeValue: int32(128)},
		{AttributeName: ovh.AttributeNameObjectGroup, AttributeValue: "of the template"},
	}}
	c.Register().Object(inside).WithName(name).MustExec()
	//lint:ignore SA1019 As above.
	made := c.Create().Object(ovh.ObjectTypeSymmetricKey).WithTemplate(name, ovh.NameTypeUninterpretedTextString).
		WithAttribute(ovh.AttributeNameCryptographicAlgorithm, ovh.CryptographicAlgorithmAES).
		WithAttribute(ovh.AttributeNameCryptographicUsageMask, ovh.CryptographicUsageEncrypt).MustExec().UniqueIdentifier
	if key := ovhKey(t, c, made); len(key) != 16 {
		t.Errorf("the key has %d bytes, the template says 16", len(key))
	}
	got := c.GetAttributes(made, ovh.AttributeNameObjectGroup).MustExec().Attribute
	if len(got) != 1 || got[0].AttributeValue != "of the template" {
		t.Errorf("the Object Group is %v", got)
	}
}

// ovhWrapped has the vector of RFC 3394 section 4.1 made. In 1.0 there is no
// way to ask for it without encoding.
func ovhWrapped(t *testing.T, c *kmipclient.Client, v ovh.ProtocolVersion) {
	kek, err := hex.DecodeString("000102030405060708090a0b0c0d0e0f")
	if err != nil {
		t.Fatal(err)
	}
	data, err := hex.DecodeString("00112233445566778899aabbccddeeff")
	if err != nil {
		t.Fatal(err)
	}
	wrapping := c.Register().SymmetricKey(ovh.CryptographicAlgorithmAES, ovh.CryptographicUsageWrapKey, kek).MustExec().UniqueIdentifier
	uid := c.Register().SymmetricKey(ovh.CryptographicAlgorithmAES, ovh.CryptographicUsageEncrypt, data).MustExec().UniqueIdentifier
	spec := ovh.KeyWrappingSpecification{WrappingMethod: ovh.WrappingMethodEncrypt, EncodingOption: ovh.EncodingOptionNoEncoding,
		EncryptionKeyInformation: &ovh.EncryptionKeyInformation{UniqueIdentifier: wrapping,
			CryptographicParameters: &ovh.CryptographicParameters{BlockCipherMode: ovh.BlockCipherModeNISTKeyWrap}}}
	if _, err := c.Get(uid).WithKeyWrapping(spec).Exec(); err == nil {
		t.Error("a Pre-Active key has wrapped another")
	}
	c.Activate(wrapping).MustExec()
	key, ok := c.Get(uid).WithKeyWrapping(spec).MustExec().Object.(*ovh.SymmetricKey)
	if !ok || key.KeyBlock.KeyValue.Wrapped == nil || key.KeyBlock.KeyWrappingData == nil {
		t.Fatalf("the key came back as %+v", key)
	}
	const want = "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5"
	if got := hex.EncodeToString(*key.KeyBlock.KeyValue.Wrapped); v != ovh.V1_0 && got != want {
		t.Errorf("wrapped %s, want %s", got, want)
	}
}

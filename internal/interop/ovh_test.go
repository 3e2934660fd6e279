//go:build interop

package interop

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	ovh "github.com/ovh/kmip-go"
	"github.com/ovh/kmip-go/kmipclient"
)

// dialOVH connects ovh/kmip-go's own, unmodified client at one version.
func dialOVH(t *testing.T, s *server, v ovh.ProtocolVersion) *kmipclient.Client {
	t.Helper()
	c, err := s.dial(v)
	if err != nil {
		t.Fatalf("dialling %s: %v", s.addr, err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

var ovhVersions = []ovh.ProtocolVersion{ovh.V1_0, ovh.V1_1, ovh.V1_2, ovh.V1_3, ovh.V1_4}

// TestOVHClientLifeCycle walks one key from Create or Register to Destroy at
// every version with a client that we did not write.
func TestOVHClientLifeCycle(t *testing.T) {
	s := start(t)
	for _, v := range ovhVersions {
		t.Run(fmt.Sprintf("create-%v", v), func(t *testing.T) { ovhCreated(t, s, v) })
		t.Run(fmt.Sprintf("register-%v", v), func(t *testing.T) { ovhRegistered(t, s, v) })
	}
	s.restart(t)
	t.Run("names after a restart", func(t *testing.T) {
		c := dialOVH(t, s, ovh.V1_4)
		for _, v := range ovhVersions {
			got := c.Locate().WithName(fmt.Sprintf("registered %v", v)).MustExec()
			if len(got.UniqueIdentifier) != 1 {
				t.Errorf("%v: located %v after the restart, want one", v, got.UniqueIdentifier)
			}
		}
	})
}

func ovhCreated(t *testing.T, s *server, v ovh.ProtocolVersion) {
	c := dialOVH(t, s, v)
	name := fmt.Sprintf("created %v", v)
	made, err := c.Create().AES(256, ovh.CryptographicUsageEncrypt|ovh.CryptographicUsageDecrypt).WithName(name).Exec()
	if err != nil {
		t.Fatal(err)
	}
	uid := made.UniqueIdentifier
	found := c.Locate().WithName(name).MustExec().UniqueIdentifier
	if !slices.Equal(found, []string{uid}) {
		t.Errorf("located %v by name, want %v", found, uid)
	}
	first := ovhKey(t, c, uid)
	if again := ovhKey(t, c, uid); len(first) != 32 || !bytes.Equal(first, again) {
		t.Errorf("two Gets differ, or the key has %d bytes", len(first))
	}
	ovhAttributes(t, c, uid, name)
	if _, err := c.Destroy("01890000-0000-7000-8000-000000000000").Exec(); err == nil {
		t.Error("an absent key was destroyed")
	}
	c.Activate(uid).MustExec()
	ovhState(t, c, uid, ovh.StateActive)
	if _, err := c.Destroy(uid).Exec(); err == nil {
		t.Error("an Active key was destroyed")
	}
	c.Revoke(uid).WithRevocationReasonCode(ovh.RevocationReasonCodeCessationOfOperation).MustExec()
	ovhState(t, c, uid, ovh.StateDeactivated)
	c.Destroy(uid).MustExec()
	ovhState(t, c, uid, ovh.StateDestroyed)
	if _, err := c.Get(uid).Exec(); err == nil {
		t.Error("a destroyed key was handed out")
	}
}

func ovhAttributes(t *testing.T, c *kmipclient.Client, uid, name string) {
	t.Helper()
	c.AddAttribute(uid, "x-Product", "VMware vSphere").MustExec()
	got := c.GetAttributes(uid, ovh.AttributeNameName, "x-Product", ovh.AttributeNameCryptographicLength).MustExec()
	values := map[ovh.AttributeName]string{}
	for _, a := range got.Attribute {
		values[a.AttributeName] = fmt.Sprint(a.AttributeValue)
	}
	if !strings.Contains(values["x-Product"], "VMware vSphere") || values[ovh.AttributeNameCryptographicLength] != "256" {
		t.Errorf("attributes of %s: %v", name, values)
	}
	names := c.GetAttributeList(uid).MustExec().AttributeName
	for _, want := range []ovh.AttributeName{"x-Product", ovh.AttributeNameName, ovh.AttributeNameState} {
		if !slices.Contains(names, want) {
			t.Errorf("Get Attribute List lacks %s: %v", want, names)
		}
	}
}

func ovhState(t *testing.T, c *kmipclient.Client, uid string, want ovh.State) {
	t.Helper()
	got := c.GetAttributes(uid, ovh.AttributeNameState).MustExec()
	if len(got.Attribute) != 1 || got.Attribute[0].AttributeValue != want {
		t.Errorf("state of %s is %v, want %v", uid, got.Attribute, want)
	}
}

func ovhKey(t *testing.T, c *kmipclient.Client, uid string) []byte {
	t.Helper()
	got, err := c.Get(uid).Exec()
	if err != nil {
		t.Fatalf("Get %s: %v", uid, err)
	}
	key, ok := got.Object.(*ovh.SymmetricKey)
	if !ok {
		t.Fatalf("Get returned %T", got.Object)
	}
	material, err := key.KeyMaterial()
	if err != nil {
		t.Fatal(err)
	}
	return material
}

func ovhRegistered(t *testing.T, s *server, v ovh.ProtocolVersion) {
	c := dialOVH(t, s, v)
	name := fmt.Sprintf("registered %v", v)
	want := bytes.Repeat([]byte{byte(v.ProtocolVersionMinor) + 1}, 32)
	made, err := c.Register().
		SymmetricKey(ovh.CryptographicAlgorithmAES, ovh.CryptographicUsageEncrypt, want).
		WithName(name).Exec()
	if err != nil {
		t.Fatal(err)
	}
	if got := ovhKey(t, c, made.UniqueIdentifier); !bytes.Equal(got, want) {
		t.Error("Get did not return what was registered")
	}
	if _, err := c.Register().SymmetricKey(ovh.CryptographicAlgorithmAES, ovh.CryptographicUsageEncrypt, want).
		WithName(name).Exec(); err == nil {
		t.Error("a second object took the same name")
	}
}

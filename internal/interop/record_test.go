//go:build interop

package interop

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	ovh "github.com/ovh/kmip-go"

	"github.com/keyreeve/keyreeve/kmip/kmiptest"
)

// TestRecordedOVHClientReplays records a client that is not ours at the real
// server, and plays what it said to a new one, which must answer to the byte. The
// key that it brought is not in the recording, in whatever spelling.
func TestRecordedOVHClientReplays(t *testing.T) {
	s := prepare(t)
	path := filepath.Join(t.TempDir(), "recording")
	t.Setenv("KEYREEVE_RECORD_FILE", path)
	s.launch(t)
	t.Cleanup(func() { s.kill(); s.waitDead(t) })
	key := []byte("a key that nobody else must see!")
	for _, v := range []ovh.ProtocolVersion{ovh.V1_1, ovh.V1_4} {
		ovhCreated(t, s, v)
		c := dialOVH(t, s, v)
		name := "secret project " + v.String()
		made := c.Register().SymmetricKey(ovh.CryptographicAlgorithmAES, ovh.CryptographicUsageEncrypt, key).WithName(name).MustExec()
		if got := ovhKey(t, c, made.UniqueIdentifier); !bytes.Equal(got, key) {
			t.Fatal("Get did not return what was registered")
		}
		if found := c.Locate().WithName(name).MustExec().UniqueIdentifier; len(found) != 1 {
			t.Fatalf("located %v", found)
		}
	}
	s.stop(t)
	recording, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at+9 <= len(key); at++ {
		piece := key[at : at+9]
		for _, form := range []string{string(piece), hex.EncodeToString(piece), strings.ToUpper(hex.EncodeToString(piece)), base64.StdEncoding.EncodeToString(piece)} {
			if bytes.Contains(recording, []byte(form)) {
				t.Fatalf("the key is in the recording: %q", form)
			}
		}
	}
	if bytes.Contains(recording, []byte("secret project")) || bytes.Contains(recording, []byte("127.0.0.1")) {
		t.Error("a name or an address is in the recording")
	}
	if out, err := s.run("record", "check", path); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	kmiptest.RunTranscript(t, recording)
}

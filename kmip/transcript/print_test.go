package transcript_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/kmip/transcript"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// withSecrets has each kind of what must not be shown, and the places that look
// like it and may be.
const withSecrets = `RequestMessage
  RequestHeader
    ProtocolVersion
      ProtocolVersionMajor Integer 1
      ProtocolVersionMinor Integer 4
    Authentication
      Credential
        CredentialType Enumeration UsernameAndPassword
        CredentialValue
          Username TextString "alice"
          Password TextString "5ecretpassw0rd"
    BatchCount Integer 1
  BatchItem
    Operation Enumeration Register
    UniqueBatchItemID ByteString 0a0b0c0d
    RequestPayload
      ObjectType Enumeration SymmetricKey
      TemplateAttribute
        Attribute
          AttributeName TextString "x-Bytes"
          AttributeValue ByteString 5ec20001
        Attribute
          AttributeName TextString "Name"
          AttributeValue
            NameValue TextString "a name"
            NameType Enumeration UninterpretedTextString
      SymmetricKey
        KeyBlock
          KeyFormatType Enumeration Raw
          KeyValue
            KeyMaterial ByteString 5ec20002
          CryptographicLength Integer 128
      PrivateKey
        KeyBlock
          KeyValue
            KeyMaterial
              Modulus BigInteger 000000005ec20003
              D BigInteger 000000005ec20004
              KeyPartIdentifier Integer 77777
      OpaqueObject
        OpaqueDataValue ByteString 5ec20005
      KeyValue ByteString 5ec20006
      Data ByteString 5ec20007
      KeyMaterial TextString "5ecretmateria1"
      0x540001
        0x540002 TextString "5ecretvendor"
        BatchCount Integer 77777
    MessageExtension
      VendorIdentification TextString "vendor"
      CriticalityIndicator Boolean false
      VendorExtension
        NameValue TextString "5ecretextension"
`

func encode(t testing.TB, text string) []byte {
	t.Helper()
	m, err := transcript.ParseMessage(text, 1)
	if err != nil {
		t.Fatal(err)
	}
	b, err := m.Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestPrintShowsNoSecret in any form, unless it is asked to.
func TestPrintShowsNoSecret(t *testing.T) {
	message := encode(t, withSecrets)
	for _, form := range transcript.Forms {
		t.Run(form, func(t *testing.T) {
			var redacted, full bytes.Buffer
			if err := transcript.Print(&redacted, form, message, false); err != nil {
				t.Fatal(err)
			}
			for _, secret := range []string{"5ec", "77777", "5EC"} {
				if strings.Contains(redacted.String(), secret) {
					t.Errorf("%s is shown:\n%s", secret, redacted.String())
				}
			}
			for _, harmless := range []string{"alice", "a name", "0a0b0c0d", "x-Bytes", "128", "redacted: 4 bytes", "redacted: 14 bytes"} {
				if !strings.Contains(redacted.String(), harmless) {
					t.Errorf("%s is not shown:\n%s", harmless, redacted.String())
				}
			}
			if err := transcript.Print(&full, form, message, true); err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(full.String(), "5ec"); n < 9 { // two more, where Big Integers are not decimal
				t.Errorf("%d secrets are shown on demand, want 9:\n%s", n, full.String())
			}
		})
	}
}

// TestPrintedIsWhatItSays: the documents can be read.
func TestPrintedIsWhatItSays(t *testing.T) {
	message := encode(t, withSecrets)
	var asJSON, asXML, notation bytes.Buffer
	if err := errors.Join(transcript.Print(&asJSON, "json", message, true), transcript.Print(&asXML, "xml", message, true),
		transcript.Print(&notation, "notation", message, true)); err != nil {
		t.Fatal(err)
	}
	if !json.Valid(asJSON.Bytes()) {
		t.Errorf("no JSON:\n%s", asJSON.String())
	}
	for d := xml.NewDecoder(&asXML); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("no XML: %v", err)
		}
	}
	if !bytes.Equal(encode(t, notation.String()), message) {
		t.Errorf("the notation is of another message:\n%s", notation.String())
	}
	if err := transcript.Print(io.Discard, "prose", message, false); err == nil {
		t.Error("an unknown form was taken")
	}
}

// TestPrintRefuses what the printers would choke on. Thirty nested structures
// would keep them busy for hours.
func TestPrintRefuses(t *testing.T) {
	deep := "RequestMessage\n"
	for depth := 1; depth < 30; depth++ {
		deep += strings.Repeat("  ", depth) + "BatchItem\n"
	}
	for name, tt := range map[string]struct {
		message []byte
		want    error
	}{
		"no TTLV": {[]byte("nonsense"), ttlv.ErrMalformed},
		"nothing": {nil, ttlv.ErrMalformed},
		"deep":    {encode(t, deep), transcript.ErrCostly},
		"deeper":  {bytes.Repeat([]byte{0x42, 0, 0x78, 1}, 100), ttlv.ErrMalformed},
	} {
		for _, form := range []string{"text", "xml", "json"} {
			if err := transcript.Print(io.Discard, form, tt.message, false); !errors.Is(err, tt.want) {
				t.Errorf("%s as %s: %v", name, form, err)
			}
		}
	}
}

// FuzzText: every well-formed message can be printed or is refused, shows no
// marked secret, and comes back from the notation as it was.
func FuzzText(f *testing.F) {
	f.Add(encode(f, everyType))
	f.Add(encode(f, withSecrets))
	b, _ := hex.DecodeString(everyTypeBytes)
	f.Add(b)
	f.Add([]byte{0x42, 0, 0x92, 9, 0, 0, 0, 8, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0x42, 0, 0x2c, 2, 0, 0, 0, 4, 0xf1, 0x23, 0x45, 0x67, 0, 0, 0, 0})
	f.Add([]byte{0x42, 0, 0x5c, 5, 0, 0, 0, 4, 0x01, 0x23, 0x45, 0x67, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, message []byte) {
		if ttlv.Check(message, ttlv.Limits{}) != nil {
			return
		}
		for _, form := range transcript.Forms {
			_ = transcript.Print(io.Discard, form, message, false) // an error is fine, a panic or a hang is not
			_ = transcript.Print(io.Discard, form, message, true)
		}
		text := transcript.Format(message)
		if again := encode(t, text); !bytes.Equal(again, message) {
			t.Errorf("%x became %x by way of\n%s", message, again, text)
		}
	})
}

package transcript_test

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyreeve/keyreeve/kmip/transcript"
)

const everyType = `RequestMessage
  BatchCount Integer -2
  UsageLimitsTotal LongInteger 1234567890123
  P BigInteger 00000000000000ff
  Operation Enumeration Get
  CryptographicUsageMask Integer Encrypt|Decrypt
  BatchOrderOption Boolean true
  AttributeName TextString "a \"quoted\" näme"
  UniqueBatchItemID ByteString 514c4b4301
  TimeStamp DateTime 2022-11-24T10:21:59Z
  LeaseTime Interval 3600
  Attribute
    AttributeName TextString "Cryptographic Algorithm"
    AttributeValue Enumeration CryptographicAlgorithm.AES
  RequestPayload
`

// everyTypeBytes was put together by hand from specification section 9.1.
const everyTypeBytes = "42007801" + "000000e8" +
	"42000d02" + "00000004" + "fffffffe00000000" +
	"42009703" + "00000008" + "0000011f71fb04cb" +
	"42005e04" + "00000008" + "00000000000000ff" +
	"42005c05" + "00000004" + "0000000a00000000" +
	"42002c02" + "00000004" + "0000000c00000000" +
	"42001006" + "00000008" + "0000000000000001" +
	"42000a07" + "00000010" + "61202271756f74656422206ec3a46d65" +
	"42009308" + "00000005" + "514c4b4301000000" +
	"42009209" + "00000008" + "00000000637f45c7" +
	"4200490a" + "00000004" + "00000e1000000000" +
	"42000801" + "00000030" +
	"42000a07" + "00000017" + "43727970746f6772617068696320416c676f726974686d00" +
	"42000b05" + "00000004" + "0000000300000000" +
	"42007901" + "00000000"

func TestNotation(t *testing.T) {
	m, err := transcript.ParseMessage(everyType, 1)
	if err != nil {
		t.Fatal(err)
	}
	b, err := m.Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(everyTypeBytes, hex.EncodeToString(b)); diff != "" {
		t.Errorf("encoding (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(everyType, transcript.Format(b)); diff != "" {
		t.Errorf("text from bytes (-want +got):\n%s", diff)
	}
}

func TestNotationErrors(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"nothing", "\n# only a comment\n", "no message"},
		{"no tag", "Blob", "line 7: \"Blob\" is no tag"},
		{"no type", "RequestMessage\n  BatchCount Number 1", "line 8: \"Number\" is no type"},
		{"no number", "BatchCount Integer one", "line 7: BatchCount"},
		{"no name of the enumeration", "Operation Enumeration Fly", "line 7: Operation"},
		{"no text", "AttributeName TextString bare", "line 7: AttributeName"},
		{"no hexadecimal", "UniqueBatchItemID ByteString 5g", "line 7: UniqueBatchItemID"},
		{"no date", "TimeStamp DateTime yesterday", "line 7: TimeStamp"},
		{"odd indent", "RequestMessage\n   BatchCount Integer 1", "odd number"},
		{"two messages", "RequestMessage\nRequestMessage", "line 8: indented"},
		{"inside a value", "BatchCount Integer 1\n  BatchCount Integer 1", "line 8: indented"},
		{"a step too deep", "RequestMessage\n    BatchCount Integer 1", "line 8: indented"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := transcript.ParseMessage(tt.text, 7); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, expected one with %q", err, tt.want)
			}
		})
	}
}

var now = time.Date(2026, 11, 24, 10, 21, 59, 0, time.UTC)

// answer is a response with what a server chooses.
func answer(t *testing.T, id, key string, stamp time.Time) []byte {
	t.Helper()
	return encode(t, "ResponseMessage\n  TimeStamp DateTime "+stamp.Format(time.RFC3339)+
		"\n  UniqueIdentifier TextString \""+id+"\"\n  KeyMaterial ByteString "+key+"\n  BatchCount Integer 1")
}

func TestCompare(t *testing.T) {
	expected := func(id, key, count string) string {
		return "ResponseMessage\n  TimeStamp DateTime $_\n  UniqueIdentifier TextString " + id +
			"\n  KeyMaterial ByteString " + key + "\n  BatchCount Integer " + count
	}
	good := answer(t, "abc", "00112233", now)
	known := transcript.Values{"id": []byte("abc")}
	tests := []struct {
		name, text string
		values     transcript.Values
		answer     []byte
		want       string // "" for none
	}{
		{"taken", expected("$id", "$key", "1"), transcript.Values{}, good, ""},
		{"known and the same", expected("$id", "$_", "1"), known, good, ""},
		{"literal", expected(`"abc"`, "00112233", "1"), transcript.Values{}, good, ""},
		{"of the length", expected("$id[3]", "$key[4]", "1"), transcript.Values{}, good, ""},
		{"known and another", expected("$id", "$_", "1"), transcript.Values{"id": []byte("abd")}, good, "differs"},
		{"of another length", expected("$id[36]", "$_", "1"), transcript.Values{}, good, "has 3 bytes, expected 36"},
		{"one name for two values", expected("$x", "$x", "1"), transcript.Values{}, good, "differs"},
		{"another literal", expected("$id", "$key", "2"), transcript.Values{}, good, "differs"},
		{"an old date", expected("$id", "$key", "1"), transcript.Values{}, answer(t, "abc", "00", now.Add(-time.Hour)), "from now"},
		{"a field more", "ResponseMessage\n  TimeStamp DateTime $_", transcript.Values{}, good, "differs"},
		{"a field less", expected("$id", "$key", "1") + "\n  BatchCount Integer 1", transcript.Values{}, good, "differs"},
		{"no TTLV", expected("$id", "$key", "1"), transcript.Values{}, []byte("nonsense"), "no TTLV"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, err := transcript.ParseMessage(tt.text, 1)
			if err != nil {
				t.Fatal(err)
			}
			err = m.Compare(tt.answer, tt.values, now)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v, expected %q", err, tt.want)
			}
		})
	}
}

// TestDifference: an error shows where the two part.
func TestDifference(t *testing.T) {
	m, err := transcript.ParseMessage("ResponseMessage\n  TimeStamp DateTime $_\n  UniqueIdentifier TextString \"abd\"\n  BatchCount Integer 1", 1)
	if err != nil {
		t.Fatal(err)
	}
	err = m.Compare(answer(t, "abc", "00112233", now), transcript.Values{}, now)
	want := `the answer differs (- expected, + received):
  ResponseMessage
    TimeStamp DateTime 2026-11-24T10:21:59Z
-   UniqueIdentifier TextString "abd"
+   UniqueIdentifier TextString "abc"
+   KeyMaterial ByteString 00112233
    BatchCount Integer 1
  `
	if err == nil {
		t.Fatal("no error")
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
}

// TestEveryByteCounts flips each bit of an answer: Compare must see all that
// are not in a placeholder.
func TestEveryByteCounts(t *testing.T) {
	good := answer(t, "abc", "00112233", now)
	m, err := transcript.ParseMessage("ResponseMessage\n  TimeStamp DateTime $_\n  UniqueIdentifier TextString \"abc\"\n"+
		"  KeyMaterial ByteString $key[4]\n  BatchCount Integer 1", 1)
	if err != nil {
		t.Fatal(err)
	}
	free := bytes.Index(good, []byte{0, 0x11, 0x22, 0x33})
	for i := range good {
		for bit := range 8 {
			b := bytes.Clone(good)
			b[i] ^= 1 << bit
			placeholder := i >= free && i < free+4 || i == 23 || i == 22 && bit == 0 // key bytes; seconds of the date
			if err := m.Compare(b, transcript.Values{}, now); err == nil && !placeholder {
				t.Errorf("bit %d of byte %d was not missed", bit, i)
			}
		}
	}
}

func TestPlaceholderMustBeSet(t *testing.T) {
	m, err := transcript.ParseMessage("RequestMessage\n  UniqueIdentifier TextString $later", 3)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Encode(transcript.Values{}); err == nil || !strings.Contains(err.Error(), "line 4: nothing has set $later") {
		t.Errorf("error %v", err)
	}
}

func TestTranscriptErrors(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"no steps", "a comment\n", "without steps"},
		{"no name", "-- connect as=none --\n", "needs a name"},
		{"unknown option", "-- connect a fast=yes --\n", "no option"},
		{"unknown TLS", "-- connect a tls=1.1 --\n", "no option"},
		{"unknown verb", "-- a shout --\n", "no verb"},
		{"no verb", "-- a --\n", "a name and a verb"},
		{"a body too many", "-- a close --\nRequestMessage\n", "no body"},
		{"a bad message", "\n\n-- a send --\nRequestMessage\n  Nonsense\n", "line 5"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := transcript.ParseTranscript([]byte(tt.text)); err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), "connection's name", "a name"), tt.want) {
				t.Errorf("error %v, expected %q", err, tt.want)
			}
		})
	}
}

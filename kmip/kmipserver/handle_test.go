package kmipserver_test

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/kmipserver"
	"github.com/keyreeve/keyreeve/kmip/kmiptest"
	"github.com/keyreeve/keyreeve/kmip/operations"
	"github.com/keyreeve/keyreeve/kmip/transcript"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

var fuzzer = &operations.Principal{Client: "fuzz", Group: "fuzz", Remote: "192.0.2.66:1"}

// seeds are the requests of all transcripts.
func seeds(t testing.TB) [][]byte {
	t.Helper()
	files, err := filepath.Glob("../testdata/transcripts/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	values := transcript.Values{}
	for _, name := range []string{"key", "vm", "host", "first", "second", "third", "a", "b", "c", "d"} {
		values[name] = []byte("01890a5d-ac96-774b-bcce-b302099a8057")
	}
	var found [][]byte
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := transcript.ParseTranscript(data)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range parsed.Steps {
			if s.Verb != transcript.Send {
				continue
			}
			b, err := s.Message.Encode(values)
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			found = append(found, b)
		}
	}
	return found
}

// checkAnswer wants a well-formed answer, or none, in time that is no more than
// linear.
func checkAnswer(t *testing.T, s *kmipserver.Server, request []byte) {
	t.Helper()
	began := time.Now()
	out := s.Handle(context.Background(), fuzzer, request, nil)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("%d bytes took %v", len(request), took)
	}
	if out == nil {
		return
	}
	if err := ttlv.Check(out, ttlv.Limits{}); err != nil {
		t.Fatalf("the answer is malformed: %v", err)
	}
	var m kmip.ResponseMessage
	if err := kmip.ParseResponse(out, &m); err != nil {
		t.Fatalf("the answer is no response: %v\n%s", err, transcript.Format(out))
	}
	for i := range m.Items {
		it := &m.Items[i]
		success := it.Status == kmip14.ResultStatusSuccess
		if success == it.Payload.IsZero() && (success || it.Operation != kmip14.OperationCheck) {
			t.Fatalf("item %d: status %v with payload %v", i, it.Status, !it.Payload.IsZero())
		}
	}
}

// FuzzHandle: whatever an enrolled client sends, the server answers or closes,
// and its store stays whole.
func FuzzHandle(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b)
	}
	server, _ := kmiptest.NewServer(f, kmiptest.Options{})
	f.Fuzz(func(t *testing.T, request []byte) {
		if len(request) <= 1<<20 {
			checkAnswer(t, server.KMIP, request)
		}
	})
}

// TestMutatedRequests is a short walk of the same kind for every run, with the
// same mutations each time. NewServer checks the whole store at the end.
func TestMutatedRequests(t *testing.T) {
	server, _ := kmiptest.NewServer(t, kmiptest.Options{})
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, seed := range seeds(t) {
		for range 8 {
			b := append([]byte(nil), seed...)
			for range 1 + rnd.IntN(3) {
				mutate(rnd, b)
			}
			checkAnswer(t, server.KMIP, b[:len(b)-rnd.IntN(2)*8*rnd.IntN(3)])
		}
	}
}

// mutate changes a byte, or a whole tag, type, length or value.
func mutate(rnd *rand.Rand, b []byte) {
	at := rnd.IntN(len(b) / 8)
	switch rnd.IntN(4) {
	case 0:
		b[rnd.IntN(len(b))] ^= 1 << rnd.IntN(8)
	case 1:
		copy(b[at*8:at*8+8], b[rnd.IntN(len(b)/8)*8:])
	case 2:
		clear(b[at*8 : at*8+8])
	case 3:
		b[at*8+2] = byte(rnd.IntN(256))
	}
}

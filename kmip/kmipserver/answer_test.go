package kmipserver

import (
	"bytes"
	"testing"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip"
)

// TestAnswerBegunAnew: an answer that outgrew its buffer and is then begun anew
// (the store ran the batch again, or said that nothing may leave) leaves no
// copy of a key in memory that nobody clears.
func TestAnswerBegunAnew(t *testing.T) {
	key := bytes.Repeat([]byte{0xA5}, 4000)
	w := &work{server: &Server{}, header: kmip.ResponseHeader{Version: kmip.V1_4}}
	dst := make([]byte, 0, 1024)
	for range 2 { // as the pool hands it out again
		w.buffer = dst
		w.begin(1)
		w.writer.BeginItem(kmip14.OperationGet, nil).ByteString(kmip14.TagKeyMaterial, key)
		w.writer.EndItem()
		grown := w.writer.Buffer()
		w.begin(2)
		w.writer.FailItem(kmip14.OperationGet, nil, nil)
		out := w.writer.End()
		for _, b := range [][]byte{out, dst} { // what a connection clears
			clear(b[:cap(b)])
		}
		if i := bytes.IndexByte(grown[:cap(grown)], 0xA5); i >= 0 {
			t.Fatalf("the key is still in the first answer at %d", i)
		}
		w.reset()
		if b := w.writer.Buffer(); b != nil {
			t.Fatal("a work in the pool holds on to a buffer that others get")
		}
	}
}

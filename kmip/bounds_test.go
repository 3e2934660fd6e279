package kmip_test

import (
	"bytes"
	"runtime"
	"testing"
	"time"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// What parsing allocates is bounded by what was sent, whatever the message
// claims: here each kind of thing of which there can be many, at its smallest.
func TestParsingIsBoundedByWhatWasSent(t *testing.T) {
	const size = 512 << 10
	fill := func(one item) item { return bytes.Repeat(one, size/len(one)) }
	ids := batchItem(opGet, bs(kmip14.TagUniqueBatchItemID, ""), empty)
	n := int32(size / len(ids))
	for name, tc := range map[string]struct {
		raw item
		op  kmip14.Operation
	}{
		"batch items":     {request(simpleHeader(1, n), fill(ids)), 0},
		"count claimed":   {request(simpleHeader(1, 1<<31-1), ids), 0},
		"attribute names": {request(simpleHeader(1, 1), batchItem(en(kmip14.TagOperation, 0xb), payload(fill(tx(kmip14.TagAttributeName, ""))))), 0xb},
		"attributes": {request(simpleHeader(1, 1), batchItem(en(kmip14.TagOperation, 8),
			payload(fill(st(kmip14.TagAttribute, tx(kmip14.TagAttributeName, ""), st(kmip14.TagAttributeValue)))))), 8},
		"credentials": {request(header(protocol(1, 4), st(kmip14.TagAuthentication, fill(st(kmip14.TagCredential, en(kmip14.TagCredentialType, 2), st(kmip14.TagCredentialValue)))),
			in(kmip14.TagBatchCount, 1)), getItem), 0},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			if err := ttlv.Check(tc.raw, ttlv.Limits{Items: 1 << 20}); err != nil {
				t.Fatal(err)
			}
			var m kmip.RequestMessage
			if err := kmip.ParseRequest(tc.raw, &m); err != nil {
				mustBeError(t, err)
			} else if p := requestPayload(tc.op); p != nil {
				if err := p.Decode(m.Items[0].Payload, m.Header.Version); err != nil {
					t.Fatal(err)
				}
			}
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			if got := after.TotalAlloc - before.TotalAlloc; got > 32*uint64(len(tc.raw))+64<<10 {
				t.Errorf("%d bytes made it allocate %d", len(tc.raw), got)
			}
			if took > 2*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

// manyAttributes is a Create of about n bytes.
func manyAttributes(n int) item {
	return request(simpleHeader(1, 1), batchItem(en(kmip14.TagOperation, 1), payload(symType, st(kmip14.TagTemplateAttribute, bytes.Repeat(contact1, n/len(contact1))))))
}

// Sixteen messages, and one of sixteen times the bytes, should take as long; a
// quadratic walk takes sixteen times as long for the one. Both are timed over as
// long a time, so that a busy machine disturbs them alike.
func TestParsingIsLinear(t *testing.T) {
	var m kmip.RequestMessage
	var c kmip.CreateRequest
	parse := func(raw item) {
		if err := kmip.ParseRequest(raw, &m); err != nil {
			t.Fatal(err)
		}
		if err := c.Decode(m.Items[0].Payload, kmip.V1_1); err != nil {
			t.Fatal(err)
		}
		for i := range c.Template.Attributes {
			if _, err := c.Template.Attributes[i].Check(kmip.V1_1); err != nil {
				t.Fatal(err)
			}
		}
	}
	best := func(raw item, times int) time.Duration {
		shortest := time.Duration(1<<63 - 1)
		for range 7 {
			start := time.Now()
			for range times {
				parse(raw)
			}
			shortest = min(shortest, time.Since(start))
		}
		return shortest
	}
	if many, one := best(manyAttributes(64<<10), 16), best(manyAttributes(1<<20), 1); one > 4*many {
		t.Errorf("16 times 64 KiB took %v, 1 MiB %v", many, one)
	}
}

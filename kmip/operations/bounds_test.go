package operations_test

import (
	"bytes"
	"testing"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// lump is a custom attribute with a value of n bytes.
func lump(name string, n int) kmip.Attribute {
	var w ttlv.Writer
	w.ByteString(kmip14.TagAttributeValue, make([]byte, n))
	it, _ := ttlv.Parse(w.Bytes())
	return kmip.Attribute{Name: []byte(name), Value: it}
}

// TestAttributesAreBounded: an object cannot be grown without end, since each
// further change would copy all of it.
func TestAttributesAreBounded(t *testing.T) {
	r := newRig(t)
	if a := r.do(kmip.V1_4, kmip14.OperationCreate, createRequest(aes(256, lump("x-a", 40<<10), lump("x-b", 40<<10)))); a.reason != kmip14.ResultReasonInvalidField {
		t.Errorf("Create with 80 KiB of attributes: %v", a.err)
	}
	uid := r.create(lump("x-a", 40<<10))
	add := func(n int) answer {
		return r.do(kmip.V1_4, kmip14.OperationAddAttribute, &kmip.AddAttributeRequest{UniqueIdentifier: uid, Attribute: lump("x-b", n)})
	}
	if a := add(40 << 10); a.reason != kmip14.ResultReasonInvalidField {
		t.Errorf("Add Attribute beyond the bound: %v", a.err)
	}
	r.good(add(20 << 10))
}

// TestGetAttributesIsBounded: 1.0 lets a client name an attribute again and
// again; a small request must not make an answer of gigabytes.
func TestGetAttributesIsBounded(t *testing.T) {
	r := newRig(t)
	uid := r.create(lump("x-a", 40<<10))
	in := &kmip.GetAttributesRequest{UniqueIdentifier: uid, Names: [][]byte{[]byte("x-a"), []byte("x-a")}}
	r.good(r.do(kmip.V1_0, kmip14.OperationGetAttributes, in))
	in.Names = bytes.SplitAfter(bytes.Repeat([]byte("x-a"), 500), []byte("a"))[:500]
	if a := r.do(kmip.V1_0, kmip14.OperationGetAttributes, in); a.reason != kmip14.ResultReasonResponseTooLarge {
		t.Errorf("Get Attributes of 500 times 40 KiB: %v, %d bytes", a.err, len(a.payload.Raw()))
	}
}

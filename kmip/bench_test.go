package kmip_test

import (
	"testing"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// getServer is what a server keeps for a connection: it answers a Get the way
// kmipserver does, with the same memory each time.
type getServer struct {
	req    kmip.RequestMessage
	get    kmip.GetRequest
	resp   kmip.GetResponse
	w      kmip.ResponseWriter
	buf    []byte
	object ttlv.Item
}

func newGetServer(t testing.TB) (*getServer, []byte) {
	t.Helper()
	var obj ttlv.Writer
	kmip.WriteSymmetricKey(&obj, make([]byte, 32), kmip14.CryptographicAlgorithmAES, 256)
	object, err := ttlv.Parse(obj.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	var w kmip.RequestWriter
	w.Begin(nil, &kmip.RequestHeader{Version: kmip.V1_1})
	get := kmip.GetRequest{UniqueIdentifier: []byte("01936a5e-7d3c-7a10-8000-2b1f6c0a9d4e")}
	get.Encode(w.BeginItem(kmip14.OperationGet, []byte("QLKC\x02\x00\x00\x00"), nil), kmip.V1_1)
	w.EndItem()
	return &getServer{buf: make([]byte, 0, 1024), object: object}, w.End()
}

func (s *getServer) serve(request []byte) ([]byte, error) {
	if err := ttlv.Check(request, ttlv.Limits{}); err != nil {
		return nil, err
	}
	if err := kmip.ParseRequest(request, &s.req); err != nil {
		return nil, err
	}
	item := &s.req.Items[0]
	if err := s.get.Decode(item.Payload, s.req.Header.Version); err != nil {
		return nil, err
	}
	s.w.Begin(s.buf, &kmip.ResponseHeader{Version: s.req.Header.Version, TimeStamp: 1763945714})
	s.resp = kmip.GetResponse{ObjectType: kmip14.ObjectTypeSymmetricKey, UniqueIdentifier: s.get.UniqueIdentifier, Object: s.object}
	s.resp.Encode(s.w.BeginItem(item.Operation, item.ID), s.req.Header.Version)
	s.w.EndItem()
	return s.w.End(), nil
}

func TestServingGetAllocatesNothing(t *testing.T) {
	s, request := newGetServer(t)
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := s.serve(request); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a Get, want 0", n)
	}
}

func BenchmarkGet(b *testing.B) {
	s, request := newGetServer(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.serve(request); err != nil {
			b.Fatal(err)
		}
	}
}

package kmip_test

import (
	"bytes"
	"testing"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// requestPayload and responsePayload give the payload type of an operation, nil
// for those that the server does not do (and for the answer to Poll, which is
// that of another operation).
func requestPayload(op kmip14.Operation) kmip.Payload {
	switch op {
	case kmip14.OperationCreate:
		return &kmip.CreateRequest{}
	case kmip14.OperationRegister:
		return &kmip.RegisterRequest{}
	case kmip14.OperationReKey:
		return &kmip.ReKeyRequest{}
	case kmip14.OperationLocate:
		return &kmip.LocateRequest{}
	case kmip14.OperationGet:
		return &kmip.GetRequest{}
	case kmip14.OperationGetAttributes:
		return &kmip.GetAttributesRequest{}
	case kmip14.OperationGetAttributeList, kmip14.OperationActivate, kmip14.OperationDestroy,
		kmip14.OperationObtainLease, kmip14.OperationArchive, kmip14.OperationRecover:
		return &kmip.IdentifierRequest{}
	case kmip14.OperationAddAttribute, kmip14.OperationModifyAttribute:
		return &kmip.AddAttributeRequest{}
	case kmip14.OperationDeleteAttribute:
		return &kmip.DeleteAttributeRequest{}
	case kmip14.OperationCheck:
		return &kmip.CheckRequest{}
	case kmip14.OperationGetUsageAllocation:
		return &kmip.GetUsageAllocationRequest{}
	case kmip14.OperationPoll, kmip14.OperationCancel:
		return &kmip.PollRequest{}
	case kmip14.OperationRevoke:
		return &kmip.RevokeRequest{}
	case kmip14.OperationQuery:
		return &kmip.QueryRequest{}
	case kmip14.OperationDiscoverVersions:
		return &kmip.DiscoverVersionsRequest{}
	}
	return nil
}

func responsePayload(op kmip14.Operation) kmip.Payload {
	switch op {
	case kmip14.OperationCreate:
		return &kmip.CreateResponse{}
	case kmip14.OperationRegister, kmip14.OperationReKey:
		return &kmip.RegisterResponse{}
	case kmip14.OperationLocate:
		return &kmip.LocateResponse{}
	case kmip14.OperationGet:
		return &kmip.GetResponse{}
	case kmip14.OperationGetAttributes:
		return &kmip.GetAttributesResponse{}
	case kmip14.OperationGetAttributeList:
		return &kmip.GetAttributeListResponse{}
	case kmip14.OperationActivate, kmip14.OperationDestroy, kmip14.OperationRevoke,
		kmip14.OperationArchive, kmip14.OperationRecover, kmip14.OperationGetUsageAllocation:
		return &kmip.IdentifierResponse{}
	case kmip14.OperationAddAttribute, kmip14.OperationModifyAttribute, kmip14.OperationDeleteAttribute:
		return &kmip.AddAttributeResponse{}
	case kmip14.OperationCheck:
		return &kmip.CheckResponse{}
	case kmip14.OperationObtainLease:
		return &kmip.ObtainLeaseResponse{}
	case kmip14.OperationCancel:
		return &kmip.CancelResponse{}
	case kmip14.OperationQuery:
		return &kmip.QueryResponse{}
	case kmip14.OperationDiscoverVersions:
		return &kmip.DiscoverVersionsResponse{}
	}
	return nil
}

func encoded(p kmip.Payload, v kmip.Version) []byte {
	return built(func(w *ttlv.Writer) { p.Encode(w, v) })
}

// FuzzParseRequest: what is parsed is written back as it was, payloads too.
func FuzzParseRequest(f *testing.F) {
	_, get := newGetServer(f)
	f.Add(get)
	f.Add(request(simpleHeader(4, 1), getItem))
	f.Add(request(header(protocol(1, 2), st(kmip14.TagAuthentication, password, password), in(kmip14.TagBatchCount, 1)), getItem))
	f.Add(request(simpleHeader(0, 1), batchItem(en(kmip14.TagOperation, 1), payload(symType, template))))
	f.Add(request(simpleHeader(0, 1), batchItem(en(kmip14.TagOperation, 3), payload(symType, template, symKey))))
	f.Add(request(simpleHeader(3, 1), batchItem(en(kmip14.TagOperation, 8), payload(in(kmip14.TagMaximumItems, 5), template))))
	f.Add(request(simpleHeader(1, 1), batchItem(en(kmip14.TagOperation, 0xd), payload(uid, contact1))))
	f.Add(request(simpleHeader(2, 1), batchItem(en(kmip14.TagOperation, 9), payload(uid, li(kmip14.TagUsageLimitsCount, 5), in(kmip14.TagCryptographicUsageMask, 12), iv(kmip14.TagLeaseTime, 0)))))
	f.Add(request(simpleHeader(1, 1), batchItem(en(kmip14.TagOperation, 0xf), payload(uid, tx(kmip14.TagAttributeName, "x-A"), in(kmip14.TagAttributeIndex, 0)))))
	f.Add(request(simpleHeader(1, 1), batchItem(en(kmip14.TagOperation, 0x11), payload(uid, li(kmip14.TagUsageLimitsCount, 5)))))
	f.Add(request(simpleHeader(1, 1), batchItem(en(kmip14.TagOperation, 0x1a), payload(bs(kmip14.TagAsynchronousCorrelationValue, "c")))))
	f.Add(request(simpleHeader(1, 1), batchItem(en(kmip14.TagOperation, 0x13), payload(st(kmip14.TagRevocationReason, en(kmip14.TagRevocationReasonCode, 1))))))
	f.Add(request(simpleHeader(1, 1), batchItem(en(kmip14.TagOperation, 0x1e), payload(protocol(1, 1)))))
	f.Fuzz(func(t *testing.T, b []byte) {
		if ttlv.Check(b, ttlv.Limits{}) != nil {
			var m kmip.RequestMessage
			_ = kmip.ParseRequest(b, &m) // may say anything, but not panic
			return
		}
		var m kmip.RequestMessage
		if err := kmip.ParseRequest(b, &m); err != nil {
			mustBeError(t, err)
			return
		}
		if back := m.Append(nil); !bytes.Equal(b, back) {
			t.Fatalf("written back\n%x, was\n%x", back, b)
		}
		for i := range m.Items {
			fuzzPayload(t, requestPayload(m.Items[i].Operation), m.Items[i].Payload, m.Header.Version, true)
		}
	})
}

func mustBeError(t *testing.T, err error) {
	t.Helper()
	if e, ok := err.(*kmip.Error); !ok || e.Reason == 0 || e.Message == "" {
		t.Fatalf("error %v (%T) says nothing to the peer", err, err)
	}
}

// fuzzPayload decodes and encodes. identity asks for the same bytes; without
// it, encoding again must change nothing any more.
func fuzzPayload(t *testing.T, p kmip.Payload, it ttlv.Item, v kmip.Version, identity bool) {
	t.Helper()
	if p == nil || it.IsZero() {
		return
	}
	if err := p.Decode(it, v); err != nil {
		mustBeError(t, err)
		return
	}
	first := encoded(p, v)
	if identity && !bytes.Equal(first, it.Value()) {
		t.Fatalf("%T written back\n%x, was\n%x", p, first, it.Value())
	}
	if err := p.Decode(parsed(t, payload(first)), v); err != nil {
		t.Fatalf("%T refuses what it wrote: %v", p, err)
	}
	if second := encoded(p, v); !bytes.Equal(first, second) {
		t.Fatalf("%T written twice\n%x\n%x", p, first, second)
	}
}

// FuzzParseResponse is FuzzParseRequest's mirror. A Query response leaves out
// what its version lacks, so payloads need only be stable.
func FuzzParseResponse(f *testing.F) {
	s, get := newGetServer(f)
	answer, err := s.serve(get)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(bytes.Clone(answer))
	f.Add(response(responseHeader(1, 1), batchItem(failed, en(kmip14.TagResultReason, 4), tx(kmip14.TagResultMessage, "no"))))
	f.Add(response(responseHeader(4, 1, tx(kmip14.TagServerCorrelationValue, "s")), batchItem(en(kmip14.TagOperation, 0x18), success,
		st(kmip14.TagResponsePayload, en(kmip14.TagOperation, 1), symType, st(kmip14.TagCapabilityInformation, bo(kmip14.TagStreamingCapability, true))))))
	f.Add(response(responseHeader(3, 1), batchItem(en(kmip14.TagOperation, 8), success, st(kmip14.TagResponsePayload, in(kmip14.TagLocatedItems, 1), uid))))
	f.Add(response(responseHeader(1, 1), batchItem(en(kmip14.TagOperation, 0xb), success, st(kmip14.TagResponsePayload, uid, state, contact1))))
	f.Add(response(responseHeader(1, 1), batchItem(en(kmip14.TagOperation, 0x10), success, st(kmip14.TagResponsePayload, uid, iv(kmip14.TagLeaseTime, 3600), da(kmip14.TagLastChangeDate, 6)))))
	f.Add(response(responseHeader(1, 1), batchItem(en(kmip14.TagOperation, 0x19), success, st(kmip14.TagResponsePayload, bs(kmip14.TagAsynchronousCorrelationValue, "c"), en(kmip14.TagCancellationResult, 5)))))
	f.Fuzz(func(t *testing.T, b []byte) {
		if ttlv.Check(b, ttlv.Limits{}) != nil {
			return
		}
		var m kmip.ResponseMessage
		if err := kmip.ParseResponse(b, &m); err != nil {
			mustBeError(t, err)
			return
		}
		if back := m.Append(nil); !bytes.Equal(b, back) {
			t.Fatalf("written back\n%x, was\n%x", back, b)
		}
		for i := range m.Items {
			fuzzPayload(t, responsePayload(m.Items[i].Operation), m.Items[i].Payload, m.Header.Version, false)
		}
	})
}

// FuzzAttribute: an Attribute is written back as it was, and one that is valid
// in a version is valid in each later one.
func FuzzAttribute(f *testing.F) {
	f.Add([]byte(state))
	f.Add([]byte(contact1))
	for _, a := range []kmip.Attribute{kmip.NameAttribute("n"), kmip.BooleanAttribute("Fresh", true), kmip.TextAttribute("y-a", "v")} {
		f.Add(built(a.Encode))
	}
	f.Add(built(func(w *ttlv.Writer) {
		kmip.WriteAttribute(w, "Cryptographic Parameters", 1, parsed(f, st(kmip14.TagAttributeValue, en(kmip14.TagPaddingMethod, 10), in(kmip14.TagSaltLength, 20))))
	}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if ttlv.Check(b, ttlv.Limits{}) != nil {
			return
		}
		it := parsed(t, b)
		var a kmip.Attribute
		if err := a.Decode(it, kmip.V1_4); err != nil {
			mustBeError(t, err)
			return
		}
		if back := built(a.Encode); it.Tag() == kmip14.TagAttribute && !bytes.Equal(back, b) {
			t.Fatalf("written back\n%x, was\n%x", back, b)
		}
		valid := false
		for minor := int32(0); minor <= 4; minor++ {
			_, err := a.Check(kmip.Version{Major: 1, Minor: minor})
			if err != nil {
				mustBeError(t, err)
			}
			if valid && err != nil {
				t.Fatalf("valid before 1.%d, but not in it: %v", minor, err)
			}
			valid = err == nil
		}
		var k kmip.KeyBlock
		_ = k.Decode(it, kmip.V1_4)
		_ = k.Bytes()
	})
}

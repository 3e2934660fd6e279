package kmip_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/gemalto/kmip-go/kmip14"
	ovh "github.com/ovh/kmip-go"
	ovhttlv "github.com/ovh/kmip-go/ttlv"
	"pgregory.net/rapid"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

func drawResponsePayload(t *rapid.T, v kmip.Version) (kmip14.Operation, kmip.Payload) {
	id := drawText(t, "uid")
	switch rapid.IntRange(0, 6).Draw(t, "operation") {
	case 0:
		return kmip14.OperationCreate, &kmip.CreateResponse{ObjectType: kmip14.ObjectTypeSymmetricKey, UniqueIdentifier: id}
	case 1:
		var w ttlv.Writer
		kmip.WriteSymmetricKey(&w, rapid.SliceOfN(rapid.Byte(), 1, 32).Draw(t, "key"), kmip14.CryptographicAlgorithmAES, 256)
		object, _ := ttlv.Parse(w.Bytes())
		return kmip14.OperationGet, &kmip.GetResponse{ObjectType: kmip14.ObjectTypeSymmetricKey, UniqueIdentifier: id, Object: object}
	case 2:
		return kmip14.OperationGetAttributes, &kmip.GetAttributesResponse{UniqueIdentifier: id, Attributes: drawAttributes(t)}
	case 3:
		return kmip14.OperationGetAttributeList, &kmip.GetAttributeListResponse{UniqueIdentifier: id, Names: [][]byte{[]byte("State"), []byte("Name")}}
	case 4:
		return kmip14.OperationDestroy, &kmip.DestroyResponse{UniqueIdentifier: id}
	case 5:
		l := &kmip.LocateResponse{UniqueIdentifiers: [][]byte{id, drawText(t, "second")}}
		if v.AtLeast(kmip.V1_3) {
			l.LocatedItems, l.HasLocatedItems = rapid.Int32Range(0, 99).Draw(t, "located"), true
		}
		return kmip14.OperationLocate, l
	}
	return kmip14.OperationDiscoverVersions, &kmip.DiscoverVersionsResponse{Versions: kmip.Versions()}
}

func drawResponse(t *rapid.T) []byte {
	v := drawVersion(t)
	h := kmip.ResponseHeader{Version: v, TimeStamp: rapid.Int64Range(0, 1<<34).Draw(t, "time stamp")}
	if v.AtLeast(kmip.V1_4) && rapid.Bool().Draw(t, "correlation") {
		h.ServerCorrelationValue = drawText(t, "server correlation")
	}
	var w kmip.ResponseWriter
	w.Begin(nil, &h)
	for i := range rapid.IntRange(1, 3).Draw(t, "items") {
		id := []byte{byte(i + 1)}
		op, p := drawResponsePayload(t, v)
		if rapid.Bool().Draw(t, "failed") {
			w.FailItem(op, id, kmip.NewError(kmip14.ResultReasonPermissionDenied, "%s", drawText(t, "message")))
			continue
		}
		p.Encode(w.BeginItem(op, id), v)
		w.EndItem()
	}
	return w.End()
}

// The mirror of TestRequestsAgreeWithOtherCodecs: what the server writes, a
// client that knows nothing of us reads and writes back byte for byte.
func TestResponsesAgreeWithOVH(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := drawResponse(t)
		if err := ttlv.Check(raw, ttlv.Limits{Depth: 8}); err != nil {
			t.Fatal(err)
		}
		var m kmip.ResponseMessage
		if err := kmip.ParseResponse(raw, &m); err != nil {
			t.Fatal(err)
		}
		if back := m.Append(nil); !bytes.Equal(back, raw) {
			t.Fatalf("written back\n%x, was\n%x", back, raw)
		}
		if err := ovhAgreesResponse(raw); err != nil {
			t.Fatalf("ovh: %v", err)
		}
	})
}

func ovhAgreesResponse(raw []byte) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	var m ovh.ResponseMessage
	if err := ovhttlv.UnmarshalTTLV(raw, &m); err != nil {
		return err
	}
	if back := ovhttlv.MarshalTTLV(&m); !bytes.Equal(back, raw) {
		return fmt.Errorf("written back\n%x, was\n%x", back, raw)
	}
	return nil
}

package kmip_test

import (
	"bytes"
	"fmt"
	"testing"

	gemalto "github.com/gemalto/kmip-go"
	"github.com/gemalto/kmip-go/kmip14"
	gemaltottlv "github.com/gemalto/kmip-go/ttlv"
	ovh "github.com/ovh/kmip-go"
	_ "github.com/ovh/kmip-go/payloads" // registers the payloads' types
	ovhttlv "github.com/ovh/kmip-go/ttlv"
	"pgregory.net/rapid"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// The generators draw requests as a client may send them. They stay shallow
// (six levels) and small: gemalto's decoder takes twice as long for each level.

func drawText(t *rapid.T, label string) []byte {
	return []byte(rapid.StringMatching(`[a-zA-Z0-9 é-]{1,20}`).Draw(t, label))
}

func drawVersion(t *rapid.T) kmip.Version {
	return rapid.SampledFrom(kmip.Versions()).Draw(t, "version")
}

func drawHeader(t *rapid.T, v kmip.Version) kmip.RequestHeader {
	maybe := func(label string) bool { return rapid.Bool().Draw(t, label) }
	h := kmip.RequestHeader{Version: v}
	if maybe("size") {
		h.MaximumResponseSize = rapid.Int32Range(1, 1<<30).Draw(t, "maximum response size")
	}
	if v.AtLeast(kmip.V1_4) && maybe("correlation") {
		h.ClientCorrelationValue = drawText(t, "client correlation")
	}
	if h.HasAsynchronous = maybe("asynchronous"); h.HasAsynchronous {
		h.Asynchronous = maybe("asynchronous indicator")
	}
	if v.AtLeast(kmip.V1_2) {
		if h.HasAttestationCapable = maybe("attestation"); h.HasAttestationCapable {
			h.AttestationCapable = maybe("attestation capable")
		}
		h.AttestationTypes = rapid.SliceOfN(rapid.SampledFrom([]kmip14.AttestationType{1, 2, 3}), 0, 2).Draw(t, "attestation types")
	}
	if maybe("authentication") {
		h.Credentials = []kmip.Credential{drawCredential(t, v)}
	}
	h.ErrorContinuation = rapid.SampledFrom([]kmip14.BatchErrorContinuationOption{0, 1, 2, 3}).Draw(t, "continuation")
	if h.HasBatchOrder = maybe("order"); h.HasBatchOrder {
		h.BatchOrder = maybe("batch order")
	}
	if h.HasTimeStamp = maybe("stamp"); h.HasTimeStamp {
		h.TimeStamp = rapid.Int64Range(0, 1<<34).Draw(t, "time stamp")
	}
	return h
}

func drawCredential(t *rapid.T, v kmip.Version) kmip.Credential {
	if v.AtLeast(kmip.V1_1) && rapid.Bool().Draw(t, "device") {
		return kmip.Credential{Type: kmip14.CredentialTypeDevice, DeviceSerialNumber: drawText(t, "serial"), Password: drawText(t, "password"), MediaIdentifier: drawText(t, "media")}
	}
	return kmip.Credential{Type: kmip14.CredentialTypeUsernameAndPassword, Username: drawText(t, "user"), Password: drawText(t, "password")}
}

func drawAttribute(t *rapid.T) kmip.Attribute {
	var a kmip.Attribute
	switch rapid.IntRange(0, 6).Draw(t, "attribute") {
	case 0:
		a = kmip.EnumerationAttribute("Cryptographic Algorithm", kmip14.CryptographicAlgorithmAES)
	case 1:
		a = kmip.IntegerAttribute("Cryptographic Length", rapid.Int32().Draw(t, "length"))
	case 2:
		a = kmip.NameAttribute(string(drawText(t, "name")))
	case 3:
		a = kmip.DateTimeAttribute("Activation Date", rapid.Int64Range(0, 1<<34).Draw(t, "date"))
	case 4:
		a = kmip.TextAttribute("x-"+string(drawText(t, "custom")), string(drawText(t, "value")))
	case 5:
		a = kmip.BytesAttribute("x-"+string(drawText(t, "custom")), rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "value"))
	default:
		a = kmip.TextAttribute("Object Group", string(drawText(t, "group")))
	}
	if a.HasIndex = rapid.Bool().Draw(t, "indexed"); a.HasIndex {
		a.Index = rapid.Int32Range(0, 9).Draw(t, "index")
	}
	return a
}

func drawAttributes(t *rapid.T) []kmip.Attribute {
	return rapid.SliceOfN(rapid.Custom(drawAttribute), 1, 4).Draw(t, "attributes")
}

func drawPayload(t *rapid.T, v kmip.Version) (kmip14.Operation, kmip.Payload) {
	id := drawText(t, "uid")
	switch rapid.IntRange(0, 9).Draw(t, "operation") {
	case 0:
		return kmip14.OperationCreate, &kmip.CreateRequest{ObjectType: kmip14.ObjectTypeSymmetricKey, Template: kmip.TemplateAttribute{Attributes: drawAttributes(t)}}
	case 1:
		var w ttlv.Writer
		kmip.WriteSymmetricKey(&w, rapid.SliceOfN(rapid.Byte(), 1, 32).Draw(t, "key"), kmip14.CryptographicAlgorithmAES, 256)
		object, _ := ttlv.Parse(w.Bytes())
		return kmip14.OperationRegister, &kmip.RegisterRequest{ObjectType: kmip14.ObjectTypeSymmetricKey, Template: kmip.TemplateAttribute{Attributes: drawAttributes(t)}, Object: object}
	case 2:
		return kmip14.OperationGet, &kmip.GetRequest{UniqueIdentifier: id, KeyFormatType: rapid.SampledFrom([]kmip14.KeyFormatType{0, 1, 7}).Draw(t, "format")}
	case 3:
		return kmip14.OperationGetAttributes, &kmip.GetAttributesRequest{UniqueIdentifier: id, Names: [][]byte{[]byte("State"), drawText(t, "name")}}
	case 4:
		return kmip14.OperationAddAttribute, &kmip.AddAttributeRequest{UniqueIdentifier: id, Attribute: drawAttribute(t)}
	case 5:
		return kmip14.OperationActivate, &kmip.ActivateRequest{UniqueIdentifier: id}
	case 6:
		return kmip14.OperationRevoke, &kmip.RevokeRequest{UniqueIdentifier: id, Reason: kmip.RevocationReason{Code: 2, Message: drawText(t, "message")}, CompromiseOccurrenceDate: 9, HasCompromiseOccurrenceDate: true}
	case 7:
		return kmip14.OperationDestroy, &kmip.DestroyRequest{UniqueIdentifier: id}
	case 8:
		l := &kmip.LocateRequest{MaximumItems: rapid.Int32Range(1, 99).Draw(t, "maximum"), HasMaximumItems: true, Attributes: drawAttributes(t)}
		if v.AtLeast(kmip.V1_3) {
			l.OffsetItems, l.HasOffsetItems = rapid.Int32Range(1, 99).Draw(t, "offset"), true
		}
		return kmip14.OperationLocate, l
	}
	return kmip14.OperationQuery, &kmip.QueryRequest{Functions: []kmip14.QueryFunction{1, 2, 3}}
}

func drawRequest(t *rapid.T) (raw []byte, payloads []kmip.Payload, h kmip.RequestHeader) {
	v := drawVersion(t)
	h = drawHeader(t, v)
	var w kmip.RequestWriter
	w.Begin(nil, &h)
	n := rapid.IntRange(1, 3).Draw(t, "items")
	for i := range n {
		op, p := drawPayload(t, v)
		var id []byte
		if n > 1 {
			id = []byte{byte(i + 1)}
		}
		p.Encode(w.BeginItem(op, id, nil), v)
		w.EndItem()
		payloads = append(payloads, p)
	}
	return w.End(), payloads, h
}

// What we write is what we read, what ovh's codec reads and writes back byte
// for byte, and what gemalto's reads the same values from.
func TestRequestsAgreeWithOtherCodecs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw, payloads, h := drawRequest(t)
		if err := ttlv.Check(raw, ttlv.Limits{Depth: 8}); err != nil {
			t.Fatal(err)
		}
		var m kmip.RequestMessage
		if err := kmip.ParseRequest(raw, &m); err != nil {
			t.Fatal(err)
		}
		if back := m.Append(nil); !bytes.Equal(back, raw) {
			t.Fatalf("written back\n%x, was\n%x", back, raw)
		}
		if len(m.Items) != len(payloads) {
			t.Fatalf("%d items, want %d", len(m.Items), len(payloads))
		}
		if err := ovhAgrees(raw); err != nil {
			t.Fatalf("ovh: %v", err)
		}
		if err := gemaltoAgrees(raw, &m, &h); err != nil {
			t.Fatalf("gemalto: %v", err)
		}
	})
}

// ovhAgrees has ovh's codec read the message into its own types and write it
// back. Its decoder may panic.
func ovhAgrees(raw []byte) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	var m ovh.RequestMessage
	if err := ovhttlv.UnmarshalTTLV(raw, &m); err != nil {
		return err
	}
	if back := ovhttlv.MarshalTTLV(&m); !bytes.Equal(back, raw) {
		return fmt.Errorf("written back\n%x, was\n%x", back, raw)
	}
	return nil
}

func gemaltoAgrees(raw []byte, m *kmip.RequestMessage, h *kmip.RequestHeader) error {
	var g gemalto.RequestMessage
	if err := gemaltottlv.Unmarshal(gemaltottlv.TTLV(raw), &g); err != nil {
		return err
	}
	gh := g.RequestHeader
	ours := fmt.Sprint(h.Version.Major, h.Version.Minor, h.MaximumResponseSize, string(h.ClientCorrelationValue), h.Asynchronous,
		h.AttestationCapable, len(h.AttestationTypes), h.ErrorContinuation, h.BatchOrder, len(m.Items), len(h.Credentials) > 0)
	theirs := fmt.Sprint(gh.ProtocolVersion.ProtocolVersionMajor, gh.ProtocolVersion.ProtocolVersionMinor, gh.MaximumResponseSize, gh.ClientCorrelationValue, gh.AsynchronousIndicator,
		gh.AttestationCapableIndicator, len(gh.AttestationType), gh.BatchErrorContinuationOption, gh.BatchOrderOption, gh.BatchCount, gh.Authentication != nil)
	if ours != theirs {
		return fmt.Errorf("header %s, ours %s", theirs, ours)
	}
	if h.HasTimeStamp != (gh.TimeStamp != nil) || h.HasTimeStamp && gh.TimeStamp.Unix() != h.TimeStamp {
		return fmt.Errorf("time stamp %v, ours %d", gh.TimeStamp, h.TimeStamp)
	}
	for i, it := range g.BatchItem {
		if it.Operation != m.Items[i].Operation || !bytes.Equal(it.UniqueBatchItemID, m.Items[i].ID) {
			return fmt.Errorf("item %d: %v %x, ours %v %x", i, it.Operation, it.UniqueBatchItemID, m.Items[i].Operation, m.Items[i].ID)
		}
		payload, _ := it.RequestPayload.(gemaltottlv.TTLV)
		if !bytes.Equal(payload, m.Items[i].Payload.Raw()) {
			return fmt.Errorf("item %d's payload is %x, ours %x", i, payload, m.Items[i].Payload.Raw())
		}
	}
	return nil
}

package kmip_test

import (
	"reflect"
	"testing"

	"github.com/gemalto/kmip-go/kmip14"
	"github.com/google/go-cmp/cmp"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

var (
	uid      = tx(kmip14.TagUniqueIdentifier, "u")
	state    = st(kmip14.TagAttribute, tx(kmip14.TagAttributeName, "State"), en(kmip14.TagAttributeValue, 2))
	contact1 = st(kmip14.TagAttribute, tx(kmip14.TagAttributeName, "x-A"), in(kmip14.TagAttributeIndex, 1), tx(kmip14.TagAttributeValue, "v"))
	template = st(kmip14.TagTemplateAttribute, state)
	symType  = en(kmip14.TagObjectType, 2)
	symKey   = st(kmip14.TagSymmetricKey, st(kmip14.TagKeyBlock, en(kmip14.TagKeyFormatType, 1)))
	stateA   = kmip.EnumerationAttribute("State", kmip14.StateActive)
)

func payload(fields ...item) item { return st(kmip14.TagRequestPayload, fields...) }

// Each payload with all of its fields, in the version where it has most.
func TestPayloadsRoundTrip(t *testing.T) {
	u := []byte("u")
	xA := kmip.TextAttribute("x-A", "v")
	xA.Index, xA.HasIndex = 1, true
	tmpl := kmip.TemplateAttribute{Attributes: []kmip.Attribute{stateA}, Present: true}
	mode := st(kmip14.TagCryptographicParameters, en(kmip14.TagBlockCipherMode, 0xd))
	for _, tc := range []struct {
		name string
		v    kmip.Version
		wire item
		want kmip.Payload
	}{
		{"activate request", kmip.V1_0, payload(uid), &kmip.ActivateRequest{UniqueIdentifier: u}},
		{"activate request, placeholder", kmip.V1_0, payload(), &kmip.ActivateRequest{}},
		{"destroy response", kmip.V1_0, payload(uid), &kmip.DestroyResponse{UniqueIdentifier: u}},
		{"revoke request", kmip.V1_0, payload(uid, st(kmip14.TagRevocationReason, en(kmip14.TagRevocationReasonCode, 2), tx(kmip14.TagRevocationMessage, "m")), da(kmip14.TagCompromiseOccurrenceDate, 6)),
			&kmip.RevokeRequest{UniqueIdentifier: u, Reason: kmip.RevocationReason{Code: 2, Message: []byte("m")}, CompromiseOccurrenceDate: 6, HasCompromiseOccurrenceDate: true}},
		{"revoke request, least", kmip.V1_0, payload(st(kmip14.TagRevocationReason, en(kmip14.TagRevocationReasonCode, 1))), &kmip.RevokeRequest{Reason: kmip.RevocationReason{Code: 1}}},
		{"discover versions request", kmip.V1_1, payload(protocol(1, 1), protocol(2, 1)), &kmip.DiscoverVersionsRequest{Versions: []kmip.Version{kmip.V1_1, {Major: 2, Minor: 1}}}},
		{"discover versions response", kmip.V1_1, payload(), &kmip.DiscoverVersionsResponse{}},
		{"create request", kmip.V1_0, payload(symType, template), &kmip.CreateRequest{ObjectType: 2, Template: tmpl}},
		{"create request, template name", kmip.V1_0, payload(symType, st(kmip14.TagTemplateAttribute, st(kmip14.TagName, tx(kmip14.TagNameValue, "T"), en(kmip14.TagNameType, 1)), contact1)),
			&kmip.CreateRequest{ObjectType: 2, Template: kmip.TemplateAttribute{Names: []kmip.Name{{Value: []byte("T"), Type: 1}}, Attributes: []kmip.Attribute{xA}, Present: true}}},
		{"create response", kmip.V1_0, payload(symType, uid, template), &kmip.CreateResponse{ObjectType: 2, UniqueIdentifier: u, Template: tmpl}},
		{"create response, least", kmip.V1_0, payload(symType, uid), &kmip.CreateResponse{ObjectType: 2, UniqueIdentifier: u}},
		{"register request", kmip.V1_0, payload(symType, template, symKey), &kmip.RegisterRequest{ObjectType: 2, Template: tmpl, Object: parsed(t, symKey)}},
		{"register response", kmip.V1_0, payload(uid, st(kmip14.TagTemplateAttribute)), &kmip.RegisterResponse{UniqueIdentifier: u, Template: kmip.TemplateAttribute{Present: true}}},
		{"re-key request", kmip.V1_0, payload(uid, iv(kmip14.TagOffset, 9), template), &kmip.ReKeyRequest{UniqueIdentifier: u, Offset: 9, HasOffset: true, Template: tmpl}},
		{"re-key request, Offset 0", kmip.V1_0, payload(iv(kmip14.TagOffset, 0)), &kmip.ReKeyRequest{HasOffset: true}},
		{"re-key request, least", kmip.V1_0, payload(), &kmip.ReKeyRequest{}},
		{"get request", kmip.V1_4, payload(uid, en(kmip14.TagKeyFormatType, 7), en(kmip14.TagKeyWrapType, 2), en(kmip14.TagKeyCompressionType, 1),
			st(kmip14.TagKeyWrappingSpecification, en(kmip14.TagWrappingMethod, 1), st(kmip14.TagEncryptionKeyInformation, uid, mode),
				st(kmip14.TagMACSignatureKeyInformation, uid), tx(kmip14.TagAttributeName, "State"), en(kmip14.TagEncodingOption, 1))),
			&kmip.GetRequest{UniqueIdentifier: u, KeyFormatType: 7, KeyWrapType: 2, KeyCompressionType: 1, HasWrapping: true, Wrapping: kmip.KeyWrappingSpecification{
				Method: 1, EncryptionKey: kmip.KeyInformation{UniqueIdentifier: u, Parameters: parsed(t, mode)}, MACKey: kmip.KeyInformation{UniqueIdentifier: u},
				AttributeNames: [][]byte{[]byte("State")}, EncodingOption: 1}}},
		{"get request, nothing", kmip.V1_0, payload(), &kmip.GetRequest{}},
		{"get response", kmip.V1_0, payload(symType, uid, symKey), &kmip.GetResponse{ObjectType: 2, UniqueIdentifier: u, Object: parsed(t, symKey)}},
		{"get attributes request", kmip.V1_0, payload(uid, tx(kmip14.TagAttributeName, "State"), tx(kmip14.TagAttributeName, "x-A")), &kmip.GetAttributesRequest{UniqueIdentifier: u, Names: [][]byte{[]byte("State"), []byte("x-A")}}},
		{"get attributes response", kmip.V1_0, payload(uid, state, contact1), &kmip.GetAttributesResponse{UniqueIdentifier: u, Attributes: []kmip.Attribute{stateA, xA}}},
		{"get attribute list response", kmip.V1_0, payload(uid, tx(kmip14.TagAttributeName, "State")), &kmip.GetAttributeListResponse{UniqueIdentifier: u, Names: [][]byte{[]byte("State")}}},
		{"add attribute request", kmip.V1_0, payload(uid, contact1), &kmip.AddAttributeRequest{UniqueIdentifier: u, Attribute: xA}},
		{"add attribute response", kmip.V1_0, payload(uid, contact1), &kmip.AddAttributeResponse{UniqueIdentifier: u, Attribute: xA}},
		{"modify attribute request", kmip.V1_0, payload(contact1), &kmip.ModifyAttributeRequest{Attribute: xA}},
		{"delete attribute request", kmip.V1_0, payload(uid, tx(kmip14.TagAttributeName, "x-A"), in(kmip14.TagAttributeIndex, 0)), &kmip.DeleteAttributeRequest{UniqueIdentifier: u, Name: []byte("x-A"), HasIndex: true}},
		{"delete attribute request, least", kmip.V1_0, payload(tx(kmip14.TagAttributeName, "x-A")), &kmip.DeleteAttributeRequest{Name: []byte("x-A")}},
		{"check request", kmip.V1_0, payload(uid, li(kmip14.TagUsageLimitsCount, 1<<40), in(kmip14.TagCryptographicUsageMask, 12), iv(kmip14.TagLeaseTime, 0)),
			&kmip.CheckRequest{UniqueIdentifier: u, UsageLimitsCount: 1 << 40, HasUsageLimitsCount: true, CryptographicUsageMask: 12, HasCryptographicUsageMask: true, HasLeaseTime: true}},
		{"check request, nothing", kmip.V1_0, payload(), &kmip.CheckRequest{}},
		{"obtain lease response", kmip.V1_0, payload(uid, iv(kmip14.TagLeaseTime, 3600), da(kmip14.TagLastChangeDate, 6)), &kmip.ObtainLeaseResponse{UniqueIdentifier: u, LeaseTime: 3600, LastChangeDate: 6}},
		{"get usage allocation request", kmip.V1_0, payload(uid, li(kmip14.TagUsageLimitsCount, 500)), &kmip.GetUsageAllocationRequest{UniqueIdentifier: u, UsageLimitsCount: 500}},
		{"poll request", kmip.V1_0, payload(bs(kmip14.TagAsynchronousCorrelationValue, "abc")), &kmip.PollRequest{AsynchronousCorrelationValue: []byte("abc")}},
		{"cancel response", kmip.V1_0, payload(bs(kmip14.TagAsynchronousCorrelationValue, "abc"), en(kmip14.TagCancellationResult, 5)),
			&kmip.CancelResponse{AsynchronousCorrelationValue: []byte("abc"), Result: kmip14.CancellationResultUnavailable}},
		{"locate request", kmip.V1_3, payload(in(kmip14.TagMaximumItems, 5), in(kmip14.TagOffsetItems, 2), in(kmip14.TagStorageStatusMask, 3), en(kmip14.TagObjectGroupMember, 2), state, contact1),
			&kmip.LocateRequest{MaximumItems: 5, HasMaximumItems: true, OffsetItems: 2, HasOffsetItems: true, StorageStatusMask: 3, HasStorageStatusMask: true, ObjectGroupMember: 2, Attributes: []kmip.Attribute{stateA, xA}}},
		{"locate request, FortiGate's", kmip.V1_0, payload(template), &kmip.LocateRequest{Template: tmpl}},
		{"locate request, at most 0", kmip.V1_0, payload(in(kmip14.TagMaximumItems, 0)), &kmip.LocateRequest{HasMaximumItems: true}},
		{"locate response", kmip.V1_3, payload(in(kmip14.TagLocatedItems, 0), uid, uid), &kmip.LocateResponse{HasLocatedItems: true, UniqueIdentifiers: [][]byte{u, u}}},
		{"query request", kmip.V1_3, payload(en(kmip14.TagQueryFunction, 1), en(kmip14.TagQueryFunction, 12)), &kmip.QueryRequest{Functions: []kmip14.QueryFunction{1, 12}}},
	} {
		t.Run(tc.name, func(t *testing.T) { roundTrip(t, tc.v, tc.wire, tc.want) })
	}
}

func roundTrip(t *testing.T, v kmip.Version, wire item, want kmip.Payload) {
	t.Helper()
	got := reflect.New(reflect.TypeOf(want).Elem()).Interface().(kmip.Payload)
	if err := got.Decode(parsed(t, wire), v); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, sameValue); diff != "" {
		t.Errorf("decoded (-want +got):\n%s", diff)
	}
	back := built(func(w *ttlv.Writer) { m := w.Begin(kmip14.TagRequestPayload); want.Encode(w, v); w.End(m) })
	if diff := cmp.Diff(wire, back); diff != "" {
		t.Errorf("encoded (-want +got):\n%s", diff)
	}
	// Decoding something else into it leaves nothing behind.
	zero := reflect.New(reflect.TypeOf(want).Elem()).Interface().(kmip.Payload)
	if zero.Decode(parsed(t, payload()), v) == nil {
		if err := got.Decode(parsed(t, payload()), v); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(zero, got, sameValue); diff != "" {
			t.Errorf("decoded again (-want +got):\n%s", diff)
		}
	}
}

func TestQueryResponse(t *testing.T) {
	rng := kmip.RNGParameters{Algorithm: 3, CryptographicAlgorithm: 3, CryptographicLength: 256, HashingAlgorithm: 6, DRBGAlgorithm: 5, RecommendedCurve: 1, FIPS186Variation: 1, HasPredictionResistance: true}
	info := st(kmip14.TagServerInformation, tx(0x540001, "x"))
	validation := st(kmip14.TagValidationInformation, en(kmip14.TagValidationAuthorityType, 1))
	full := &kmip.QueryResponse{
		Operations:            []kmip14.Operation{kmip14.OperationGet, kmip14.OperationDiscoverVersions, kmip14.OperationEncrypt, kmip14.OperationImport},
		ObjectTypes:           []kmip14.ObjectType{kmip14.ObjectTypeSymmetricKey, kmip14.ObjectTypePGPKey},
		VendorIdentification:  []byte("vendor"),
		ServerInformation:     parsed(t, info),
		ApplicationNamespaces: [][]byte{[]byte("ns")},
		Extensions:            []kmip.ExtensionInformation{{Name: []byte("e"), Tag: 0x54AA01, Type: 7}, {Name: []byte("f")}},
		AttestationTypes:      []kmip14.AttestationType{1},
		RNGs:                  []kmip.RNGParameters{rng},
		Profiles:              []kmip.ProfileInformation{{Name: kmip14.ProfileName(1), ServerURI: []byte("u"), ServerPort: 5696}},
		Validations:           []ttlv.Item{parsed(t, validation)},
		Capabilities: []kmip.CapabilityInformation{{Streaming: kmip.No, Asynchronous: kmip.Yes, BatchUndo: kmip.Indicate(true), BatchContinue: kmip.Indicate(false),
			UnwrapMode: 1, DestroyAction: 2, ShreddingAlgorithm: 3, RNGMode: 1}},
		RegistrationMethods: []kmip14.ClientRegistrationMethod{1},
	}
	for _, tc := range []struct {
		v    kmip.Version
		drop func(q *kmip.QueryResponse)
	}{
		{kmip.V1_4, func(*kmip.QueryResponse) {}},
		{kmip.V1_3, func(q *kmip.QueryResponse) {
			q.Operations = q.Operations[:3]
			q.Capabilities = []kmip.CapabilityInformation{full.Capabilities[0]}
			q.Capabilities[0].BatchUndo, q.Capabilities[0].BatchContinue = kmip.NotSent, kmip.NotSent
		}},
		{kmip.V1_2, func(q *kmip.QueryResponse) {
			q.Operations = q.Operations[:3]
			q.RNGs, q.Profiles, q.Validations, q.Capabilities, q.RegistrationMethods = nil, nil, nil, nil, nil
		}},
		{kmip.V1_1, func(q *kmip.QueryResponse) {
			*q = kmip.QueryResponse{Operations: q.Operations[:2], ObjectTypes: q.ObjectTypes[:1], VendorIdentification: q.VendorIdentification,
				ServerInformation: q.ServerInformation, ApplicationNamespaces: q.ApplicationNamespaces, Extensions: q.Extensions}
		}},
		{kmip.V1_0, func(q *kmip.QueryResponse) {
			*q = kmip.QueryResponse{Operations: q.Operations[:1], ObjectTypes: q.ObjectTypes[:1], VendorIdentification: q.VendorIdentification,
				ServerInformation: q.ServerInformation, ApplicationNamespaces: q.ApplicationNamespaces}
		}},
	} {
		t.Run(tc.v.String(), func(t *testing.T) {
			want := *full
			tc.drop(&want)
			wire := built(func(w *ttlv.Writer) { m := w.Begin(kmip14.TagRequestPayload); full.Encode(w, tc.v); w.End(m) })
			roundTrip(t, tc.v, wire, &want)
		})
	}
}

// A payload written for an old version has nothing in it that is newer.
func TestPayloadsLeaveOutWhatTheVersionLacks(t *testing.T) {
	for _, tc := range []struct {
		name string
		v    kmip.Version
		in   kmip.Payload
		want item
	}{
		{"located items", kmip.V1_2, &kmip.LocateResponse{LocatedItems: 9, HasLocatedItems: true, UniqueIdentifiers: [][]byte{[]byte("u")}}, payload(uid)},
		{"offset items", kmip.V1_2, &kmip.LocateRequest{OffsetItems: 9, HasOffsetItems: true, ObjectGroupMember: 1}, payload(en(kmip14.TagObjectGroupMember, 1))},
		{"object group member", kmip.V1_0, &kmip.LocateRequest{ObjectGroupMember: 1}, payload()},
		{"key wrap type", kmip.V1_3, &kmip.GetRequest{KeyWrapType: 1}, payload()},
		{"encoding option", kmip.V1_0, &kmip.GetRequest{HasWrapping: true, Wrapping: kmip.KeyWrappingSpecification{Method: 1, EncodingOption: 1}},
			payload(st(kmip14.TagKeyWrappingSpecification, en(kmip14.TagWrappingMethod, 1)))},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := built(func(w *ttlv.Writer) { m := w.Begin(kmip14.TagRequestPayload); tc.in.Encode(w, tc.v); w.End(m) })
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestPayloadsRefuse(t *testing.T) {
	attr := func(kids ...item) item { return st(kmip14.TagAttribute, kids...) }
	name := tx(kmip14.TagAttributeName, "State")
	for _, tc := range []struct {
		name   string
		v      kmip.Version
		in     item
		into   kmip.Payload
		reason kmip14.ResultReason
		text   string
	}{
		{"identifier twice", kmip.V1_0, payload(uid, uid), &kmip.ActivateRequest{}, invalidMessage, "repeated"},
		{"identifier of bytes", kmip.V1_0, payload(bs(kmip14.TagUniqueIdentifier, "u")), &kmip.ActivateRequest{}, invalidMessage, "Text String is expected"},
		{"unknown field", kmip.V1_0, payload(uid, state), &kmip.ActivateRequest{}, invalidField, "Attribute is no field of this structure in KMIP 1.0"},
		{"response without identifier", kmip.V1_0, payload(), &kmip.ActivateResponse{}, missingData, "UniqueIdentifier is missing"},
		{"revoke without reason", kmip.V1_0, payload(uid), &kmip.RevokeRequest{}, missingData, "RevocationReason is missing"},
		{"revoke for no reason", kmip.V1_0, payload(uid, st(kmip14.TagRevocationReason)), &kmip.RevokeRequest{}, missingData, "RevocationReasonCode is missing"},
		{"revoke for reason 8", kmip.V1_0, payload(uid, st(kmip14.TagRevocationReason, en(kmip14.TagRevocationReasonCode, 8))), &kmip.RevokeRequest{}, invalidField, "0x00000008 is no value"},
		{"date before reason", kmip.V1_0, payload(uid, da(kmip14.TagCompromiseOccurrenceDate, 1), st(kmip14.TagRevocationReason)), &kmip.RevokeRequest{}, invalidMessage, "RevocationReason is out of order"},
		{"create without template", kmip.V1_0, payload(symType), &kmip.CreateRequest{}, missingData, "TemplateAttribute is missing"},
		{"create without type", kmip.V1_0, payload(template), &kmip.CreateRequest{}, missingData, "ObjectType is missing"},
		{"create the other way round", kmip.V1_0, payload(template, symType), &kmip.CreateRequest{}, invalidMessage, "ObjectType is out of order"},
		{"create PGP key in 1.1", kmip.V1_1, payload(en(kmip14.TagObjectType, 9), template), &kmip.CreateRequest{}, invalidField, "Object Type 9 does not exist in KMIP 1.1"},
		{"create type 10", kmip.V1_4, payload(en(kmip14.TagObjectType, 10), template), &kmip.CreateRequest{}, invalidField, "no value"},
		{"create type 0", kmip.V1_4, payload(en(kmip14.TagObjectType, 0), template), &kmip.CreateRequest{}, invalidField, "no value"},
		{"template's name after attribute", kmip.V1_0, payload(symType, st(kmip14.TagTemplateAttribute, state, st(kmip14.TagName))), &kmip.CreateRequest{}, invalidMessage, "Name is repeated or out of order"},
		{"template's name of text", kmip.V1_0, payload(symType, st(kmip14.TagTemplateAttribute, tx(kmip14.TagName, "x"))), &kmip.CreateRequest{}, invalidMessage, "Structure is expected"},
		{"attribute without name", kmip.V1_0, payload(uid, attr(en(kmip14.TagAttributeValue, 1))), &kmip.AddAttributeRequest{}, missingData, "AttributeName is missing"},
		{"attribute without value", kmip.V1_0, payload(uid, attr(name)), &kmip.AddAttributeRequest{}, missingData, "AttributeValue is missing"},
		{"attribute with two values", kmip.V1_0, payload(uid, attr(name, en(kmip14.TagAttributeValue, 1), en(kmip14.TagAttributeValue, 1))), &kmip.AddAttributeRequest{}, invalidMessage, "repeated"},
		{"attribute index below 0", kmip.V1_0, payload(uid, attr(name, in(kmip14.TagAttributeIndex, -1), en(kmip14.TagAttributeValue, 1))), &kmip.AddAttributeRequest{}, invalidField, "Attribute Index of -1"},
		{"attribute index last", kmip.V1_0, payload(uid, attr(name, en(kmip14.TagAttributeValue, 1), in(kmip14.TagAttributeIndex, 1))), &kmip.AddAttributeRequest{}, invalidMessage, "out of order"},
		{"add no attribute", kmip.V1_0, payload(uid), &kmip.AddAttributeRequest{}, missingData, "Attribute is missing"},
		{"add two attributes", kmip.V1_0, payload(uid, state, state), &kmip.AddAttributeRequest{}, invalidMessage, "repeated"},
		{"register another type", kmip.V1_0, payload(en(kmip14.TagObjectType, 7), template, symKey), &kmip.RegisterRequest{}, missingData, "SecretData is missing"},
		{"register nothing", kmip.V1_0, payload(symType, template), &kmip.RegisterRequest{}, missingData, "SymmetricKey is missing"},
		{"an Offset that is a number", kmip.V1_4, payload(uid, in(kmip14.TagOffset, 9)), &kmip.ReKeyRequest{}, invalidMessage, "Offset is a Integer"},
		{"key wrap type in 1.3", kmip.V1_3, payload(uid, en(kmip14.TagKeyWrapType, 1)), &kmip.GetRequest{}, invalidField, "KeyWrapType is no field"},
		{"key format 0x17", kmip.V1_4, payload(uid, en(kmip14.TagKeyFormatType, 0x17)), &kmip.GetRequest{}, invalidField, "no value of"},
		{"wrapping without method", kmip.V1_4, payload(uid, st(kmip14.TagKeyWrappingSpecification)), &kmip.GetRequest{}, missingData, "WrappingMethod is missing"},
		{"wrapping key without id", kmip.V1_4, payload(uid, st(kmip14.TagKeyWrappingSpecification, en(kmip14.TagWrappingMethod, 1), st(kmip14.TagEncryptionKeyInformation))), &kmip.GetRequest{}, missingData, "UniqueIdentifier is missing"},
		{"encoding option in 1.0", kmip.V1_0, payload(uid, st(kmip14.TagKeyWrappingSpecification, en(kmip14.TagWrappingMethod, 1), en(kmip14.TagEncodingOption, 1))), &kmip.GetRequest{}, invalidField, "EncodingOption is no field"},
		{"offset in 1.2", kmip.V1_2, payload(in(kmip14.TagOffsetItems, 1)), &kmip.LocateRequest{}, invalidField, "OffsetItems is no field"},
		{"group member in 1.0", kmip.V1_0, payload(en(kmip14.TagObjectGroupMember, 1)), &kmip.LocateRequest{}, invalidField, "ObjectGroupMember is no field"},
		{"maximum below 0", kmip.V1_0, payload(in(kmip14.TagMaximumItems, -1)), &kmip.LocateRequest{}, invalidField, "MaximumItems is -1"},
		{"query nothing", kmip.V1_0, payload(), &kmip.QueryRequest{}, missingData, "QueryFunction is missing"},
		{"query extensions in 1.0", kmip.V1_0, payload(en(kmip14.TagQueryFunction, 5)), &kmip.QueryRequest{}, invalidField, "0x5 does not exist in KMIP 1.0"},
		{"query function 13", kmip.V1_4, payload(en(kmip14.TagQueryFunction, 13)), &kmip.QueryRequest{}, invalidField, "0xD does not exist"},
		{"extension tag 0", kmip.V1_4, payload(st(kmip14.TagExtensionInformation, tx(kmip14.TagExtensionName, "e"), in(kmip14.TagExtensionTag, 0))), &kmip.QueryResponse{}, invalidField, "ExtensionTag is 0"},
		{"discover half a version", kmip.V1_1, payload(st(kmip14.TagProtocolVersion)), &kmip.DiscoverVersionsRequest{}, missingData, "Major is missing"},
		{"no payload at all", kmip.V1_1, tx(kmip14.TagRequestPayload, ""), &kmip.GetRequest{}, invalidMessage, "Structure is expected"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			wantError(t, tc.into.Decode(parsed(t, tc.in), tc.v), tc.reason, tc.text)
		})
	}
}

// A Get Usage Allocation without a count is an Invalid Message and no Missing
// Data (section 11.19).
func TestUsageAllocationWithoutCount(t *testing.T) {
	var p kmip.GetUsageAllocationRequest
	wantError(t, p.Decode(parsed(t, payload(uid)), kmip.V1_0), invalidMessage, "missing")
}

// A failed Check answers with what its use was denied for, beside the reason
// (section 4.10).
func TestFailedItemWithAPayload(t *testing.T) {
	denial := kmip.NewError(kmip14.ResultReasonPermissionDenied, "no")
	denial.Payload = &kmip.CheckResponse{UsageLimitsCount: 7, HasUsageLimitsCount: true}
	var w kmip.ResponseWriter
	w.Begin(nil, &kmip.ResponseHeader{Version: kmip.V1_0})
	w.FailItem(kmip14.OperationCheck, nil, denial)
	out := w.End()
	parsed(t, out)
	var m kmip.ResponseMessage
	if err := kmip.ParseResponse(out, &m); err != nil {
		t.Fatal(err)
	}
	var got kmip.CheckResponse
	if err := got.Decode(m.Items[0].Payload, kmip.V1_0); err != nil {
		t.Fatal(err)
	}
	if it := m.Items[0]; it.Status != kmip14.ResultStatusOperationFailed || it.Reason != kmip14.ResultReasonPermissionDenied || got.UsageLimitsCount != 7 || got.UniqueIdentifier != nil {
		t.Errorf("got %+v with %+v", it, got)
	}
}

package kmip_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/gemalto/kmip-go/kmip14"
	"github.com/google/go-cmp/cmp"

	"github.com/keyreeve/keyreeve/kmip"
)

func header(fields ...item) item { return st(kmip14.TagRequestHeader, fields...) }

func batchItem(fields ...item) item { return st(kmip14.TagBatchItem, fields...) }

func request(h item, items ...item) item {
	return st(kmip14.TagRequestMessage, append([]item{h}, items...)...)
}

func simpleHeader(minor, count int32) item {
	return header(protocol(1, minor), in(kmip14.TagBatchCount, count))
}

var (
	opGet    = en(kmip14.TagOperation, uint32(kmip14.OperationGet))
	empty    = st(kmip14.TagRequestPayload)
	getItem  = batchItem(opGet, empty)
	password = st(kmip14.TagCredential, en(kmip14.TagCredentialType, 1),
		st(kmip14.TagCredentialValue, tx(kmip14.TagUsername, "Fred"), tx(kmip14.TagPassword, "password1")))
)

func TestParseRequestReadsAllOfTheHeader(t *testing.T) {
	raw := request(header(
		protocol(1, 4),
		in(kmip14.TagMaximumResponseSize, 2048),
		tx(kmip14.TagClientCorrelationValue, "client"),
		tx(kmip14.TagServerCorrelationValue, "server"),
		bo(kmip14.TagAsynchronousIndicator, false),
		bo(kmip14.TagAttestationCapableIndicator, true),
		en(kmip14.TagAttestationType, 1), en(kmip14.TagAttestationType, 3),
		st(kmip14.TagAuthentication, password,
			st(kmip14.TagCredential, en(kmip14.TagCredentialType, 2), st(kmip14.TagCredentialValue,
				tx(kmip14.TagDeviceSerialNumber, "serial"), tx(kmip14.TagPassword, "secret"), tx(kmip14.TagDeviceIdentifier, "device"),
				tx(kmip14.TagNetworkIdentifier, "network"), tx(kmip14.TagMachineIdentifier, "machine"), tx(kmip14.TagMediaIdentifier, "media"))),
			st(kmip14.TagCredential, en(kmip14.TagCredentialType, 3), st(kmip14.TagCredentialValue,
				st(kmip14.TagNonce, bs(kmip14.TagNonceID, "id"), bs(kmip14.TagNonceValue, "nonce")),
				en(kmip14.TagAttestationType, 2), bs(kmip14.TagAttestationMeasurement, "m"), bs(kmip14.TagAttestationAssertion, "a")))),
		en(kmip14.TagBatchErrorContinuationOption, 3),
		bo(kmip14.TagBatchOrderOption, true),
		da(kmip14.TagTimeStamp, 1763945714),
		in(kmip14.TagBatchCount, 2)),
		batchItem(opGet, bs(kmip14.TagUniqueBatchItemID, "one"), empty,
			st(kmip14.TagMessageExtension, tx(kmip14.TagVendorIdentification, "Acme"), bo(kmip14.TagCriticalityIndicator, true),
				st(kmip14.TagVendorExtension, tx(0x540001, "na")))),
		batchItem(en(kmip14.TagOperation, 0x7000), bs(kmip14.TagUniqueBatchItemID, ""), empty),
	)
	var got kmip.RequestMessage
	if err := kmip.ParseRequest(parsed(t, raw).Raw(), &got); err != nil {
		t.Fatal(err)
	}
	want := kmip.RequestMessage{
		Header: kmip.RequestHeader{
			Version: kmip.V1_4, MaximumResponseSize: 2048,
			ClientCorrelationValue: []byte("client"), ServerCorrelationValue: []byte("server"),
			HasAsynchronous: true, AttestationCapable: true, HasAttestationCapable: true,
			AttestationTypes: []kmip14.AttestationType{kmip14.AttestationTypeTPMQuote, kmip14.AttestationTypeSAMLAssertion},
			Credentials: []kmip.Credential{
				{Type: kmip14.CredentialTypeUsernameAndPassword, Username: []byte("Fred"), Password: []byte("password1")},
				{Type: kmip14.CredentialTypeDevice, Password: []byte("secret"), DeviceSerialNumber: []byte("serial"), DeviceIdentifier: []byte("device"),
					NetworkIdentifier: []byte("network"), MachineIdentifier: []byte("machine"), MediaIdentifier: []byte("media")},
				{Type: kmip14.CredentialTypeAttestation, Attestation: kmip.Attestation{NonceID: []byte("id"), NonceValue: []byte("nonce"),
					Type: kmip14.AttestationTypeTCGIntegrityReport, Measurement: []byte("m"), Assertion: []byte("a")}},
			},
			ErrorContinuation: kmip14.BatchErrorContinuationOptionUndo, BatchOrder: true, HasBatchOrder: true,
			TimeStamp: 1763945714, HasTimeStamp: true, BatchCount: 2,
		},
		Items: []kmip.RequestItem{
			{Operation: kmip14.OperationGet, ID: []byte("one"), Payload: parsed(t, empty), Extension: kmip.MessageExtension{
				VendorIdentification: []byte("Acme"), Critical: true, VendorExtension: parsed(t, st(kmip14.TagVendorExtension, tx(0x540001, "na")))}},
			{Operation: 0x7000, ID: []byte{}, Payload: parsed(t, empty)},
		},
	}
	if diff := cmp.Diff(want, got, sameValue); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got.Items[1].ID == nil {
		t.Error("an empty Unique Batch Item ID was taken for none")
	}
	if diff := cmp.Diff(raw, got.Append(nil)); diff != "" {
		t.Errorf("written back (-want +got):\n%s", diff)
	}
}

func TestParseRequestRefuses(t *testing.T) {
	one := func(h ...item) item { return request(header(h...), getItem) }
	count := in(kmip14.TagBatchCount, 1)
	v := func(minor int32) item { return protocol(1, minor) }
	auth := func(kids ...item) item { return st(kmip14.TagAuthentication, kids...) }
	id := bs(kmip14.TagUniqueBatchItemID, "1")
	for _, tc := range []struct {
		name   string
		in     item
		reason kmip14.ResultReason
		text   string
	}{
		{"a response", st(kmip14.TagResponseMessage), invalidMessage, "not a Request Message"},
		{"no structure", tx(kmip14.TagRequestMessage, "x"), invalidMessage, "no Request Header"},
		{"no header", st(kmip14.TagRequestMessage, getItem), invalidMessage, "no Request Header"},
		{"header after item", st(kmip14.TagRequestMessage, getItem, simpleHeader(1, 1)), invalidMessage, "no Request Header"},
		{"two headers", st(kmip14.TagRequestMessage, simpleHeader(1, 1), simpleHeader(1, 1), getItem), invalidMessage, "repeated"},
		{"no version", one(count), invalidMessage, "ProtocolVersion is missing"},
		{"version not first", one(count, v(1)), invalidMessage, "ProtocolVersion is out of order"},
		{"version without minor", one(st(kmip14.TagProtocolVersion, in(kmip14.TagProtocolVersionMajor, 1)), count), invalidMessage, "Minor is missing"},
		{"version of text", one(st(kmip14.TagProtocolVersion, tx(kmip14.TagProtocolVersionMajor, "1"), in(kmip14.TagProtocolVersionMinor, 1)), count), invalidMessage, "Text String"},
		{"no count", one(v(1)), invalidMessage, "BatchCount is missing"},
		{"count 0", request(simpleHeader(1, 0)), invalidMessage, "Batch Count of 0"},
		{"count below 0", request(simpleHeader(1, -1), getItem), invalidMessage, "Batch Count of -1"},
		{"count too large", request(simpleHeader(1, 2), batchItem(opGet, id, empty)), invalidMessage, "1 batch items"},
		{"count too small", request(simpleHeader(1, 1), getItem, getItem), invalidMessage, "more batch items"},
		{"count largest", request(simpleHeader(1, 1<<31-1), batchItem(opGet, id, empty)), invalidMessage, "1 batch items"},
		{"duplicate in header", one(v(1), in(kmip14.TagMaximumResponseSize, 1), in(kmip14.TagMaximumResponseSize, 1), count), invalidMessage, "repeated"},
		{"order in header", one(v(1), bo(kmip14.TagBatchOrderOption, true), in(kmip14.TagMaximumResponseSize, 512), count), invalidMessage, "out of order"},
		{"field after count", one(v(1), count, da(kmip14.TagTimeStamp, 1)), invalidMessage, "repeated or out of order"},
		{"unknown in header", one(v(1), count, tx(kmip14.TagName, "x")), invalidField, "Name is no field"},
		{"extension in header", one(v(1), count, tx(0x540001, "x")), invalidField, "is no field"},
		{"correlation before 1.4", one(v(3), tx(kmip14.TagClientCorrelationValue, "x"), count), invalidField, "ClientCorrelationValue is no field of this structure in KMIP 1.3"},
		{"attestation before 1.2", one(v(1), bo(kmip14.TagAttestationCapableIndicator, true), count), invalidField, "AttestationCapableIndicator is no field of this structure in KMIP 1.1"},
		{"unknown before what must be there", one(v(1), tx(kmip14.TagName, "x"), count), invalidMessage, "BatchCount is out of order"},
		{"size 0", one(v(1), in(kmip14.TagMaximumResponseSize, 0), count), invalidField, "MaximumResponseSize is 0"},
		{"size below 0", one(v(1), in(kmip14.TagMaximumResponseSize, -5), count), invalidField, "MaximumResponseSize is -5"},
		{"size of text", one(v(1), tx(kmip14.TagMaximumResponseSize, "1"), count), invalidMessage, "where a Integer is expected"},
		{"continuation 0", one(v(1), en(kmip14.TagBatchErrorContinuationOption, 0), count), invalidField, "no value of"},
		{"continuation 4", one(v(1), en(kmip14.TagBatchErrorContinuationOption, 4), count), invalidField, "no value of"},
		{"no credential", one(v(1), auth(), count), invalidMessage, "Credential is missing"},
		{"two credentials in 1.1", one(v(1), auth(password, password), count), invalidMessage, "repeated"},
		{"nine credentials", one(v(2), auth(password, password, password, password, password, password, password, password, password), count), invalidMessage, "more than 8 credentials"},
		{"device in 1.0", one(v(0), auth(st(kmip14.TagCredential, en(kmip14.TagCredentialType, 2), st(kmip14.TagCredentialValue))), count), invalidField, "Credential Type 2 does not exist in KMIP 1.0"},
		{"attestation credential in 1.1", one(v(1), auth(st(kmip14.TagCredential, en(kmip14.TagCredentialType, 3), st(kmip14.TagCredentialValue))), count), invalidField, "does not exist in KMIP 1.1"},
		{"credential of unknown type", one(v(1), auth(st(kmip14.TagCredential, en(kmip14.TagCredentialType, 9), st(kmip14.TagCredentialValue))), count), invalidField, "no value of"},
		{"no user name", one(v(1), auth(st(kmip14.TagCredential, en(kmip14.TagCredentialType, 1), st(kmip14.TagCredentialValue, tx(kmip14.TagPassword, "hunter2")))), count), invalidMessage, "Username is missing"},
		{"password twice", one(v(1), auth(st(kmip14.TagCredential, en(kmip14.TagCredentialType, 1), st(kmip14.TagCredentialValue, tx(kmip14.TagUsername, "u"), tx(kmip14.TagPassword, "a"), tx(kmip14.TagPassword, "b")))), count), invalidMessage, "Password is repeated"},
		{"nonce without value", one(v(2), auth(st(kmip14.TagCredential, en(kmip14.TagCredentialType, 3), st(kmip14.TagCredentialValue, st(kmip14.TagNonce, bs(kmip14.TagNonceID, "i")), en(kmip14.TagAttestationType, 1)))), count), invalidMessage, "NonceValue is missing"},
		{"item without operation", request(simpleHeader(1, 1), batchItem(empty)), invalidMessage, "Operation is missing"},
		{"operation of text", request(simpleHeader(1, 1), batchItem(tx(kmip14.TagOperation, "Get"), empty)), invalidMessage, "Enumeration is expected"},
		{"operation 0", request(simpleHeader(1, 1), batchItem(en(kmip14.TagOperation, 0), empty)), invalidMessage, "Operation that is none"},
		{"item without payload", request(simpleHeader(1, 1), batchItem(opGet)), invalidMessage, "RequestPayload is missing"},
		{"payload of text", request(simpleHeader(1, 1), batchItem(opGet, tx(kmip14.TagRequestPayload, ""))), invalidMessage, "Structure is expected"},
		{"payload before operation", request(simpleHeader(1, 1), batchItem(empty, opGet)), invalidMessage, "Operation is out of order"},
		{"two payloads", request(simpleHeader(1, 1), batchItem(opGet, empty, empty)), invalidMessage, "repeated"},
		{"item of text", request(simpleHeader(1, 1), tx(kmip14.TagBatchItem, "x")), invalidMessage, "Structure is expected"},
		{"unknown in item", request(simpleHeader(1, 1), batchItem(opGet, empty, tx(kmip14.TagName, "x"))), invalidField, "is no field"},
		{"id of text", request(simpleHeader(1, 1), batchItem(opGet, tx(kmip14.TagUniqueBatchItemID, "1"), empty)), invalidMessage, "Byte String is expected"},
		{"several without id", request(simpleHeader(1, 2), batchItem(opGet, id, empty), getItem), invalidMessage, "without Unique Batch Item ID"},
		{"extension without criticality", request(simpleHeader(1, 1), batchItem(opGet, empty, st(kmip14.TagMessageExtension, tx(kmip14.TagVendorIdentification, "A"), st(kmip14.TagVendorExtension)))), invalidMessage, "CriticalityIndicator is missing"},
		{"after the items", request(simpleHeader(1, 1), getItem, tx(kmip14.TagName, "x")), invalidField, "is no field"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var m kmip.RequestMessage
			err := kmip.ParseRequest(parsed(t, tc.in).Raw(), &m)
			wantError(t, err, tc.reason, tc.text)
			if bytes.Contains([]byte(err.Error()), []byte("hunter2")) {
				t.Error("the error shows a password")
			}
		})
	}
}

// The answer to a message that cannot be read needs the version it came in.
func TestParseRequestKeepsTheVersionItCouldRead(t *testing.T) {
	var m kmip.RequestMessage
	if kmip.ParseRequest(request(simpleHeader(3, 2), getItem), &m) == nil || m.Header.Version != kmip.V1_3 {
		t.Errorf("version %v, want 1.3 and an error", m.Header.Version)
	}
	for _, v := range []kmip.Version{{Major: 2}, {Major: 1, Minor: 5}, {Minor: 9}, {Major: 1, Minor: -1}, {Major: -1}} {
		h := header(protocol(v.Major, v.Minor), tx(kmip14.TagName, "what only that version knows"))
		err := kmip.ParseRequest(request(h, getItem), &m)
		wantError(t, err, invalidMessage, "protocol version "+v.String()+" is not supported")
		if !errors.Is(err, kmip.ErrVersion) || m.Header.Version != v {
			t.Errorf("%v: error %v, header's version %v", v, err, m.Header.Version)
		}
	}
	if kmip.ParseRequest(request(header()), &m) == nil || m.Header.Version != (kmip.Version{}) {
		t.Errorf("a version is left over from the last message: %v", m.Header.Version)
	}
}

func TestParseRequestForgetsTheLastMessage(t *testing.T) {
	var m kmip.RequestMessage
	full := request(header(protocol(1, 2), st(kmip14.TagAuthentication, password, password), bo(kmip14.TagBatchOrderOption, true), in(kmip14.TagBatchCount, 1)), getItem)
	if err := kmip.ParseRequest(full, &m); err != nil {
		t.Fatal(err)
	}
	if err := kmip.ParseRequest(request(simpleHeader(1, 1), getItem), &m); err != nil {
		t.Fatal(err)
	}
	want := kmip.RequestMessage{Header: kmip.RequestHeader{Version: kmip.V1_1, BatchCount: 1},
		Items: []kmip.RequestItem{{Operation: kmip14.OperationGet, Payload: parsed(t, empty)}}}
	if diff := cmp.Diff(want, m, sameValue); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, c := range m.Header.Credentials[:2] {
		if c.Password != nil {
			t.Error("the memory that is kept still shows a password of the last message")
		}
	}
	m.Reset()
	if len(m.Items) != 0 || m.Items[:1][0].Payload.Raw() != nil {
		t.Error("Reset left a view behind")
	}
}

func TestParseRequestBoundsTheBatch(t *testing.T) {
	m := kmip.RequestMessage{MaxItems: 2}
	id := bs(kmip14.TagUniqueBatchItemID, "1")
	several := func(n int32) item {
		items := make([]item, n)
		for i := range items {
			items[i] = batchItem(opGet, id, empty)
		}
		return request(simpleHeader(1, n), items...)
	}
	if err := kmip.ParseRequest(several(2), &m); err != nil {
		t.Error(err)
	}
	wantError(t, kmip.ParseRequest(several(3), &m), invalidMessage, "at most 2")
	if len(m.Items) != 0 {
		t.Errorf("%d items were read before the bound was looked at", len(m.Items))
	}
}

func TestPasswordsAreViews(t *testing.T) {
	raw := request(header(protocol(1, 1), st(kmip14.TagAuthentication, password), in(kmip14.TagBatchCount, 1)), getItem)
	var m kmip.RequestMessage
	if err := kmip.ParseRequest(raw, &m); err != nil {
		t.Fatal(err)
	}
	clear(raw)
	if c := m.Header.Credentials[0]; !bytes.Equal(c.Password, make([]byte, 9)) {
		t.Errorf("clearing the request's buffer left a password of %d bytes", len(c.Password))
	}
}

func TestRequestWriterCountsItems(t *testing.T) {
	var w kmip.RequestWriter
	for range 2 { // used twice: nothing may be left over
		w.Begin(nil, &kmip.RequestHeader{Version: kmip.V1_1, BatchCount: 99})
		w.BeginItem(kmip14.OperationQuery, []byte("a"), nil)
		w.EndItem()
		w.BeginItem(kmip14.OperationQuery, []byte("b"), nil)
		w.EndItem()
		var m kmip.RequestMessage
		if err := kmip.ParseRequest(parsed(t, w.End()).Raw(), &m); err != nil || m.Header.BatchCount != 2 || w.Items() != 2 {
			t.Errorf("count %d, %v", m.Header.BatchCount, err)
		}
	}
	if len(w.Buffer()) != w.Len() {
		t.Error("Buffer is not all of the message")
	}
}

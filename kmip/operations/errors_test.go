package operations_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/operations"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

func TestResult(t *testing.T) {
	general := kmip14.ResultReasonGeneralFailure
	for _, tc := range []struct {
		err    error
		reason kmip14.ResultReason
		text   bool
	}{
		{kmip.NewError(kmip14.ResultReasonInvalidField, "no"), kmip14.ResultReasonInvalidField, true},
		{keystore.ErrNotFound, kmip14.ResultReasonItemNotFound, true},
		{keystore.ErrPermission, kmip14.ResultReasonPermissionDenied, true},
		{keystore.ErrNameTaken, kmip14.ResultReasonIllegalOperation, true},
		{keystore.ErrState, kmip14.ResultReasonPermissionDenied, true},
		{keystore.ErrDestroyed, kmip14.ResultReasonPermissionDenied, true},
		{keystore.ErrInvalid, kmip14.ResultReasonInvalidField, true},
		{keystore.ErrDiskFull, general, true},
		{keystore.ErrCommitUnknown, general, true},
		{keystore.ErrAudit, general, true},
		{keystore.ErrClosed, general, true},
		{keystore.ErrInternal, general, false},
		{keystore.ErrCorrupt, general, false},
		{keystore.ErrFailed, general, false},
		{keystore.ErrStale, general, false},
		{context.DeadlineExceeded, general, false},
		{errors.New("something else"), general, false},
	} {
		const within = "in the file /var/lib/keyreeve"
		for _, err := range []error{tc.err, fmt.Errorf("%s: %w", within, tc.err)} {
			status, reason, text := operations.Result(err)
			if status != kmip14.ResultStatusOperationFailed || reason != tc.reason || (text != "") != tc.text {
				t.Errorf("%v: %v %v %q", err, status, reason, text)
			}
			if strings.Contains(text, within) {
				t.Errorf("%v: the client is told %q", err, text)
			}
		}
	}
}

// A payload with a field that is not its own, or with one twice, is refused by
// every operation, whole.
func TestMalformedPayloads(t *testing.T) {
	r := newRig(t)
	uid := r.create()
	for op := kmip14.Operation(1); op <= kmip14.OperationExport; op++ {
		if r.ops.Row(op) == nil {
			continue
		}
		good := (&ask{payload: requests[op](uid)}).item(kmip.V1_1)
		for name, tc := range map[string]struct {
			payload func(w *ttlv.Writer)
			want    []kmip14.ResultReason
		}{
			"an alien field": {func(w *ttlv.Writer) {
				w.Raw(good.Value())
				w.Boolean(kmip14.TagFresh, true)
			}, []kmip14.ResultReason{kmip14.ResultReasonInvalidField}},
			"a wrong type": {func(w *ttlv.Writer) {
				for _, tag := range []ttlv.Tag{kmip14.TagObjectType, kmip14.TagMaximumItems, kmip14.TagUniqueIdentifier, kmip14.TagQueryFunction, kmip14.TagProtocolVersion} {
					w.Boolean(tag, true)
				}
			}, []kmip14.ResultReason{kmip14.ResultReasonInvalidField, kmip14.ResultReasonInvalidMessage, kmip14.ResultReasonMissingData}},
		} {
			a := r.send(kmip.V1_1, ask{op: op, raw: tc.payload})[0]
			if !slices.Contains(tc.want, a.reason) {
				t.Errorf("%v with %s: %v (%v)", op, name, a.reason, a.err)
			}
		}
	}
	if n := r.store.Info().Objects; n != 1 {
		t.Errorf("refused requests left %d objects", n)
	}
}

// Who owns nothing can make nothing.
func TestCreateWithoutAGroup(t *testing.T) {
	r := newRig(t).as(operations.Principal{Client: "nobody"})
	for _, op := range []kmip14.Operation{kmip14.OperationCreate, kmip14.OperationRegister} {
		if a := r.do(kmip.V1_1, op, requests[op](nil)); a.reason != kmip14.ResultReasonPermissionDenied {
			t.Errorf("%v: %v, want Permission Denied", op, a.err)
		}
	}
}

// Key material does not outlive the call: what Prepare made is wiped by Reset.
func TestResetWipesKeyMaterial(t *testing.T) {
	r := newRig(t)
	for _, a := range []ask{
		{op: kmip14.OperationCreate, payload: createRequest(aes(256))},
		{op: kmip14.OperationRegister, payload: registerRequest(symmetricKey(raw, key32, aesAlg, 256), mask())},
		{op: kmip14.OperationCreate, payload: createRequest([]kmip.Attribute{mask(), kmip.IntegerAttribute("Cryptographic Length", 8192),
			kmip.EnumerationAttribute("Cryptographic Algorithm", kmip14.CryptographicAlgorithmHMAC_SHA512)})},
	} {
		m, _ := r.prepare(kmip.V1_4, a)
		must(t, m.items[0].pre)
		buffer := m.items[0].call.Key()
		if bytes.Count(buffer, []byte{0}) == len(buffer) {
			t.Fatal("there was nothing to wipe: the test proves nothing")
		}
		m.items[0].call.Reset()
		if bytes.Count(buffer, []byte{0}) != len(buffer) {
			t.Errorf("%v: key material is left in the buffer", a.op)
		}
	}
}

// Payloads of any shape get an answer, not a panic, and leave nothing behind.
func FuzzPrepareAndApply(f *testing.F) {
	for op, request := range requests {
		it := (&ask{payload: request([]byte("00000000-0000-7000-8000-000000000000"))}).item(kmip.V1_4)
		f.Add(uint32(op), byte(4), it.Value())
	}
	r := newRig(f)
	r.create(kmip.NameAttribute("n"))
	f.Fuzz(func(t *testing.T, op uint32, minor byte, payload []byte) {
		row := r.ops.Row(kmip14.Operation(op))
		var w ttlv.Writer
		m := w.Begin(kmip14.TagRequestPayload)
		w.Raw(payload)
		w.End(m)
		if row == nil || minor > 4 || ttlv.Check(w.Bytes(), ttlv.Limits{}) != nil {
			return
		}
		it, _ := ttlv.Parse(w.Bytes())
		msg := &message{r: r}
		one := &item{m: msg, row: row, call: new(operations.Call)}
		msg.items = append(msg.items, one)
		one.call.Version, one.call.Payload, one.call.Placeholder = kmip.Version{Major: 1, Minor: int32(minor)}, it, &msg.placeholder
		one.pre = r.ops.Prepare(t.Context(), row, one.call)
		msg.fail = errDropped
		if err := r.ops.Do(t.Context(), r.who, row.Changes(), msg); !errors.Is(err, errDropped) {
			t.Fatalf("the store: %v", err)
		}
		if errors.Is(one.err, keystore.ErrInternal) {
			t.Fatalf("a panic: %v", one.err)
		}
	})
}

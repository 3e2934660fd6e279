package kmip_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/gemalto/kmip-go/kmip14"
	"github.com/google/go-cmp/cmp"

	"github.com/keyreeve/keyreeve/kmip"
)

func responseHeader(minor, count int32, between ...item) item {
	fields := append([]item{protocol(1, minor), da(kmip14.TagTimeStamp, 7)}, between...)
	return st(kmip14.TagResponseHeader, append(fields, in(kmip14.TagBatchCount, count))...)
}

func response(h item, items ...item) item {
	return st(kmip14.TagResponseMessage, append([]item{h}, items...)...)
}

var (
	success = en(kmip14.TagResultStatus, 0)
	failed  = en(kmip14.TagResultStatus, 1)
)

func TestResponseWriter(t *testing.T) {
	id := []byte("id")
	for _, tc := range []struct {
		name   string
		header kmip.ResponseHeader
		write  func(w *kmip.ResponseWriter)
		want   item
	}{
		{"success with id", kmip.ResponseHeader{Version: kmip.V1_1, TimeStamp: 7}, func(w *kmip.ResponseWriter) {
			body := w.BeginItem(kmip14.OperationActivate, id)
			body.TextString(kmip14.TagUniqueIdentifier, "u")
			w.EndItem()
		}, response(responseHeader(1, 1), batchItem(en(kmip14.TagOperation, 0x12), bs(kmip14.TagUniqueBatchItemID, "id"), success,
			st(kmip14.TagResponsePayload, tx(kmip14.TagUniqueIdentifier, "u"))))},
		{"failure without id", kmip.ResponseHeader{Version: kmip.V1_0, TimeStamp: 7}, func(w *kmip.ResponseWriter) {
			w.FailItem(kmip14.OperationGet, nil, kmip.NewError(kmip14.ResultReasonItemNotFound, "no such %s", "object"))
		}, response(responseHeader(0, 1), batchItem(opGet, failed, en(kmip14.TagResultReason, 1), tx(kmip14.TagResultMessage, "no such object")))},
		{"failure that is wrapped", kmip.ResponseHeader{Version: kmip.V1_0, TimeStamp: 7}, func(w *kmip.ResponseWriter) {
			w.FailItem(kmip14.OperationGet, nil, fmt.Errorf("get: %w", kmip.NewError(kmip14.ResultReasonItemNotFound, "no")))
		}, response(responseHeader(0, 1), batchItem(opGet, failed, en(kmip14.TagResultReason, 1), tx(kmip14.TagResultMessage, "no")))},
		{"failure from within", kmip.ResponseHeader{Version: kmip.V1_0, TimeStamp: 7}, func(w *kmip.ResponseWriter) {
			w.FailItem(kmip14.OperationGet, nil, errors.New("/var/lib/secret: disk on fire"))
		}, response(responseHeader(0, 1), batchItem(opGet, failed, en(kmip14.TagResultReason, 0x100), tx(kmip14.TagResultMessage, "internal error")))},
		{"no operation", kmip.ResponseHeader{Version: kmip.V1_4, TimeStamp: 7}, func(w *kmip.ResponseWriter) {
			w.FailItem(0, nil, kmip.NewError(invalidMessage, "x"))
		}, response(responseHeader(4, 1), batchItem(failed, en(kmip14.TagResultReason, 4), tx(kmip14.TagResultMessage, "x")))},
		{"undone", kmip.ResponseHeader{Version: kmip.V1_0, TimeStamp: 7}, func(w *kmip.ResponseWriter) {
			w.FailItemStatus(kmip14.OperationGet, nil, kmip14.ResultStatusOperationUndone, 0, "")
		}, response(responseHeader(0, 1), batchItem(opGet, en(kmip14.TagResultStatus, 3)))},
		{"pending", kmip.ResponseHeader{Version: kmip.V1_0, TimeStamp: 7}, func(w *kmip.ResponseWriter) {
			w.PendingItem(kmip14.OperationGet, id, []byte("later"))
		}, response(responseHeader(0, 1), batchItem(opGet, bs(kmip14.TagUniqueBatchItemID, "id"), en(kmip14.TagResultStatus, 2), bs(kmip14.TagAsynchronousCorrelationValue, "later")))},
		{"cancelled item", kmip.ResponseHeader{Version: kmip.V1_0, TimeStamp: 7}, func(w *kmip.ResponseWriter) {
			w.BeginItem(kmip14.OperationGet, nil)
			w.EndItem()
			w.BeginItem(kmip14.OperationGet, id).TextString(kmip14.TagUniqueIdentifier, "gone")
			w.CancelItem()
			w.FailItemStatus(kmip14.OperationGet, id, kmip14.ResultStatusOperationFailed, kmip14.ResultReasonResponseTooLarge, "")
		}, response(responseHeader(0, 2), batchItem(opGet, success, st(kmip14.TagResponsePayload)),
			batchItem(opGet, bs(kmip14.TagUniqueBatchItemID, "id"), failed, en(kmip14.TagResultReason, 2)))},
		{"restarted", kmip.ResponseHeader{Version: kmip.V1_0, TimeStamp: 7}, func(w *kmip.ResponseWriter) {
			w.BeginItem(kmip14.OperationGet, nil)
			w.EndItem()
			w.BeginItem(kmip14.OperationGet, nil)
			w.Restart()
			w.FailItemStatus(kmip14.OperationGet, nil, kmip14.ResultStatusOperationUndone, 0, "")
		}, response(responseHeader(0, 1), batchItem(opGet, en(kmip14.TagResultStatus, 3)))},
		{"all of the header at 1.4", kmip.ResponseHeader{Version: kmip.V1_4, TimeStamp: 7, NonceID: []byte("i"), NonceValue: []byte("n"),
			AttestationTypes: []kmip14.AttestationType{1, 2}, ClientCorrelationValue: []byte("c"), ServerCorrelationValue: []byte("s")},
			func(*kmip.ResponseWriter) {},
			response(responseHeader(4, 0, st(kmip14.TagNonce, bs(kmip14.TagNonceID, "i"), bs(kmip14.TagNonceValue, "n")),
				en(kmip14.TagAttestationType, 1), en(kmip14.TagAttestationType, 2),
				tx(kmip14.TagClientCorrelationValue, "c"), tx(kmip14.TagServerCorrelationValue, "s")))},
		{"all of the header at 1.3", kmip.ResponseHeader{Version: kmip.V1_3, TimeStamp: 7, AttestationTypes: []kmip14.AttestationType{1}, ClientCorrelationValue: []byte("c"), ServerCorrelationValue: []byte("s")},
			func(*kmip.ResponseWriter) {}, response(responseHeader(3, 0, en(kmip14.TagAttestationType, 1)))},
		{"all of the header at 1.1", kmip.ResponseHeader{Version: kmip.V1_1, TimeStamp: 7, NonceID: []byte("i"), NonceValue: []byte("n"), AttestationTypes: []kmip14.AttestationType{1}, ServerCorrelationValue: []byte("s")},
			func(*kmip.ResponseWriter) {}, response(responseHeader(1, 0))},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var w kmip.ResponseWriter
			w.Begin(nil, &tc.header)
			tc.write(&w)
			got := w.End()
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Fatalf("(-want +got):\n%s", diff)
			}
			if w.Len() != len(got) {
				t.Errorf("Len = %d of %d", w.Len(), len(got))
			}
			var m kmip.ResponseMessage
			if err := kmip.ParseResponse(parsed(t, got).Raw(), &m); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, m.Append(nil)); diff != "" {
				t.Errorf("read and written back (-want +got):\n%s", diff)
			}
		})
	}
}

// What was taken back may have been a key.
func TestTakenBackItemsAreOverwritten(t *testing.T) {
	for name, back := range map[string]func(w *kmip.ResponseWriter){
		"cancel":  (*kmip.ResponseWriter).CancelItem,
		"restart": (*kmip.ResponseWriter).Restart,
	} {
		var w kmip.ResponseWriter
		buf := make([]byte, 0, 1024)
		w.Begin(buf, &kmip.ResponseHeader{Version: kmip.V1_1})
		w.BeginItem(kmip14.OperationGet, nil).ByteString(kmip14.TagKeyMaterial, []byte("planted key"))
		if !bytes.Contains(buf[:cap(buf)], []byte("planted key")) {
			t.Fatal("the test's buffer was not used")
		}
		back(&w)
		if bytes.Contains(buf[:cap(buf)], []byte("planted")) {
			t.Errorf("%s leaves the material in the buffer", name)
		}
	}
}

// A client of an old version must not meet a reason that it cannot know.
func TestReasonsOfLaterVersionsAreReplaced(t *testing.T) {
	since := map[kmip14.ResultReason]kmip.Version{
		kmip14.ResultReasonEncodingOptionError:       kmip.V1_1,
		kmip14.ResultReasonKeyValueNotPresent:        kmip.V1_2,
		kmip14.ResultReasonAttestationRequired:       kmip.V1_2,
		kmip14.ResultReasonAttestationFailed:         kmip.V1_2,
		kmip14.ResultReasonSensitive:                 kmip.V1_4,
		kmip14.ResultReasonNotExtractable:            kmip.V1_4,
		kmip14.ResultReasonObjectAlreadyExists:       kmip.V1_4,
		kmip14.ResultReasonGeneralFailure:            kmip.V1_0,
		kmip14.ResultReasonItemNotFound:              kmip.V1_0,
		kmip14.ResultReasonKeyFormatTypeNotSupported: kmip.V1_0,
	}
	for reason, first := range since {
		for _, v := range kmip.Versions() {
			var w kmip.ResponseWriter
			w.Begin(nil, &kmip.ResponseHeader{Version: v})
			w.FailItem(kmip14.OperationGet, nil, kmip.NewError(reason, "x"))
			var m kmip.ResponseMessage
			if err := kmip.ParseResponse(w.End(), &m); err != nil {
				t.Fatal(err)
			}
			got := m.Items[0].Reason
			if v.AtLeast(first) != (got == reason) {
				t.Errorf("%v in %v became %v", reason, v, got)
			}
			if f, later := since[got]; later && !v.AtLeast(f) {
				t.Errorf("%v in %v became %v, which is as new", reason, v, got)
			}
		}
	}
}

func TestParseResponseRefuses(t *testing.T) {
	good := batchItem(opGet, success, st(kmip14.TagResponsePayload))
	for _, tc := range []struct {
		name   string
		in     item
		reason kmip14.ResultReason
		text   string
	}{
		{"a request", request(simpleHeader(1, 1), getItem), invalidMessage, "not a Response Message"},
		{"no header", st(kmip14.TagResponseMessage, good), invalidMessage, "ResponseHeader is missing"},
		{"no time stamp", response(st(kmip14.TagResponseHeader, protocol(1, 1), in(kmip14.TagBatchCount, 1)), good), invalidMessage, "TimeStamp is missing"},
		{"version 2.0", response(st(kmip14.TagResponseHeader, protocol(2, 0)), good), invalidMessage, "2.0 is not supported"},
		{"count too small", response(responseHeader(1, 1), good, good), invalidMessage, "more batch items"},
		{"count too large", response(responseHeader(1, 2), good), invalidMessage, "1 batch items"},
		{"count below 0", response(responseHeader(1, -1)), invalidMessage, "0 batch items"},
		{"no status", response(responseHeader(1, 1), batchItem(opGet)), invalidMessage, "ResultStatus is missing"},
		{"unknown status", response(responseHeader(1, 1), batchItem(opGet, en(kmip14.TagResultStatus, 9))), invalidField, "no value of"},
		{"unknown reason", response(responseHeader(1, 1), batchItem(opGet, failed, en(kmip14.TagResultReason, 0x99))), invalidField, "no value of"},
		{"operation 0", response(responseHeader(1, 1), batchItem(en(kmip14.TagOperation, 0), success)), invalidMessage, "Operation"},
		{"payload before status", response(responseHeader(1, 1), batchItem(opGet, st(kmip14.TagResponsePayload), success)), invalidMessage, "out of order"},
		{"message twice", response(responseHeader(1, 1), batchItem(opGet, failed, tx(kmip14.TagResultMessage, "a"), tx(kmip14.TagResultMessage, "b"))), invalidMessage, "repeated"},
		{"correlation in 1.3", response(responseHeader(3, 1, tx(kmip14.TagServerCorrelationValue, "x")), good), invalidField, "in KMIP 1.3"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var m kmip.ResponseMessage
			wantError(t, kmip.ParseResponse(parsed(t, tc.in).Raw(), &m), tc.reason, tc.text)
		})
	}
}

func TestVersions(t *testing.T) {
	vs := kmip.Versions()
	if len(vs) != 5 || vs[0] != kmip.V1_4 {
		t.Errorf("Versions = %v", vs)
	}
	for i, a := range vs {
		for j, b := range vs {
			if want := min(1, max(-1, j-i)); a.Compare(b) != want || a.AtLeast(b) != (want >= 0) {
				t.Errorf("%v against %v: Compare %d, AtLeast %v", a, b, a.Compare(b), a.AtLeast(b))
			}
		}
	}
	if (kmip.Version{Major: 2}).Compare(kmip.V1_4) != 1 || !(kmip.Version{Major: 2}).AtLeast(kmip.V1_4) || kmip.V1_0.AtLeast(kmip.Version{Major: 2}) {
		t.Error("2.0 is not newer than 1.4")
	}
	vs[0] = kmip.Version{}
	if kmip.Versions()[0] != kmip.V1_4 {
		t.Error("Versions handed out its own memory")
	}
}

func TestVersionGates(t *testing.T) {
	count := func(v kmip.Version) (ops, types, functions int) {
		for i := uint32(0); i < 64; i++ {
			if kmip.OperationIn(kmip14.Operation(i), v) {
				ops++
			}
			if kmip.ObjectTypeIn(kmip14.ObjectType(i), v) {
				types++
			}
			if kmip.QueryFunctionIn(kmip14.QueryFunction(i), v) {
				functions++
			}
		}
		return ops, types, functions
	}
	// The numbers of values in each version's tables of section 9.1.3.2.
	for v, want := range map[kmip.Version][3]int{
		kmip.V1_0: {28, 8, 4}, kmip.V1_1: {30, 8, 6}, kmip.V1_2: {41, 9, 7}, kmip.V1_3: {41, 9, 12}, kmip.V1_4: {43, 9, 12},
	} {
		ops, types, functions := count(v)
		if got := [3]int{ops, types, functions}; got != want {
			t.Errorf("%v: operations, object types, query functions %v, want %v", v, got, want)
		}
	}
}

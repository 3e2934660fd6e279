package kmipserver_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/kmipserver"
	"github.com/keyreeve/keyreeve/kmip/operations"
	"github.com/keyreeve/keyreeve/kmip/transcript"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

var (
	alice = &operations.Principal{Client: "nas", User: "alice", Group: "lab", Remote: "192.0.2.7:1"}
	bob   = &operations.Principal{Client: "nas", User: "bob", Group: "lab", Remote: "192.0.2.7:1"}
)

// inPayload is a Request Payload with what write puts inside.
func inPayload(write func(w *ttlv.Writer)) ttlv.Item {
	var w ttlv.Writer
	m := w.Begin(kmip14.TagRequestPayload)
	write(&w)
	w.End(m)
	it, _ := ttlv.Parse(w.Bytes())
	return it
}

func payloadItem(p kmip.Payload, v kmip.Version) ttlv.Item {
	return inPayload(func(w *ttlv.Writer) { p.Encode(w, v) })
}

// say sends one operation in 1.1 and returns its answer; wait sets the
// Asynchronous Indicator.
func (r *rig) say(p *operations.Principal, wait bool, op kmip14.Operation, in kmip.Payload) kmip.ResponseItem {
	r.t.Helper()
	return r.sayIn(kmip.V1_1, p, wait, op, payloadItem(in, kmip.V1_1))
}

func (r *rig) sayIn(v kmip.Version, p *operations.Principal, wait bool, op kmip14.Operation, payload ttlv.Item) kmip.ResponseItem {
	r.t.Helper()
	m := kmip.RequestMessage{Header: kmip.RequestHeader{Version: v, Asynchronous: wait, HasAsynchronous: wait},
		Items: []kmip.RequestItem{{Operation: op, Payload: payload}}}
	answer := parse(r.t, r.KMIP.Handle(context.Background(), p, m.Append(nil), nil))
	if len(answer.Items) != 1 {
		r.t.Fatalf("%d items", len(answer.Items))
	}
	return answer.Items[0]
}

// make makes a key and returns its Unique Identifier.
func (r *rig) make(p *operations.Principal) []byte {
	r.t.Helper()
	it := parse(r.t, r.KMIP.Handle(context.Background(), p, encode(r.t, createText, nil), nil)).Items[0]
	if it.Status != kmip14.ResultStatusSuccess {
		r.t.Fatalf("Create: %s", it.Message)
	}
	return it.Payload.Find(kmip14.TagUniqueIdentifier).Value()
}

func (r *rig) archived(p *operations.Principal, uid []byte) bool {
	r.t.Helper()
	it := r.say(p, false, kmip14.OperationGetAttributes, &kmip.GetAttributesRequest{UniqueIdentifier: uid, Names: [][]byte{[]byte("Archive Date")}})
	var out kmip.GetAttributesResponse
	if err := out.Decode(it.Payload, kmip.V1_1); err != nil {
		r.t.Fatal(err)
	}
	return len(out.Attributes) > 0
}

// pending asks for an operation and wants it deferred.
func (r *rig) pending(p *operations.Principal, op kmip14.Operation, in kmip.Payload) (value []byte) {
	r.t.Helper()
	it := r.say(p, true, op, in)
	if it.Status != kmip14.ResultStatusOperationPending || it.Operation != op || len(it.AsynchronousCorrelationValue) != 16 || !it.Payload.IsZero() {
		r.t.Fatalf("%v: %v %v %x", op, it.Status, it.Operation, it.AsynchronousCorrelationValue)
	}
	return it.AsynchronousCorrelationValue
}

func (r *rig) poll(p *operations.Principal, value []byte) kmip.ResponseItem {
	r.t.Helper()
	return r.say(p, false, kmip14.OperationPoll, &kmip.PollRequest{AsynchronousCorrelationValue: value})
}

func (r *rig) cancelled(p *operations.Principal, value []byte) kmip14.CancellationResult {
	r.t.Helper()
	it := r.say(p, false, kmip14.OperationCancel, &kmip.CancelRequest{AsynchronousCorrelationValue: value})
	var out kmip.CancelResponse
	if err := out.Decode(it.Payload, kmip.V1_1); err != nil || it.Operation != kmip14.OperationCancel || !bytes.Equal(out.AsynchronousCorrelationValue, value) {
		r.t.Fatalf("Cancel: %v %v %s", it.Operation, err, it.Message)
	}
	return out.Result
}

func (r *rig) wants(what string, it kmip.ResponseItem, op kmip14.Operation, reason kmip14.ResultReason) {
	r.t.Helper()
	if it.Operation != op || it.Reason != reason || (it.Status == kmip14.ResultStatusSuccess) != (reason == 0) {
		r.t.Errorf("%s: %v %v %v (%s), want %v %v", what, it.Operation, it.Status, it.Reason, it.Message, op, reason)
	}
}

// What Poll answers is what the operation would have answered at once; it may
// be polled again, since an answer can be lost.
func TestPollAnswersLikeTheOperation(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, kmipserver.Limits{})
		uid := r.make(alice)
		in := &kmip.LocateRequest{Attributes: []kmip.Attribute{kmip.EnumerationAttribute("Object Type", kmip14.ObjectTypeSymmetricKey)}}
		value := r.pending(alice, kmip14.OperationLocate, in)
		direct := r.say(alice, false, kmip14.OperationLocate, in)
		for range 2 {
			it := r.poll(alice, value)
			r.wants("Poll", it, kmip14.OperationLocate, 0)
			if !bytes.Equal(it.Payload.Raw(), direct.Payload.Raw()) || !bytes.Contains(it.Payload.Raw(), uid) {
				t.Errorf("Poll answers\n%s, and Locate itself\n%s", it.Payload.Raw(), direct.Payload.Raw())
			}
		}
		if n := r.KMIP.DeferredBytes(); n > 0 {
			t.Errorf("%d bytes of an answer that is made anew each time are kept", n)
		}
		if got := r.cancelled(alice, value); got != kmip14.CancellationResultCompleted {
			t.Errorf("Cancel after Poll: %v", got)
		}
		r.wantMetric("operations_total", "Poll", 2)
		r.wantMetric("operations_total", "Locate", 3)
	})
}

// A change is carried out when it is polled, or else after a second, once.
func TestDeferredChange(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, kmipserver.Limits{})
		uid := r.make(alice)
		archive := r.pending(alice, kmip14.OperationArchive, &kmip.ArchiveRequest{UniqueIdentifier: uid})
		if r.archived(alice, uid) {
			t.Error("it was archived before it was polled")
		}
		r.wants("Poll", r.poll(alice, archive), kmip14.OperationArchive, 0)
		if !r.archived(alice, uid) {
			t.Error("it was not archived when it was polled")
		}
		back := r.pending(alice, kmip14.OperationRecover, &kmip.RecoverRequest{UniqueIdentifier: uid})
		time.Sleep(2 * time.Second)
		if r.archived(alice, uid) {
			t.Error("it was not recovered without a Poll")
		}
		for name, value := range map[string][]byte{"Archive": archive, "Recover": back} {
			if got := r.cancelled(alice, value); got != kmip14.CancellationResultCompleted {
				t.Errorf("Cancel of %s: %v", name, got)
			}
		}
		it := r.poll(alice, archive) // the outcome that was, and no second Archive
		r.wants("Poll again", it, kmip14.OperationArchive, 0)
		if !bytes.Contains(it.Payload.Raw(), uid) || r.archived(alice, uid) {
			t.Error("a second Poll archived it again")
		}
		time.Sleep(11 * time.Minute)
		r.wants("Poll of what has expired", r.poll(alice, archive), kmip14.OperationPoll, kmip14.ResultReasonItemNotFound)
		r.wantMetric("asynchronous_operations", "", 0)
	})
}

func TestDeferredFailure(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, kmipserver.Limits{})
		absent := &kmip.ArchiveRequest{UniqueIdentifier: []byte("01890a5d-ac96-774b-bcce-b302099a8057")}
		value := r.pending(alice, kmip14.OperationArchive, absent)
		for range 2 {
			it := r.poll(alice, value)
			r.wants("Poll", it, kmip14.OperationArchive, kmip14.ResultReasonItemNotFound)
			if direct := r.say(alice, false, kmip14.OperationArchive, absent); !bytes.Equal(direct.Message, it.Message) {
				t.Errorf("Poll says %q, and Archive itself %q", it.Message, direct.Message)
			}
		}
		if got := r.cancelled(alice, value); got != kmip14.CancellationResultFailed {
			t.Errorf("Cancel: %v", got)
		}
	})
}

func TestCancel(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, kmipserver.Limits{})
		uid := r.make(alice)
		value := r.pending(alice, kmip14.OperationArchive, &kmip.ArchiveRequest{UniqueIdentifier: uid})
		if got := r.cancelled(alice, value); got != kmip14.CancellationResultCanceled {
			t.Errorf("Cancel: %v", got)
		}
		time.Sleep(time.Hour)
		if r.archived(alice, uid) {
			t.Error("what was canceled was carried out")
		}
		if got := r.cancelled(alice, value); got != kmip14.CancellationResultUnavailable {
			t.Errorf("Cancel again: %v", got)
		}
		r.wants("Poll of what was canceled", r.poll(alice, value), kmip14.OperationPoll, kmip14.ResultReasonItemNotFound)
	})
}

// Another principal's value gets, byte for byte, what one gets that stands for
// nothing; another user of the same client is another principal.
func TestDeferralIsBoundToItsPrincipal(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, kmipserver.Limits{})
		uid := r.make(alice)
		value := r.pending(alice, kmip14.OperationArchive, &kmip.ArchiveRequest{UniqueIdentifier: uid})
		unknown := bytes.Repeat([]byte{7}, len(value))
		ask := func(p *operations.Principal, op kmip14.Operation, value []byte) string {
			out := r.KMIP.Handle(context.Background(), p, request(kmip.V1_1, kmip.RequestItem{Operation: op, Payload: payloadItem(&kmip.PollRequest{AsynchronousCorrelationValue: value}, kmip.V1_1)}), nil)
			return strings.ReplaceAll(string(out), string(value), "value")
		}
		for name, p := range map[string]*operations.Principal{
			"another user": bob, "the client itself": {Client: "nas", Group: "lab"},
			"another client of the group": {Client: "nas2", User: "alice", Group: "lab"},
			"another group":               {Client: "nas", User: "alice", Group: "elsewhere"},
		} {
			for _, op := range []kmip14.Operation{kmip14.OperationPoll, kmip14.OperationCancel} {
				if got, want := ask(p, op, value), ask(p, op, unknown); got != want {
					t.Errorf("%s, %v: %q, and of an unknown value %q", name, op, got, want)
				}
			}
		}
		if r.archived(alice, uid) {
			t.Error("a stranger's Poll carried it out")
		}
		r.wants("the owner's Poll", r.poll(alice, value), kmip14.OperationArchive, 0)
	})
}

// A client that does not come back cannot fill the server: the next operation
// is answered at once, which every client must be able to take.
func TestDeferralsAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, kmipserver.Limits{})
		for i := range 16 {
			r.pending([]*operations.Principal{alice, bob}[i%2], kmip14.OperationLocate, &kmip.LocateRequest{})
		}
		r.wants("the 17th of a client", r.say(alice, true, kmip14.OperationLocate, &kmip.LocateRequest{}), kmip14.OperationLocate, 0)
		for i := range 63 {
			for range 16 {
				r.pending(&operations.Principal{Client: fmt.Sprint(i), Group: "g"}, kmip14.OperationLocate, &kmip.LocateRequest{})
			}
		}
		r.wants("the 1,025th of all", r.say(&operations.Principal{Client: "late", Group: "g"}, true, kmip14.OperationLocate, &kmip.LocateRequest{}), kmip14.OperationLocate, 0)
		r.wantMetric("asynchronous_operations", "", 1024)
		time.Sleep(11 * time.Minute)
		r.wantMetric("asynchronous_operations", "", 0)
		r.pending(alice, kmip14.OperationLocate, &kmip.LocateRequest{})
	})
}

// Nothing but the three is ever deferred: no request and no answer with key
// material lies about for a client to fetch. A long request is not kept either.
func TestWhatIsNotDeferred(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, kmipserver.Limits{})
		empty := inPayload(func(*ttlv.Writer) {})
		for op := kmip14.Operation(1); op <= kmip14.OperationExport; op++ {
			it := r.sayIn(kmip.V1_4, alice, true, op, empty)
			want := op == kmip14.OperationLocate || op == kmip14.OperationArchive || op == kmip14.OperationRecover
			if (it.Status == kmip14.ResultStatusOperationPending) != want {
				t.Errorf("%v: %v", op, it.Status)
			}
		}
		long := &kmip.LocateRequest{Attributes: []kmip.Attribute{kmip.TextAttribute("x-a", strings.Repeat("v", 17<<10))}}
		r.wants("a long Locate", r.say(alice, true, kmip14.OperationLocate, long), kmip14.OperationLocate, 0)
		r.wants("one that cannot wait", r.say(alice, false, kmip14.OperationLocate, &kmip.LocateRequest{}), kmip14.OperationLocate, 0)
		two := kmip.RequestMessage{Header: kmip.RequestHeader{Version: kmip.V1_1, Asynchronous: true, HasAsynchronous: true}}
		for id := range byte(2) {
			two.Items = append(two.Items, kmip.RequestItem{Operation: kmip14.OperationLocate, ID: []byte{id}, Payload: empty})
		}
		for _, it := range parse(t, r.KMIP.Handle(context.Background(), alice, two.Append(nil), nil)).Items {
			r.wants("one of two", it, kmip14.OperationLocate, 0)
		}
	})
}

// A client that was shut out changes nothing more.
func TestDeferralsEndWithTheirClient(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, kmipserver.Limits{})
		uid := r.make(alice)
		value := r.pending(alice, kmip14.OperationArchive, &kmip.ArchiveRequest{UniqueIdentifier: uid})
		r.KMIP.CloseClient("nas")
		time.Sleep(time.Minute)
		if r.archived(alice, uid) {
			t.Error("it was carried out all the same")
		}
		r.wants("Poll", r.poll(alice, value), kmip14.OperationPoll, kmip14.ResultReasonItemNotFound)
		r.wantMetric("asynchronous_operations", "", 0)
	})
}

// A server that ends in peace has done what it said that it would do.
func TestShutdownCarriesOutWhatWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, kmipserver.Limits{})
		uid := r.make(alice)
		r.pending(alice, kmip14.OperationArchive, &kmip.ArchiveRequest{UniqueIdentifier: uid})
		r.pending(alice, kmip14.OperationLocate, &kmip.LocateRequest{})
		if err := r.Shutdown(); err != nil {
			t.Fatal(err)
		}
		if !r.archived(alice, uid) {
			t.Error("Archive was forgotten")
		}
		r.wantMetric("asynchronous_operations", "", 0)
		it := r.say(alice, true, kmip14.OperationLocate, &kmip.LocateRequest{})
		r.wants("a Locate after that", it, kmip14.OperationLocate, 0)
	})
}

// Many Polls at once, and the timer beside them, carry a change out once.
func TestDeferredChangeIsCarriedOutOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, kmipserver.Limits{})
		uid := r.make(alice)
		value := r.pending(alice, kmip14.OperationArchive, &kmip.ArchiveRequest{UniqueIdentifier: uid})
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				time.Sleep(time.Second)
				// A second Archive would be refused: the object is archived.
				r.wants("Poll", r.poll(alice, value), kmip14.OperationArchive, 0)
			})
		}
		all.Wait()
		time.Sleep(9 * time.Minute)
		r.wants("Poll later", r.poll(alice, value), kmip14.OperationArchive, 0)
		r.wantMetric("operations_total", "Archive", 1)
	})
}

// An answer has the words of its own version.
func TestPollInAnotherVersion(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, kmipserver.Limits{})
		value := r.pending(alice, kmip14.OperationLocate, &kmip.LocateRequest{})
		poll := payloadItem(&kmip.PollRequest{AsynchronousCorrelationValue: value}, kmip.V1_4)
		r.wants("Poll in 1.4", r.sayIn(kmip.V1_4, alice, false, kmip14.OperationPoll, poll), kmip14.OperationPoll, kmip14.ResultReasonInvalidField)
		r.wants("Poll in 1.1", r.poll(alice, value), kmip14.OperationLocate, 0)
	})
}

// A Poll is a batch item like others: what it polls can fail it, and a batch
// goes on or stops as it says.
func TestPollInABatch(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, kmipserver.Limits{})
		uid := r.make(alice)
		value := r.pending(alice, kmip14.OperationArchive, &kmip.ArchiveRequest{UniqueIdentifier: uid})
		failing := r.pending(alice, kmip14.OperationArchive, &kmip.ArchiveRequest{UniqueIdentifier: []byte("none")})
		item := func(id byte, op kmip14.Operation, p kmip.Payload) kmip.RequestItem {
			return kmip.RequestItem{Operation: op, ID: []byte{id}, Payload: payloadItem(p, kmip.V1_1)}
		}
		out := r.KMIP.Handle(context.Background(), alice, request(kmip.V1_1,
			item(1, kmip14.OperationPoll, &kmip.PollRequest{AsynchronousCorrelationValue: value}),
			item(2, kmip14.OperationGet, &kmip.GetRequest{UniqueIdentifier: r.make(alice)}),
			item(3, kmip14.OperationPoll, &kmip.PollRequest{AsynchronousCorrelationValue: failing}),
			item(4, kmip14.OperationLocate, &kmip.LocateRequest{})), nil)
		m := parse(t, out)
		if len(m.Items) != 3 {
			t.Fatalf("%d answers:\n%s", len(m.Items), transcript.Format(out))
		}
		r.wants("the first", m.Items[0], kmip14.OperationArchive, 0)
		r.wants("the second", m.Items[1], kmip14.OperationGet, 0)
		r.wants("the third", m.Items[2], kmip14.OperationArchive, kmip14.ResultReasonItemNotFound)
	})
}

// A batch of Polls carries out no more Locates than the answer has room for:
// each of their answers is held until the message is done.
func TestPollsOfABatchAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, kmipserver.Limits{ResponseSize: 1 << 10})
		for range 16 {
			r.make(alice)
		}
		value := r.pending(alice, kmip14.OperationLocate, &kmip.LocateRequest{}) // 16 identifiers of 48 bytes
		poll := payloadItem(&kmip.PollRequest{AsynchronousCorrelationValue: value}, kmip.V1_1)
		var items []kmip.RequestItem
		for i := range 9 {
			items = append(items, kmip.RequestItem{Operation: kmip14.OperationPoll, ID: []byte{byte(i)}, Payload: poll})
		}
		m := parse(t, r.KMIP.Handle(context.Background(), alice, request(kmip.V1_1, items...), nil))
		if last := m.Items[len(m.Items)-1]; last.Reason != kmip14.ResultReasonResponseTooLarge {
			t.Errorf("%v %s, want that the answer is too large", last.Reason, last.Message)
		}
		r.wantMetric("operations_total", "Locate", 2)
	})
}

package operations_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/keystore/keystoretest"
	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/operations"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// A rig is Operations on a real store, used as a server would.
type rig struct {
	t     testing.TB
	store *keystore.Store
	ops   *operations.Operations
	now   atomic.Int64 // seconds
	who   *operations.Principal
	calls []*operations.Call // reused, as a connection does
}

const began = 1_700_000_000

// newRig makes an empty store. When the test ends the whole store is checked.
func newRig(t testing.TB, change ...func(*operations.Config)) *rig {
	t.Helper()
	r := &rig{t: t, who: &operations.Principal{Client: "vcenter", Group: "lab", Remote: "192.0.2.1:1024"}}
	r.now.Store(began)
	r.store = keystoretest.NewStore(t, func(c *keystore.Config) {
		c.Now = func() time.Time { return time.Unix(r.now.Load(), 0) }
	})
	c := operations.Config{Store: r.store}
	for _, f := range change {
		f(&c)
	}
	r.ops = operations.New(c)
	return r
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// as is the rig for somebody else.
func (r *rig) as(p operations.Principal) *rig {
	return &rig{t: r.t, store: r.store, ops: r.ops, who: &p}
}

// An ask is one batch item.
type ask struct {
	op      kmip14.Operation
	payload kmip.Payload
	raw     func(w *ttlv.Writer) // instead of payload
}

func (a *ask) item(v kmip.Version) ttlv.Item {
	var w ttlv.Writer
	m := w.Begin(kmip14.TagRequestPayload)
	if a.raw != nil {
		a.raw(&w)
	} else {
		a.payload.Encode(&w, v)
	}
	w.End(m)
	it, err := ttlv.Parse(w.Bytes())
	if err == nil {
		err = ttlv.Check(it.Raw(), ttlv.Limits{})
	}
	if err != nil {
		panic(err)
	}
	return it
}

// An answer is what became of an item.
type answer struct {
	err     error
	reason  kmip14.ResultReason // 0: success
	text    string
	payload ttlv.Item
}

// message runs asks as one message whose items go on after a failure.
type message struct {
	r           *rig
	version     kmip.Version
	items       []*item
	placeholder operations.Placeholder
	fail        error // what Run returns at the end
}

type item struct {
	m    *message
	row  *operations.Row
	call *operations.Call
	w    ttlv.Writer
	mark int
	err  error // of Prepare, then of the item
	pre  error
}

func (i *item) Apply(tx *operations.Tx) error {
	if i.pre != nil {
		return i.pre
	}
	i.w.Reset(i.w.Bytes())
	i.mark = i.w.Begin(kmip14.TagResponsePayload)
	i.call.W = &i.w
	return i.m.r.ops.Apply(tx, i.row, i.call)
}

func (m *message) Run(b *operations.Batch) error {
	m.placeholder = operations.Placeholder{}
	for _, it := range m.items {
		before := m.placeholder
		if it.err = b.Do(&it.row.Op, it); it.err != nil {
			m.placeholder = before
		}
	}
	return m.fail
}

// prepare makes a message ready to run.
func (r *rig) prepare(v kmip.Version, asks ...ask) (m *message, changes bool) {
	r.t.Helper()
	m = &message{r: r, version: v}
	for i, a := range asks {
		if i == len(r.calls) {
			r.calls = append(r.calls, new(operations.Call))
		}
		row := r.ops.Row(a.op)
		if row == nil {
			r.t.Fatalf("no row for %v", a.op)
		}
		it := &item{m: m, row: row, call: r.calls[i]}
		it.call.Reset()
		it.call.Version, it.call.Payload, it.call.Placeholder = v, a.item(v), &m.placeholder
		it.pre = r.ops.Prepare(r.t.Context(), row, it.call)
		m.items = append(m.items, it)
		changes = changes || row.Changes()
	}
	return m, changes
}

// send runs asks as one message.
func (r *rig) send(v kmip.Version, asks ...ask) []answer {
	r.t.Helper()
	m, changes := r.prepare(v, asks...)
	if err := r.ops.Do(r.t.Context(), r.who, changes, m); err != nil {
		r.t.Fatalf("the store: %v", err)
	}
	return m.answers()
}

func (m *message) answers() []answer {
	var out []answer
	for _, it := range m.items {
		a := answer{err: it.err}
		if it.err != nil {
			_, a.reason, a.text = operations.Result(it.err)
			mustNotLeak(m.r.t, it.err.Error()+"\n"+a.text)
		} else {
			it.w.End(it.mark)
			a.payload, _ = ttlv.Parse(bytes.Clone(it.w.Bytes()))
		}
		out = append(out, a)
	}
	return out
}

// mustNotLeak fails the test when a text shows the planted key, key32, or a part
// of it, in a shape that Go or people print bytes in.
func mustNotLeak(t testing.TB, text string) {
	t.Helper()
	part := key32[:6]
	for _, form := range []string{string(part), hex.EncodeToString(part), fmt.Sprintf("%X", part), base64.StdEncoding.EncodeToString(part),
		strings.Trim(fmt.Sprint(part), "[]"), strings.Trim(strings.TrimPrefix(fmt.Sprintf("%#v", part), "[]byte{"), "}")} {
		if strings.Contains(text, form) {
			t.Errorf("key material in an error: %q", text)
		}
	}
}

// do runs one operation.
func (r *rig) do(v kmip.Version, op kmip14.Operation, p kmip.Payload) answer {
	r.t.Helper()
	return r.send(v, ask{op: op, payload: p})[0]
}

// ok runs one operation that must succeed, and decodes the answer.
func (r *rig) ok(v kmip.Version, op kmip14.Operation, p, into kmip.Payload) {
	r.t.Helper()
	a := r.do(v, op, p)
	if a.err != nil {
		r.t.Fatalf("%v: %v", op, a.err)
	}
	if err := into.Decode(a.payload, v); err != nil {
		r.t.Fatalf("the answer to %v: %v", op, err)
	}
}

// create makes an AES-256 key with more attributes, by KMIP 1.4.
func (r *rig) create(more ...kmip.Attribute) []byte {
	r.t.Helper()
	var out kmip.CreateResponse
	r.ok(kmip.V1_4, kmip14.OperationCreate, createRequest(aes(256, more...)), &out)
	return bytes.Clone(out.UniqueIdentifier)
}

// register takes in an AES key with more attributes, by KMIP 1.4.
func (r *rig) register(material []byte, more ...kmip.Attribute) []byte {
	r.t.Helper()
	key := symmetricKey(kmip14.KeyFormatTypeRaw, material, kmip14.CryptographicAlgorithmAES, int32(len(material)*8))
	var out kmip.RegisterResponse
	r.ok(kmip.V1_4, kmip14.OperationRegister, registerRequest(key, append(more, mask())...), &out)
	return bytes.Clone(out.UniqueIdentifier)
}

// attributes asks for attributes, all if no names are given.
func (r *rig) attributes(v kmip.Version, uid []byte, names ...string) []kmip.Attribute {
	r.t.Helper()
	in := &kmip.GetAttributesRequest{UniqueIdentifier: uid}
	for _, n := range names {
		in.Names = append(in.Names, []byte(n))
	}
	var out kmip.GetAttributesResponse
	r.ok(v, kmip14.OperationGetAttributes, in, &out)
	if !bytes.Equal(out.UniqueIdentifier, uid) {
		r.t.Fatalf("Get Attributes answers for %s, not %s", out.UniqueIdentifier, uid)
	}
	return out.Attributes
}

// attribute asks for one attribute and returns its value, the zero Item if the
// object has none.
func (r *rig) attribute(v kmip.Version, uid []byte, name string) ttlv.Item {
	r.t.Helper()
	list := r.attributes(v, uid, name)
	if len(list) == 0 {
		return ttlv.Item{}
	}
	return list[0].Value
}

func (r *rig) state(uid []byte) kmip14.State {
	r.t.Helper()
	n, err := r.attribute(kmip.V1_0, uid, "State").Enumeration()
	must(r.t, err)
	return kmip14.State(n)
}

func (r *rig) identifier(op kmip14.Operation, uid []byte) answer {
	r.t.Helper()
	return r.do(kmip.V1_1, op, &kmip.IdentifierRequest{UniqueIdentifier: uid})
}

func (r *rig) revoke(uid []byte, code kmip14.RevocationReasonCode) answer {
	r.t.Helper()
	return r.do(kmip.V1_1, kmip14.OperationRevoke, &kmip.RevokeRequest{UniqueIdentifier: uid, Reason: kmip.RevocationReason{Code: code}})
}

// must succeed.
func (r *rig) good(a answer) {
	r.t.Helper()
	if a.err != nil {
		r.t.Fatal(a.err)
	}
}

// change edits an object behind the protocol's back.
func (r *rig) change(uid []byte, edit func(*keystore.Object)) {
	r.t.Helper()
	must(r.t, r.store.Do(r.t.Context(), r.who, true, edition{uid, edit}))
}

type edition struct {
	uid  []byte
	edit func(*keystore.Object)
}

func (e edition) Run(b *operations.Batch) error {
	return b.Do(&keystore.Op{Name: "Test", Class: keystore.OpChange}, e)
}

func (e edition) Apply(tx *operations.Tx) error {
	uid, _ := keystore.ParseUID(e.uid)
	o, err := tx.Edit(uid)
	if err != nil {
		return err
	}
	e.edit(o)
	return tx.Put(o)
}

func (r *rig) get(v kmip.Version, uid []byte) (out kmip.GetResponse) {
	r.t.Helper()
	r.ok(v, kmip14.OperationGet, &kmip.GetRequest{UniqueIdentifier: uid}, &out)
	return out
}

// blockOf reads the Key Block of an answer to Get.
func (r *rig) blockOf(out kmip.GetResponse) (k kmip.KeyBlock) {
	r.t.Helper()
	must(r.t, k.Decode(out.Object, kmip.V1_4))
	return k
}

var versions = []kmip.Version{kmip.V1_0, kmip.V1_1, kmip.V1_2, kmip.V1_3, kmip.V1_4}

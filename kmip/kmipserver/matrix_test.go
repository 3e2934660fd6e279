package kmipserver_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/keystore/keystoretest"
	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/kmipserver"
	"github.com/keyreeve/keyreeve/kmip/kmiptest"
	"github.com/keyreeve/keyreeve/kmip/operations"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
	"github.com/keyreeve/keyreeve/users"
)

// A matrix is a server with two groups, their users, and objects of Fred's.
type matrix struct {
	t      *testing.T
	ops    *operations.Operations
	store  *keystore.Store
	server *kmipserver.Server
	stock  map[cell]object     // of Fred's, by policy and condition
	none   map[question][]byte // what is said of an object that is not there
}

// An object as it was when it was last looked at.
type object struct {
	uid     []byte
	version uint64 // of the record: it tells whether anything was changed
}

// A question is an operation that somebody asks for.
type question struct {
	op  kmip14.Operation
	who relation
	v   kmip.Version
}

// asker is a principal, as the certificate says, and the user in the request.
type asker struct {
	principal *operations.Principal
	user      string
}

var askers = map[relation]asker{
	owner:       {&operations.Principal{Client: "nas", Group: "storage", Remote: "192.0.2.1:1"}, "Fred"},
	otherUser:   {&operations.Principal{Client: "nas", Group: "storage", Remote: "192.0.2.1:1"}, "Barney"},
	client:      {&operations.Principal{Client: "nas", Group: "storage", Remote: "192.0.2.1:1"}, ""},
	otherClient: {&operations.Principal{Client: "nas-2", Group: "storage", Remote: "192.0.2.2:1"}, "Fred"},
	otherGroup:  {&operations.Principal{Client: "vcenter", Group: "vcenter", Remote: "192.0.2.3:1"}, ""},
	namesake:    {&operations.Principal{Client: "other", Group: "other", Remote: "192.0.2.4:1"}, "Fred"},
}

const password = "the password of all"

func newMatrix(t *testing.T) *matrix {
	t.Helper()
	m := &matrix{t: t, stock: map[cell]object{}, none: map[question][]byte{}}
	m.store = keystoretest.NewStore(t, func(c *keystore.Config) { c.Now = func() time.Time { return time.Unix(1_700_000_000, 0) } })
	m.ops = operations.New(operations.Config{Store: m.store})
	hash, err := users.NewHash(secret.Own([]byte(password)))
	if err != nil {
		t.Fatal(err)
	}
	registry, err := users.NewRegistry(users.Config{}, []users.User{
		{Name: "Fred", Group: "storage", Password: hash}, {Name: "Barney", Group: "storage", Password: hash}, {Name: "Fred", Group: "other", Password: hash}})
	if err != nil {
		t.Fatal(err)
	}
	m.server = kmiptest.Start(t, m.ops, kmiptest.Options{
		Authenticate: func(ctx context.Context, p *operations.Principal, credentials []kmip.Credential) (string, error) {
			return registry.Authenticate(ctx, users.Client{Name: p.Client, Group: p.Group}, credentials)
		},
	}).KMIP
	return m
}

// requestFor is the request that the matrix makes of an operation: one that
// works for the owner of an object in a suitable condition.
var requestFor = map[kmip14.Operation]func(uid []byte) kmip.Payload{
	kmip14.OperationCreate:           func([]byte) kmip.Payload { return newKey() },
	kmip14.OperationRegister:         func([]byte) kmip.Payload { return registered() },
	kmip14.OperationQuery:            func([]byte) kmip.Payload { return &kmip.QueryRequest{Functions: []kmip14.QueryFunction{1}} },
	kmip14.OperationDiscoverVersions: func([]byte) kmip.Payload { return &kmip.DiscoverVersionsRequest{} },
	kmip14.OperationPoll:             func([]byte) kmip.Payload { return &kmip.PollRequest{AsynchronousCorrelationValue: []byte("none")} },
	kmip14.OperationCancel:           func([]byte) kmip.Payload { return &kmip.CancelRequest{AsynchronousCorrelationValue: []byte("none")} },
	kmip14.OperationLocate: func([]byte) kmip.Payload {
		return &kmip.LocateRequest{StorageStatusMask: 7, HasStorageStatusMask: true}
	},
	kmip14.OperationReKey:            func(uid []byte) kmip.Payload { return &kmip.ReKeyRequest{UniqueIdentifier: uid} },
	kmip14.OperationGet:              func(uid []byte) kmip.Payload { return &kmip.GetRequest{UniqueIdentifier: uid} },
	kmip14.OperationGetAttributes:    func(uid []byte) kmip.Payload { return &kmip.GetAttributesRequest{UniqueIdentifier: uid} },
	kmip14.OperationGetAttributeList: justTheIdentifier,
	kmip14.OperationCheck: func(uid []byte) kmip.Payload {
		return &kmip.CheckRequest{UniqueIdentifier: uid, CryptographicUsageMask: kmip14.CryptographicUsageMaskEncrypt, HasCryptographicUsageMask: true}
	},
	kmip14.OperationObtainLease: justTheIdentifier,
	kmip14.OperationAddAttribute: func(uid []byte) kmip.Payload {
		return &kmip.AddAttributeRequest{UniqueIdentifier: uid, Attribute: kmip.TextAttribute("x-added", "1")}
	},
	kmip14.OperationModifyAttribute: func(uid []byte) kmip.Payload {
		return &kmip.ModifyAttributeRequest{UniqueIdentifier: uid, Attribute: kmip.TextAttribute("x-there", "1")}
	},
	kmip14.OperationDeleteAttribute: func(uid []byte) kmip.Payload {
		return &kmip.DeleteAttributeRequest{UniqueIdentifier: uid, Name: []byte("x-there")}
	},
	kmip14.OperationGetUsageAllocation: func(uid []byte) kmip.Payload {
		return &kmip.GetUsageAllocationRequest{UniqueIdentifier: uid, UsageLimitsCount: 1}
	},
	kmip14.OperationActivate: justTheIdentifier,
	kmip14.OperationRevoke: func(uid []byte) kmip.Payload {
		return &kmip.RevokeRequest{UniqueIdentifier: uid, Reason: kmip.RevocationReason{Code: kmip14.RevocationReasonCodeKeyCompromise}}
	},
	kmip14.OperationDestroy: justTheIdentifier,
	kmip14.OperationArchive: justTheIdentifier,
	kmip14.OperationRecover: justTheIdentifier,
}

func justTheIdentifier(uid []byte) kmip.Payload {
	return &kmip.IdentifierRequest{UniqueIdentifier: uid}
}

func newKey(more ...kmip.Attribute) *kmip.CreateRequest {
	return &kmip.CreateRequest{ObjectType: kmip14.ObjectTypeSymmetricKey, Template: kmip.TemplateAttribute{Attributes: append(more,
		kmip.EnumerationAttribute("Cryptographic Algorithm", kmip14.CryptographicAlgorithmAES),
		kmip.IntegerAttribute("Cryptographic Length", 256),
		kmip.IntegerAttribute("Cryptographic Usage Mask", 12))}}
}

func registered() *kmip.RegisterRequest {
	return &kmip.RegisterRequest{ObjectType: kmip14.ObjectTypeOpaqueObject, Object: structure(kmip14.TagOpaqueObject, func(w *ttlv.Writer) {
		w.Enumeration(kmip14.TagOpaqueDataType, 0x80000001)
		w.ByteString(kmip14.TagOpaqueDataValue, []byte{1})
	})}
}

// usageLimits is an attribute that allows more than the matrix uses up.
func usageLimits() kmip.Attribute {
	return kmip.Attribute{Name: []byte("Usage Limits"), Value: structure(kmip14.TagAttributeValue, func(w *ttlv.Writer) {
		w.LongInteger(kmip14.TagUsageLimitsTotal, 1<<40)
		w.Enumeration(kmip14.TagUsageLimitsUnit, uint32(kmip14.UsageLimitsUnitByte))
	})}
}

func structure(tag ttlv.Tag, fill func(*ttlv.Writer)) ttlv.Item {
	var w ttlv.Writer
	s := w.Begin(tag)
	fill(&w)
	w.End(s)
	it, err := ttlv.Parse(w.Bytes())
	if err != nil {
		panic(err)
	}
	return it
}

// send is one message of one item.
func (m *matrix) send(who asker, v kmip.Version, op kmip14.Operation, uid []byte) []byte {
	m.t.Helper()
	item := kmip.RequestItem{Operation: op, Payload: payloadOf(m.t, v, requestFor[op](uid))}
	return m.server.Handle(m.t.Context(), who.principal, withUser(v, who.user, password, item), nil)
}

// want is send that must work, by 1.4.
func (m *matrix) want(op kmip14.Operation, payload kmip.Payload) kmip.ResponseItem {
	m.t.Helper()
	fred := askers[owner]
	item := kmip.RequestItem{Operation: op, Payload: payloadOf(m.t, kmip.V1_4, payload)}
	answer := parse(m.t, m.server.Handle(m.t.Context(), fred.principal, withUser(kmip.V1_4, fred.user, password, item), nil))
	wantSuccess(m.t, answer)
	return answer.Items[0]
}

// steps lead from a new key to a condition.
var steps = map[condition][]kmip14.Operation{
	preActive:            nil,
	active:               {kmip14.OperationActivate},
	deactivated:          {kmip14.OperationActivate, retire},
	compromised:          {kmip14.OperationRevoke},
	destroyed:            {kmip14.OperationDestroy},
	destroyedCompromised: {kmip14.OperationRevoke, kmip14.OperationDestroy},
	archivedPreActive:    {kmip14.OperationArchive},
	archivedActive:       {kmip14.OperationActivate, kmip14.OperationArchive},
	archivedDeactivated:  {kmip14.OperationActivate, retire, kmip14.OperationArchive},
	archivedCompromised:  {kmip14.OperationRevoke, kmip14.OperationArchive},
}

// retire stands for a Revoke that is no compromise.
const retire = kmip14.Operation(0xFFFF)

// object returns an object of Fred's with that policy in that condition.
func (m *matrix) object(policy string, is condition) object {
	m.t.Helper()
	at := cell{policy: policy, is: is}
	if o, ok := m.stock[at]; ok {
		return o
	}
	var made kmip.CreateResponse
	item := m.want(kmip14.OperationCreate, newKey(kmip.TextAttribute("Operation Policy Name", policy), kmip.TextAttribute("x-there", "0"), usageLimits()))
	if err := made.Decode(item.Payload, kmip.V1_4); err != nil {
		m.t.Fatal(err)
	}
	uid := bytes.Clone(made.UniqueIdentifier)
	for _, op := range steps[is] {
		if op == retire {
			m.want(kmip14.OperationRevoke, &kmip.RevokeRequest{UniqueIdentifier: uid, Reason: kmip.RevocationReason{Code: kmip14.RevocationReasonCodeCessationOfOperation}})
			continue
		}
		m.want(op, requestFor[op](uid))
	}
	m.stock[at] = object{uid, m.version(uid)}
	return m.stock[at]
}

// version is that of an object's record.
func (m *matrix) version(uid []byte) (version uint64) {
	m.t.Helper()
	id, ok := keystore.ParseUID(uid)
	if !ok {
		m.t.Fatalf("%s is no identifier", uid)
	}
	admin := &keystore.Principal{Client: "test", Admin: true}
	err := m.store.Do(m.t.Context(), admin, false, inspection(func(tx *keystore.Tx) error {
		o, err := tx.Object(id)
		if err == nil {
			version = o.Version
		}
		return err
	}))
	if err != nil {
		m.t.Fatal(err)
	}
	return version
}

type inspection func(*keystore.Tx) error

func (f inspection) Run(b *keystore.Batch) error {
	return b.Do(&keystore.Op{Name: "Inspect", Class: keystore.OpObserve}, f)
}
func (f inspection) Apply(tx *keystore.Tx) error { return f(tx) }

// TestAuthorizationMatrix asks for every cell, in every version, and holds the
// answer against the rule that the cell falls under. What is refused has changed
// nothing; and what another group is told is, byte for byte, what it is told of
// an object that is not there.
func TestAuthorizationMatrix(t *testing.T) {
	m := newMatrix(t)
	cells := 0
	used := map[string]bool{}
	for op := kmip14.Operation(1); op <= kmip14.OperationExport; op++ {
		row := m.ops.Row(op)
		if row == nil {
			continue
		}
		if classes[op] == "" || requestFor[op] == nil {
			t.Errorf("%v has no class in the matrix, or no request: say in matrix_rules_test.go what it is to others, and what becomes of it", op)
			continue
		}
		for who := range askers {
			for _, policy := range keystore.PolicyNames() {
				for _, is := range conditions {
					c := cell{op, who, policy, is}
					r := expected(c)
					if r == nil {
						t.Errorf("no rule fits %v by %s, policy %s, %s", op, who, policy, is)
						continue
					}
					used[r.section] = true
					for _, v := range kmip.Versions() {
						if kmip.OperationIn(op, v) {
							m.try(c, r, v)
							cells++
						}
					}
				}
			}
		}
	}
	for _, r := range rules {
		if !used[r.section] && !fits(r.who, absent) {
			t.Errorf("a rule that no cell falls under: %s", r.section)
		}
	}
	t.Logf("%d cells", cells)
}

// try asks for one cell.
func (m *matrix) try(c cell, r *rule, v kmip.Version) {
	m.t.Helper()
	o := m.object(c.policy, c.is)
	uid := o.uid
	raw := m.send(askers[c.who], v, c.op, uid)
	where := fmt.Sprintf("%v by %s, policy %s, %s, in %v", c.op, c.who, c.policy, c.is, v)
	answer := parse(m.t, raw)
	if len(answer.Items) != 1 {
		m.t.Fatalf("%s: %d items", where, len(answer.Items))
	}
	got := answer.Items[0].Reason
	if got != r.result {
		m.t.Errorf("%s: %v (%s), want %v by %q", where, got, answer.Items[0].Message, r.result, r.section)
	}
	if m.version(uid) != o.version {
		delete(m.stock, cell{policy: c.policy, is: c.is}) // the next cell gets a new one
		if got != success || c.who != owner && c.who != otherClient && !marks(c.op) {
			m.t.Errorf("%s: the object was changed", where)
		}
	}
	switch classes[c.op] {
	case finds:
		m.wantFound(where, answer.Items[0], v, uid, c)
	case looks, uses:
		m.wantLikeAbsent(where, raw, v, c)
	}
}

// wantLikeAbsent compares what is said of an object with what is said of none:
// the same for another group, and Item Not Found for anybody.
func (m *matrix) wantLikeAbsent(where string, raw []byte, v kmip.Version, c cell) {
	m.t.Helper()
	q := question{c.op, c.who, v}
	none := m.none[q]
	if none == nil {
		none = m.send(askers[c.who], v, c.op, []byte(m.store.NewUID().String()))
		m.none[q] = none
	}
	if strangers := c.who == otherGroup || c.who == namesake; strangers && !bytes.Equal(raw, none) {
		m.t.Errorf("%s: the answer tells it from an object that is not there:\n%x\n%x", where, raw, none)
	}
	c.who = absent
	if got := parse(m.t, none).Items[0].Reason; got != expected(c).result {
		m.t.Errorf("%s, but of an object that is not there: %v, want %v", where, got, expected(c).result)
	}
}

// wantFound holds what Locate finds against what Get Attributes may see.
func (m *matrix) wantFound(where string, item kmip.ResponseItem, v kmip.Version, uid []byte, c cell) {
	m.t.Helper()
	var found kmip.LocateResponse
	if err := found.Decode(item.Payload, v); err != nil {
		m.t.Fatalf("%s: %v", where, err)
	}
	there := false
	for _, id := range found.UniqueIdentifiers {
		there = there || bytes.Equal(id, uid)
	}
	c.op = kmip14.OperationGetAttributes
	if want := expected(c).result == success; there != want {
		m.t.Errorf("%s: found %v, want %v", where, there, want)
	}
}

// A matrix that cannot fail proves nothing: what would be wrong to allow is
// refused by the rules, by name, whatever order they stand in.
func TestMatrixRules(t *testing.T) {
	for op, is := range classes {
		if is != looks && is != uses {
			continue
		}
		for _, c := range conditions {
			for who, want := range map[relation]kmip14.ResultReason{
				otherGroup: kmip14.ResultReasonItemNotFound, namesake: kmip14.ResultReasonItemNotFound, absent: kmip14.ResultReasonItemNotFound,
				otherUser: kmip14.ResultReasonPermissionDenied, client: kmip14.ResultReasonPermissionDenied,
			} {
				r := expected(cell{op, who, "default", c})
				if r == nil || r.result != want {
					t.Errorf("%v by %s, %s: the rules say %+v, want %v", op, who, c, r, want)
				}
			}
		}
	}
	if r := expected(cell{kmip14.OperationSign, owner, "default", active}); r != nil {
		t.Errorf("an operation without a rule falls under %q", r.section)
	}
}

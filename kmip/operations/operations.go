package operations

import (
	"context"
	"errors"
	"log/slog"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/kmip"
)

// The store's types that a server needs, so that it need not import the store.
type (
	// Principal is who asks; see keystore.Principal.
	Principal = keystore.Principal
	// Batch is one message inside the store; see keystore.Batch.
	Batch = keystore.Batch
	// Tx is one batch item inside the store; see keystore.Tx.
	Tx = keystore.Tx
)

// Config is what Operations need. Store is required.
type Config struct {
	Store *keystore.Store
	// VendorIdentification is what Query answers; "Keyreeve" if empty. vCenter
	// shows it in its events.
	VendorIdentification string
	// ServerInformation are the lines of Query's Server Information, a
	// structure that each vendor fills as it likes; none if empty.
	ServerInformation []string
	// LeaseTime is the Lease Time of objects that have none of their own, in
	// seconds; 3600 if zero.
	LeaseTime uint32
	// LocateLimit bounds how many identifiers one Locate returns, whatever the
	// client asks for; 10,000 if zero.
	LocateLimit int
	// RefuseInactive makes Get refuse keys that are Deactivated or Compromised,
	// with Permission Denied. The specification leaves it to the client what
	// such a key is good for, so the default is to serve them.
	RefuseInactive bool
	// MakeFreshKeys makes a Locate of a fresh member of the Object Group
	// "default" make a key, AES-256, when there is none. Each Locate is then
	// journalled like a release, durably.
	MakeFreshKeys bool
	// Profiles are the conformance profiles that Query claims; none if empty.
	Profiles []kmip14.ProfileName
	// Healthy, if not nil, is asked before Query and Discover Versions answer:
	// clients take those for a sign that keys can be read. Its error is
	// answered with General Failure. It must be cheap and safe for concurrent
	// use.
	Healthy func() error
	Logger  *slog.Logger // nil discards
}

// Operations carries out KMIP operations on one store. It is safe for
// concurrent use; a Call is not.
type Operations struct {
	store  *keystore.Store
	config Config
	rows   [rowCount]*Row        // by Operation; nil: not supported
	rules  []*kmip.AttributeRule // of all attributes, in the specification's order
	query  kmip.QueryResponse    // the answer to all functions; read only
	offers offers
}

// New returns Operations on the store. It panics without one.
func New(c Config) *Operations {
	if c.Store == nil {
		panic("operations: a Store is required")
	}
	o := &Operations{store: c.Store, config: c.withDefaults(), rules: kmip.Attributes()}
	for i := range table {
		o.rows[table[i].Operation] = &table[i]
	}
	if c.MakeFreshKeys {
		locate := *o.rows[kmip14.OperationLocate]
		locate.Op = release("Locate") // an observation could not write
		o.rows[kmip14.OperationLocate] = &locate
	}
	o.query = o.newQueryAnswer()
	return o
}

func (c Config) withDefaults() Config {
	if c.VendorIdentification == "" {
		c.VendorIdentification = "Keyreeve"
	}
	if c.LeaseTime == 0 {
		c.LeaseTime = 3600
	}
	if c.LocateLimit <= 0 {
		c.LocateLimit = 10_000
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Row returns the row of the operation, nil if it is not supported. Whether it
// exists in a message's version is for the caller to ask (Row.Since).
func (o *Operations) Row(op kmip14.Operation) *Row {
	if op >= rowCount {
		return nil
	}
	return o.rows[op]
}

// Prepare decodes the call's payload and does the work that needs no
// transaction. The caller has set Version, Payload and Placeholder. On an error
// the item fails with it, and Apply is not called.
func (o *Operations) Prepare(_ context.Context, r *Row, c *Call) error {
	c.key.Reset(c.key.Bytes())
	return r.prepare(o, c)
}

// Apply runs the call inside the store and appends the fields of the response
// payload to c.W; on an error, what it appended is for the caller to take back.
// It may be called again after a conflict, and then starts afresh. tx may be
// nil when the row needs no store.
func (o *Operations) Apply(tx *Tx, r *Row, c *Call) error {
	return r.apply(o, tx, c)
}

// Do is the store's one door; see keystore.Store.Do.
func (o *Operations) Do(ctx context.Context, p *Principal, changes bool, w keystore.Work) error {
	return o.store.Do(ctx, p, changes, w)
}

// Refuse records in the journal that a message of p's was not carried out, and
// why. Its error is the store's.
func (o *Operations) Refuse(ctx context.Context, p *Principal, reason string) error {
	err := o.store.Do(ctx, p, false, refusal(reason))
	if errors.Is(err, keystore.ErrPermission) {
		return nil
	}
	return err
}

// A refusal is a message that is only noted as refused.
type refusal string

var opAuthenticate = observe("Authenticate")

// Run records the refusal.
func (r refusal) Run(b *Batch) error { return b.Do(&opAuthenticate, r) }

// Apply refuses.
func (r refusal) Apply(tx *Tx) error { return tx.Refuse(string(r)) }

// A Row is one operation of the table.
type Row struct {
	Operation kmip14.Operation
	Op        keystore.Op
	Since     kmip.Version // the version that the operation came with

	prepare func(o *Operations, c *Call) error
	apply   func(o *Operations, tx *Tx, c *Call) error
}

// Changes tells whether the operation changes objects, so that it needs a
// transaction that writes.
func (r *Row) Changes() bool { return r.Op.Class == keystore.OpChange }

// NeedsStore tells whether the operation looks at objects at all.
func (r *Row) NeedsStore() bool { return r.Op.Class != keystore.OpNone }

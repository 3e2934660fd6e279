package operations

import (
	"context"
	"log/slog"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
	"github.com/keyreeve/keyreeve/keystore"
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
	// client asks for; 1000 if zero.
	LocateLimit int
	// Healthy, if not nil, is asked before Query and Discover Versions answer:
	// clients take those for a sign that keys can be read. Its error is
	// answered with General Failure. It must be cheap and safe for concurrent
	// use.
	Healthy func() error
	Logger  *slog.Logger // nil: slog.Default
}

// Operations carries out KMIP operations on one store. It is safe for
// concurrent use; a Call is not.
type Operations struct {
	store  *keystore.Store
	config Config
	rows   [rowCount]*Row // by Operation; nil: not supported
	query  queryAnswer
}

// New returns Operations on the store. It panics without one.
func New(c Config) *Operations {
	if c.Store == nil {
		panic("operations: a Store is required")
	}
	o := &Operations{store: c.Store, config: c.withDefaults()}
	for i := range table {
		o.rows[table[i].Operation] = &table[i]
	}
	o.query = newQueryAnswer(o.config)
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
		c.LocateLimit = 1000
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
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

// A Call is one batch item under way. The server fills in the exported fields,
// W between Prepare and Apply, and calls Reset after the answer has left. A
// Call may be reused for any operation; it is not safe for concurrent use.
type Call struct {
	Version     kmip.Version
	Payload     ttlv.Item    // the Request Payload, a view of the request's buffer
	W           *ttlv.Writer // gets the fields of the Response Payload
	Placeholder *Placeholder // of the message

	request requests
}

// Reset drops every view of the message and clears key material; the memory
// of slices is kept.
func (c *Call) Reset() {}

// A Placeholder is the ID Placeholder of a message (section 4): the Unique
// Identifier that requests without one stand for. It is set by the operations
// that make or find exactly one object. The zero value is empty. The server
// copies it before an item and puts the copy back when the item is dropped.
type Placeholder struct {
	uid keystore.UID
	set bool
}

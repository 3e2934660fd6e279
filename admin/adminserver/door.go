package adminserver

import (
	"context"

	"github.com/keyreeve/keyreeve/keystore"
)

// What an admin does, as the journal names it.
var (
	opCreateCA    = keystore.Op{Name: "Create CA", Class: keystore.OpChange}
	opEnrol       = keystore.Op{Name: "Enrol Client", Class: keystore.OpChange}
	opRevoke      = keystore.Op{Name: "Revoke Client", Class: keystore.OpChange, Urgent: true}
	opAddAdmin    = keystore.Op{Name: "Add Admin", Class: keystore.OpChange}
	opRevokeAdmin = keystore.Op{Name: "Revoke Admin", Class: keystore.OpChange, Urgent: true}
	opOpen        = keystore.Op{Name: "Load Clients", Class: keystore.OpNone} // the server reads what it serves with: nobody asked
	opListKeys    = keystore.Op{Name: "List Keys", Class: keystore.OpObserve}
	opShowKey     = keystore.Op{Name: "Show Key", Class: keystore.OpObserve}
	opRequire     = keystore.Op{Name: "Require User", Class: keystore.OpChange}
	opAddUser     = keystore.Op{Name: "Add User", Class: keystore.OpChange}
	opPassword    = keystore.Op{Name: "Set Password", Class: keystore.OpChange, Urgent: true}
	opRemove      = keystore.Op{Name: "Remove User", Class: keystore.OpChange, Urgent: true}
	opLoadUsers   = keystore.Op{Name: "Load Users", Class: keystore.OpNone}
)

type work func(*keystore.Batch) error

func (w work) Run(b *keystore.Batch) error { return w(b) }

type action func(*keystore.Tx) error

func (a action) Apply(tx *keystore.Tx) error { return a(tx) }

// do runs fn as the one item of a message through the store's door.
func do(ctx context.Context, store *keystore.Store, p *keystore.Principal, op *keystore.Op, fn func(*keystore.Tx) error) error {
	changes := op.Class == keystore.OpChange
	return store.Do(ctx, p, changes, work(func(b *keystore.Batch) error { return b.Do(op, action(fn)) }))
}

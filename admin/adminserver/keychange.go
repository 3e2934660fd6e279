package adminserver

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/keystore"
)

// What an administrator does to keys, as the journal names it. Revoke and
// Destroy may use what is held back of a full disk, as KMIP's may.
var (
	opActivateKey   = keystore.Op{Name: "Activate Key", Class: keystore.OpChange}
	opRevokeKey     = keystore.Op{Name: "Revoke Key", Class: keystore.OpChange, Urgent: true}
	opDestroyKey    = keystore.Op{Name: "Destroy Key", Class: keystore.OpChange, Urgent: true}
	opRecoverKey    = keystore.Op{Name: "Recover Key", Class: keystore.OpChange}
	opReactivateKey = keystore.Op{Name: "Reactivate Key", Class: keystore.OpChange}
)

// A keyMove is an administrator's change of a key's state.
type keyMove struct {
	op *keystore.Op
	// already tells that the key is where the move leads, so that a command that
	// is run again does no harm and does not fail.
	already func(o *keystore.Object) bool
	move    func(tx *keystore.Tx, o *keystore.Object, reason string) error
	hint    string // when its state does not allow it
}

var (
	activateKey = keyMove{op: &opActivateKey,
		already: func(o *keystore.Object) bool { return o.State == keystore.Active },
		move:    func(tx *keystore.Tx, o *keystore.Object, _ string) error { return tx.Activate(o) },
		hint:    "only a pre-active key can be activated; keyreeve key reactivate is for a deactivated one",
	}
	destroyKey = keyMove{op: &opDestroyKey,
		already: destroyed,
		move:    func(tx *keystore.Tx, o *keystore.Object, _ string) error { return tx.Destroy(o) },
		hint:    "an active key is not destroyed: revoke it first (keyreeve key revoke), and see that nothing fails without it",
	}
	recoverKey = keyMove{op: &opRecoverKey,
		already: func(o *keystore.Object) bool { return !destroyed(o) },
		move:    undestroy,
	}
	reactivateKey = keyMove{op: &opReactivateKey,
		already: func(o *keystore.Object) bool { return o.State == keystore.Active },
		move:    func(tx *keystore.Tx, o *keystore.Object, reason string) error { return tx.Reactivate(o, reason) },
		hint:    "only a deactivated key becomes active again: a compromised one never does, a destroyed one must be recovered first",
	}
)

func undestroy(tx *keystore.Tx, o *keystore.Object, reason string) error {
	err := tx.Undestroy(o, reason)
	if errors.Is(err, keystore.ErrNotFound) { // of the tombstone: the object is there
		return &admin.Error{Code: admin.CodeRefused, Message: fmt.Sprintf("key %s cannot be brought back: its grace period is over and its material gone", o.UniqueIdentifier),
			Hint: "a backup from before may have it: restore that beside this store"}
	}
	return err
}

func revokeKey(code uint32, occurred keystore.Date) keyMove {
	compromise := code == 2 || code == 3 // section 9.1.3.2.19
	return keyMove{op: &opRevokeKey,
		already: func(o *keystore.Object) bool {
			if compromise {
				return o.State == keystore.Compromised || o.State == keystore.DestroyedCompromised
			}
			return o.State == keystore.Deactivated
		},
		move: func(tx *keystore.Tx, o *keystore.Object, reason string) error {
			return tx.Revoke(o, code, reason, occurred)
		},
		hint: "only an active key can be deactivated; a compromise can be said of every key: --code key-compromise",
	}
}

func (s *Server) activateKey(c *call, req admin.KeyChange) (admin.KeyChanged, error) {
	return s.moveKey(c, activateKey, req.Reason)
}

// destroyKey destroys a key. One that is in use is destroyed only if a machine or
// host is named that uses it, which nobody does by mistake.
func (s *Server) destroyKey(c *call, req admin.KeyDestruction) (admin.KeyChanged, error) {
	move := destroyKey
	if req.UsedBy != "" {
		move.move = func(tx *keystore.Tx, o *keystore.Object, reason string) error {
			return tx.DestroyInUse(o, reason, req.UsedBy)
		}
	}
	return s.moveKey(c, move, req.Reason)
}

func (s *Server) recoverKey(c *call, req admin.KeyChange) (admin.KeyChanged, error) {
	return s.moveKey(c, recoverKey, req.Reason)
}

func (s *Server) reactivateKey(c *call, req admin.KeyChange) (admin.KeyChanged, error) {
	return s.moveKey(c, reactivateKey, req.Reason)
}

func (s *Server) revokeKey(c *call, req admin.KeyRevocation) (answer admin.KeyChanged, err error) {
	if req.Code == "" {
		req.Code = admin.Unspecified
	}
	code := slices.Index(req.Code.Values(), string(req.Code)) + 1
	if code == 0 {
		return answer, badRequest("unknown code %q: want one of %s", req.Code, strings.Join(req.Code.Values(), ", "))
	}
	var occurred keystore.Date
	if !req.OccurredAt.IsZero() {
		occurred = keystore.At(req.OccurredAt.Unix())
	}
	return s.moveKey(c, revokeKey(uint32(code), occurred), req.Reason)
}

// moveKey changes a key's state, with the reason in the journal.
func (s *Server) moveKey(c *call, m keyMove, reason string) (answer admin.KeyChanged, err error) {
	if reason = strings.TrimSpace(reason); reason == "" {
		return answer, badRequest("a reason must be given, for the journal")
	}
	if len(reason) > maxReason {
		return answer, badRequest("the reason has %d bytes; at most %d are kept", len(reason), maxReason)
	}
	uid, err := s.uid(c)
	if err != nil {
		return answer, err
	}
	err = do(c.context(), s.cfg.Store, c.by, m.op, func(tx *keystore.Tx) error {
		o, changed, err := m.apply(tx, uid, reason)
		if err != nil {
			return err
		}
		answer.Changed = changed
		answer.Key, err = details(tx, o, s.cfg.Backups.Stamp())
		return err
	})
	if err != nil {
		return admin.KeyChanged{}, m.explain(c, err)
	}
	if answer.Changed {
		s.cfg.Logger.Info("key changed by an administrator", "what", m.op.Name, "key", uid.String(), "state", answer.Key.State, "reason", reason, "by", c.by.User)
	}
	return answer, nil
}

const maxReason = 512 // bytes

func (m keyMove) apply(tx *keystore.Tx, uid keystore.UID, reason string) (o *keystore.Object, changed bool, err error) {
	if err := tx.Explain(reason); err != nil {
		return nil, false, err
	}
	if o, err = tx.Edit(uid); err != nil || m.already(o) {
		return o, false, err
	}
	return o, true, m.move(tx, o, reason)
}

func (m keyMove) explain(c *call, err error) error {
	if errors.Is(err, keystore.ErrInUse) {
		return &admin.Error{Code: admin.CodeRefused, Message: err.Error(),
			Hint: "move or delete what uses it; the next two complete inventories that do not name the key release it. Revoking it is not held back"}
	}
	if errors.Is(err, keystore.ErrState) || errors.Is(err, keystore.ErrInvalid) {
		return &admin.Error{Code: admin.CodeRefused, Message: err.Error(), Hint: m.hint}
	}
	if errors.Is(err, keystore.ErrConfirm) {
		return &admin.Error{Code: admin.CodeRefused, Message: err.Error(), Hint: "nothing was destroyed; keyreeve key show says by whom the key is used"}
	}
	return absent(c, err)
}

package keystore

import (
	"context"
	"fmt"
	"slices"

	"github.com/keyreeve/keyreeve/audit"
)

// openGroup is the commit with which a store begins: a head that names the
// journal's note of it, and, if the list of indexed attributes is another one
// than last time, their index entries.
type openGroup struct {
	group
	position audit.Position
}

func (g *openGroup) commitOpen() error {
	s := g.store
	b := s.newBatch().(*Batch)
	b.tx.principal, b.tx.op = adminPrincipal, &Op{Name: "Reindex", Class: OpChange}
	b.tx.box.init(s.keys)
	err := s.cfg.Backend.Update(context.Background(), func(kv KV) error {
		if err := g.run(kv); err != nil {
			return err
		}
		if slices.Equal(g.head.indexed, s.indexed) {
			return nil
		}
		b.begin(kv, &g.head, g.now)
		return b.tx.reindexAll(s.indexed)
	}, func(kv KV) error {
		g.head.position = g.position
		return g.prepare(kv)
	})
	b.tx.end()
	if err != nil {
		return fmt.Errorf("writing the first commit: %w", err)
	}
	h := g.head
	s.head.Store(&h)
	s.cfg.Journal.SetCommitted(h.position.Seq)
	return nil
}

// reindexAll gives every object the entries of another list of indexed
// attributes, in one transaction.
func (tx *Tx) reindexAll(indexed []string) error {
	tx.store.cfg.Logger.Info("keystore: the list of indexed attributes has changed, indexing anew", "from", tx.head.indexed, "to", indexed)
	uids, err := tx.gather([]byte{familyObject}, nil)
	if err != nil {
		return err
	}
	before := tx.head.indexed
	for _, uid := range uids {
		if err := tx.reindexOne(uid, before, indexed); err != nil {
			return err
		}
	}
	tx.head.indexed = indexed
	return nil
}

func (tx *Tx) reindexOne(uid UID, before, after []string) error {
	defer tx.release(tx.used)
	o, err := tx.stored(uid)
	if err != nil || o == nil {
		return err
	}
	return tx.swap(tx.box.indexKeys(o, before), tx.box.indexKeys(o, after))
}

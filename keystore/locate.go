package keystore

import (
	"bytes"
	"slices"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// A Query says what Locate looks for. All that is set must hold; the zero
// Query finds everything that the principal may read.
type Query struct {
	Type  ObjectType // 0: any
	State State      // 0: any; with the transitions applied that are due
	Terms []Term
	// Match is the rest of the filters, run on what the others have left. The
	// object is valid during the call and has no Value. nil: all match.
	Match func(*Object) bool
}

// A Term is an attribute that an object must have, at any index. The order of
// Terms does not matter.
type Term struct {
	Attribute string
	// Value is the attribute's value in the wire's encoding, under any tag. Of
	// a Name only the Name Value is compared.
	Value ttlv.Item
}

// Locate visits the objects that the query finds and the principal may read,
// by ascending Unique Identifier, so oldest first, until visit returns false.
// The object is valid during the call and has no Value. An administrator finds
// the objects of all groups.
//
// Name, Object Group, Application Specific Information, the configured custom
// attributes, and otherwise Object Type and State narrow the candidates by an
// index; an administrator's query walks the whole store.
func (tx *Tx) Locate(q Query, visit func(o *Object) (more bool)) error {
	uids, err := tx.candidates(q)
	if err != nil {
		return err
	}
	for _, uid := range uids {
		more, err := tx.consider(uid, q, visit)
		if err != nil || !more {
			return err
		}
	}
	return nil
}

func (tx *Tx) consider(uid UID, q Query, visit func(o *Object) bool) (more bool, err error) {
	defer tx.release(tx.used)
	o, err := tx.read(uid)
	if err != nil || o == nil || tx.principal.may(o, toLook) != nil {
		return err == nil, err
	}
	o.Value = ttlv.Item{}
	if !q.matches(o) {
		return true, nil
	}
	return visit(o), nil
}

// matches verifies everything on the opened record: an index only narrows.
func (q *Query) matches(o *Object) bool {
	if q.Type != 0 && o.Type != q.Type || q.State != 0 && o.State != q.State {
		return false
	}
	for _, t := range q.Terms {
		if !t.matches(o) {
			return false
		}
	}
	return q.Match == nil || q.Match(o)
}

func (t *Term) matches(o *Object) bool {
	for _, a := range o.Attributes() {
		if a.Name != t.Attribute {
			continue
		}
		if t.Attribute == nameAttribute && bytes.Equal(nameValue(a.Value), nameValue(t.Value)) ||
			t.Attribute != nameAttribute && bytes.Equal(untagged(a.Value), untagged(t.Value)) {
			return true
		}
	}
	return false
}

// candidates returns, in order, at least all that the query can find. The
// narrowest index is taken: a Name finds one object or none, other values
// some, type and state many.
func (tx *Tx) candidates(q Query) (uids []UID, err error) {
	if tx.principal.Admin {
		return tx.gather([]byte{familyObject}, nil)
	}
	term := tx.indexedTerm(q.Terms)
	if term != nil {
		uids, err = tx.gather(tx.box.appendTerm(nil, tx.principal.Group, term.Attribute, term.Value), nil)
	} else {
		uids, err = tx.byState(q)
	}
	slices.SortFunc(uids, func(a, b UID) int { return bytes.Compare(a[:], b[:]) })
	return uids, err
}

func (tx *Tx) indexedTerm(terms []Term) (found *Term) {
	for i := range terms {
		switch {
		case terms[i].Attribute == nameAttribute:
			return &terms[i]
		case found == nil && isIndexed(tx.store.indexed, terms[i].Attribute):
			found = &terms[i]
		}
	}
	return found
}

// byState gathers from the index of types and states: what is stored in the
// state, and what is due to leave the states before it.
func (tx *Tx) byState(q Query) (uids []UID, err error) {
	prefix := tx.box.appendGroup(nil, tx.principal.Group)
	if q.Type == 0 && q.State == 0 {
		return tx.gather(prefix, nil)
	}
	for t := Certificate; t <= PGPKey; t++ {
		if q.Type != 0 && q.Type != t {
			continue
		}
		ofType := append(prefix[:len(prefix):len(prefix)], byte(t))
		if q.State == 0 {
			uids, err = tx.gather(ofType, uids)
		} else {
			uids, err = tx.ofState(ofType, q.State, uids)
		}
		if err != nil {
			return nil, err
		}
	}
	return uids, nil
}

func (tx *Tx) ofState(prefix []byte, state State, uids []UID) ([]UID, error) {
	uids, err := tx.gather(append(prefix[:len(prefix):len(prefix)], byte(state)), uids)
	for s := PreActive; s < state && s <= Active && err == nil; s++ {
		from := append(prefix[:len(prefix):len(prefix)], byte(s))
		due := appendWhen(from[:len(from):len(from)], At(tx.now+1))
		err = tx.kv.Range(from, nil, func(key, _ []byte) bool {
			if bytes.Compare(key, due) >= 0 {
				return false
			}
			uids = append(uids, UID(key[len(key)-len(UID{}):]))
			return true
		})
	}
	return uids, err
}

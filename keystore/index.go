package keystore

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// Index keys. They hold HMACs, so that the file tells neither names nor
// groups; their values are empty.
//
//	n ‖ HMAC(group, name)[:16] ‖ uid
//	x ‖ HMAC(group, attribute, value)[:16] ‖ uid
//	i ‖ HMAC(group)[:8] ‖ type ‖ stored state ‖ next transition:8 ‖ uid
//
// The next transition stands before the uid so that Locate by State finds, at
// the front of a state's range, what a date has moved to another state since.
const (
	termSize  = 16
	groupSize = 8
)

// Attributes with an index of their own, besides the configured ones.
const (
	nameAttribute        = "Name"
	groupAttribute       = "Object Group"
	applicationAttribute = "Application Specific Information"
)

// isIndexed tells whether Locate finds values of the attribute by index.
func isIndexed(configured []string, attribute string) bool {
	switch attribute {
	case nameAttribute, groupAttribute, applicationAttribute:
		return true
	}
	return slices.Contains(configured, attribute)
}

// nameValue returns the text of a Name.
func nameValue(name ttlv.Item) []byte {
	b, err := name.Find(tagNameValue).Text()
	if err != nil {
		return nil
	}
	return b
}

// untagged is a value's encoding without the tag, which differs between an
// attribute and a field.
func untagged(value ttlv.Item) []byte {
	if value.IsZero() {
		return nil
	}
	return value.Raw()[3:]
}

// appendTerm appends the prefix under which objects with that attribute are
// found.
func (s *sealer) appendTerm(key []byte, group, attribute string, value ttlv.Item) []byte {
	if attribute == nameAttribute {
		return append(append(key, familyName), s.term(familyName, []byte(group), nameValue(value))[:termSize]...)
	}
	return append(append(key, familyValue), s.term(familyValue, []byte(group), []byte(attribute), untagged(value))[:termSize]...)
}

// appendGroup appends the prefix of a group's objects.
func (s *sealer) appendGroup(key []byte, group string) []byte {
	return append(append(key, familyState), s.term(familyState, []byte(group))[:groupSize]...)
}

// appendWhen appends a time so that the order of keys is the order of times,
// and no time comes last.
func appendWhen(key []byte, d Date) []byte {
	if !d.Set {
		return binary.BigEndian.AppendUint64(key, math.MaxUint64)
	}
	return binary.BigEndian.AppendUint64(key, uint64(d.Unix)^1<<63)
}

// indexKeys returns all index keys of an object as it is stored, each once, in
// memory of their own.
func (s *sealer) indexKeys(o *Object, configured []string) [][]byte {
	state := make([]byte, 0, 1+groupSize+2+8+16)
	state = append(s.appendGroup(state, o.Group), byte(o.Type), byte(o.State))
	keys := [][]byte{append(appendWhen(state, o.next()), o.UniqueIdentifier[:]...)}
	for _, a := range o.Attributes() {
		if isIndexed(configured, a.Name) {
			key := make([]byte, 0, 1+termSize+16)
			keys = append(keys, append(s.appendTerm(key, o.Group, a.Name, a.Value), o.UniqueIdentifier[:]...))
		}
	}
	slices.SortFunc(keys, bytes.Compare)
	return slices.CompactFunc(keys, bytes.Equal)
}

// reindex turns the index entries of old into those of o; either may be nil.
func (tx *Tx) reindex(old, o *Object) error {
	var before, after [][]byte
	if old != nil {
		before = tx.box.indexKeys(old, tx.head.indexed)
	}
	if o != nil {
		after = tx.box.indexKeys(o, tx.head.indexed)
	}
	return tx.swap(before, after)
}

// swap removes the keys that are only in before, and puts those only in after;
// both are sorted.
func (tx *Tx) swap(before, after [][]byte) error {
	for _, key := range before {
		if _, stays := slices.BinarySearchFunc(after, key, bytes.Compare); !stays {
			if err := tx.remove(key); err != nil {
				return err
			}
		}
	}
	for _, key := range after {
		if _, there := slices.BinarySearchFunc(before, key, bytes.Compare); !there {
			if err := tx.put(key, []byte{}); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkNames refuses a Name that another live object of the group has.
func (tx *Tx) checkNames(o *Object) error {
	for _, a := range o.Attributes() {
		if a.Name != nameAttribute {
			continue
		}
		taken, err := tx.nameTaken(o, a.Value)
		if err != nil {
			return err
		}
		if taken {
			return ErrNameTaken
		}
	}
	return nil
}

func (tx *Tx) nameTaken(o *Object, name ttlv.Item) (taken bool, err error) {
	uids, err := tx.gather(tx.box.appendTerm(nil, o.Group, nameAttribute, name), nil)
	if err != nil {
		return false, err
	}
	for _, uid := range uids {
		if uid == o.UniqueIdentifier {
			continue
		}
		level := tx.used
		other, err := tx.stored(uid)
		if err != nil {
			return false, err
		}
		taken = other != nil && !other.State.destroyed()
		tx.release(level)
		if taken {
			return true, nil
		}
	}
	return false, nil
}

// gather appends the identifiers at the end of all keys with the prefix.
func (tx *Tx) gather(prefix []byte, uids []UID) ([]UID, error) {
	err := tx.kv.Range(prefix, nil, func(key, _ []byte) bool {
		uids = append(uids, UID(key[len(key)-len(UID{}):]))
		return true
	})
	return uids, err
}

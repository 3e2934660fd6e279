package operations

import (
	"sync"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/kmip"
)

// defaultGroup is the reserved name of the Object Group whose fresh members the
// server may make (section 3.33).
const defaultGroup = "default"

// offers remembers which member of an Object Group was located last as the
// default one, so that the Get of it moves the turn to the next. A Locate
// changes nothing in the store, so it is kept in memory only: a restart forgets
// what was offered and not handed out, and the same member is offered again.
type offers struct {
	mu      sync.Mutex
	members map[offer]keystore.UID
}

// An offer is an Object Group inside a client's group.
type offer struct{ owner, objectGroup string }

// maxOffers bounds the memory that clients can fill with names of groups.
const maxOffers = 4096

func (f *offers) note(owner string, objectGroup []byte, uid keystore.UID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.members == nil || len(f.members) >= maxOffers {
		f.members = make(map[offer]keystore.UID)
	}
	f.members[offer{owner, string(objectGroup)}] = uid
}

func (f *offers) has(owner string, objectGroup []byte, uid keystore.UID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.members[offer{owner, string(objectGroup)}] == uid
}

// handedOut notes that Get hands an object out: it is not Fresh from now on, and
// if it was the default member of an Object Group, or Fresh, the next member's
// turn has come. Both are part of the message's transaction: of two clients that
// locate and get in one message, no two get the same member.
func (o *Operations) handedOut(tx *Tx, obj *keystore.Object) error {
	if obj.Fresh || o.wasOffered(tx, obj) {
		if err := tx.TakeTurn(obj); err != nil {
			return err
		}
	}
	if obj.Fresh {
		return tx.Serve(obj.UniqueIdentifier)
	}
	return nil
}

func (o *Operations) wasOffered(tx *Tx, obj *keystore.Object) bool {
	for _, a := range obj.Attributes() {
		if a.Name == "Object Group" && o.offers.has(tx.Principal().Group, a.Value.Value(), obj.UniqueIdentifier) {
			return true
		}
	}
	return false
}

// byTurn returns the default member of the group: the one after the member that
// was handed out last, by age, and after the youngest the oldest again.
func (s *search) byTurn(o *Operations, tx *Tx) ([]keystore.UID, error) {
	if len(s.found) == 0 {
		return nil, nil
	}
	var last keystore.UID
	if !s.group.IsZero() {
		var err error
		if last, err = tx.LastServed(s.group); err != nil {
			return nil, err
		}
	}
	turn := 0
	for i := range s.found {
		if string(s.found[i][:]) > string(last[:]) {
			turn = i
			break
		}
	}
	if !s.group.IsZero() {
		o.offers.note(tx.Principal().Group, s.group.Value(), s.found[turn])
	}
	return s.found[turn : turn+1], nil
}

// mayBeDefault tells whether an object can be a group's default member: nobody
// should begin to use a key that is Deactivated or Compromised.
func mayBeDefault(obj *keystore.Object) bool {
	return obj.State == keystore.PreActive || obj.State == keystore.Active
}

// prepareFresh makes an AES-256 key ready for a Locate of a fresh member of the
// group default, in case there is none, if the server is set up so.
func (o *Operations) prepareFresh(c *Call) error {
	s := &c.search
	if !o.config.MakeFreshKeys || s.member != kmip14.ObjectGroupMemberGroupMemberFresh || string(s.group.Value()) != defaultGroup {
		return nil
	}
	d := &c.draft
	d.begin(kmip14.ObjectTypeSymmetricKey, false)
	d.object.UniqueIdentifier = o.store.NewUID()
	d.object.State = keystore.PreActive
	for _, a := range []kmip.Attribute{
		kmip.EnumerationAttribute("Cryptographic Algorithm", kmip14.CryptographicAlgorithmAES),
		kmip.IntegerAttribute("Cryptographic Length", 256),
		kmip.IntegerAttribute("Cryptographic Usage Mask", int32(usualUse(kmip14.CryptographicAlgorithmAES))),
		kmip.TextAttribute("Object Group", defaultGroup),
	} {
		if err := d.set(&a, c.Version); err != nil {
			return err
		}
	}
	s.spare = true
	return c.make()
}

// makeFresh stores the key that prepareFresh made, if it is what the Locate
// looks for.
func (o *Operations) makeFresh(tx *Tx, c *Call) error {
	s, r := &c.search, &c.request.locate
	if !s.spare || len(s.found) > 0 || r.OffsetItems > 0 || r.HasMaximumItems && r.MaximumItems == 0 {
		return nil
	}
	wanted := c.draft.object
	wanted.SetAttributes(c.draft.attributes)
	wanted.InitialDate, wanted.LastChangeDate = keystore.At(tx.Now()), keystore.At(tx.Now())
	if !o.matches(c, &wanted) {
		return nil
	}
	if err := c.create(tx); err != nil {
		return err
	}
	s.found = append(s.found, c.object.UniqueIdentifier)
	return nil
}

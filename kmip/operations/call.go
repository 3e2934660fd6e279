package operations

import (
	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// A Call is one batch item under way. The server fills in the exported fields,
// W between Prepare and Apply, and calls Reset after the answer has left. A
// Call may be reused for any operation; it is not safe for concurrent use.
type Call struct {
	Version     kmip.Version
	Payload     ttlv.Item    // the Request Payload, a view of the request's buffer
	W           *ttlv.Writer // gets the fields of the Response Payload
	Placeholder *Placeholder // of the message

	request requests
	draft   draft  // of an object that is to be made
	search  search // of a Locate
	object  keystore.Object
	id      [36]byte
	// key holds the object that Prepare makes or takes in; Reset wipes it.
	key     ttlv.Writer
	scratch ttlv.Writer // for values that are looked at and forgotten
	random  []byte      // for a key that Apply makes; Reset wipes it
}

// requests has room for each operation's request, so that decoding one reuses
// the slices of the last.
type requests struct {
	create        kmip.CreateRequest
	register      kmip.RegisterRequest
	block         kmip.KeyBlock
	rekey         kmip.ReKeyRequest
	get           kmip.GetRequest
	getAttributes kmip.GetAttributesRequest
	identifier    kmip.IdentifierRequest
	attribute     kmip.AddAttributeRequest // Modify Attribute's too
	revoke        kmip.RevokeRequest

	deleteAttribute kmip.DeleteAttributeRequest
	check           kmip.CheckRequest
	usage           kmip.GetUsageAllocationRequest
	poll            kmip.PollRequest // Cancel's too
	locate          kmip.LocateRequest
	query           kmip.QueryRequest
	discover        kmip.DiscoverVersionsRequest
}

// keepBuffer is the largest buffer that a Call keeps, in bytes.
const keepBuffer = 4 << 10

// Reset drops every view of the message and clears key material. It keeps
// little memory.
func (c *Call) Reset() {
	key, scratch := c.key.Bytes(), c.scratch.Bytes()
	secret.Clear(key[:cap(key)])
	secret.Clear(c.random)
	*c = Call{key: *ttlv.NewWriter(kept(key)), scratch: *ttlv.NewWriter(kept(scratch))}
}

func kept(b []byte) []byte {
	if cap(b) > keepBuffer {
		return nil
	}
	return b[:0]
}

// target returns the object that a request means: the identifier it has, or
// the ID Placeholder's. What cannot be an identifier of ours is as absent as
// one that is not there.
func (c *Call) target(id []byte) (keystore.UID, error) {
	if id == nil {
		if c.Placeholder == nil || !c.Placeholder.set {
			return keystore.UID{}, errNoPlaceholder
		}
		return c.Placeholder.uid, nil
	}
	uid, ok := keystore.ParseUID(id)
	if !ok {
		return keystore.UID{}, keystore.ErrNotFound
	}
	return uid, nil
}

// writeUID writes the response's Unique Identifier.
func (c *Call) writeUID(uid keystore.UID) {
	c.W.Text(kmip14.TagUniqueIdentifier, uid.AppendTo(c.id[:0]))
}

// A Placeholder is the ID Placeholder of a message (section 4): the Unique
// Identifier that requests without one stand for. It is set by the operations
// that make or find exactly one object. The zero value is empty. The server
// copies it before an item and puts the copy back when the item is dropped.
type Placeholder struct {
	uid keystore.UID
	set bool
}

func (c *Call) hold(uid keystore.UID) {
	if c.Placeholder != nil {
		*c.Placeholder = Placeholder{uid: uid, set: true}
	}
}

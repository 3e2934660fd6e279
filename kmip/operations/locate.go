package operations

import (
	"log/slog"
	"slices"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// storageDestroyed is the bit of the Storage Status Mask for destroyed objects
// (1.4, section 9.1.3.3.2).
const storageDestroyed kmip14.StorageStatusMask = 4

// maxFilters bounds the attributes of one Locate.
const maxFilters = 64

// A search is a Locate that is under way.
type search struct {
	filters []filter
	query   keystore.Query
	storage kmip14.StorageStatusMask
	member  kmip14.ObjectGroupMember
	group   ttlv.Item      // the first Object Group asked for
	spare   bool           // the draft is a key to be found if there is no other
	found   []keystore.UID // oldest first
}

// prepareLocate turns the request's attributes into filters. Attributes and
// Templates that there are none of are an Invalid Field (section 11.10).
func prepareLocate(o *Operations, c *Call) error {
	r := &c.request.locate
	if err := r.Decode(c.Payload, c.Version); err != nil {
		return err
	}
	if len(r.Template.Names) > 0 {
		return invalidField("there is no Template of this Name")
	}
	if len(r.Attributes)+len(r.Template.Attributes) > maxFilters {
		return invalidField("more than %d attributes to locate by", maxFilters)
	}
	s := &c.search
	*s = search{storage: kmip14.StorageStatusMaskOnLineStorage, member: r.ObjectGroupMember, filters: s.filters[:0], found: s.found[:0]}
	if r.HasStorageStatusMask {
		s.storage = kmip14.StorageStatusMask(r.StorageStatusMask)
	}
	for _, list := range [...][]kmip.Attribute{r.Attributes, r.Template.Attributes} {
		for i := range list {
			if err := s.add(&list[i], c.Version); err != nil {
				return err
			}
		}
	}
	return o.prepareFresh(c)
}

// applyLocate answers with the identifiers of what matches, the most recently
// made first (section 4.9). Of a group's members it is the oldest first: whoever
// takes them one by one takes them in turn.
func applyLocate(o *Operations, tx *Tx, c *Call) error {
	s := &c.search
	s.found = s.found[:0]
	s.query.Match = func(obj *keystore.Object) bool { return o.matches(c, obj) }
	if err := tx.Locate(s.query, s.note); err != nil {
		return err
	}
	if err := o.makeFresh(tx, c); err != nil {
		return err
	}
	if err := s.choose(o, tx); err != nil {
		return err
	}
	total := len(s.found)
	page := s.page(o, &c.request.locate)
	if len(page) == o.config.LocateLimit && total > len(page) {
		o.config.Logger.Debug("a Locate found more objects than one answer may hold", slog.Int("found", total), slog.String("client", tx.Principal().Client))
	}
	if c.Version.AtLeast(kmip.V1_3) {
		c.W.Integer(kmip14.TagLocatedItems, int32(total))
	}
	for _, uid := range page {
		c.writeUID(uid)
	}
	c.located(page)
	return nil
}

// note keeps what was found.
func (s *search) note(obj *keystore.Object) (more bool) {
	s.found = append(s.found, obj.UniqueIdentifier)
	return true
}

// choose puts what was found in the order of the answer.
func (s *search) choose(o *Operations, tx *Tx) (err error) {
	switch s.member {
	case kmip14.ObjectGroupMemberGroupMemberFresh:
	case kmip14.ObjectGroupMemberGroupMemberDefault:
		s.found, err = s.byTurn(o, tx)
	default:
		slices.Reverse(s.found)
	}
	return err
}

// page cuts out what Offset Items and Maximum Items ask for.
func (s *search) page(o *Operations, r *kmip.LocateRequest) []keystore.UID {
	page := s.found[min(int(r.OffsetItems), len(s.found)):]
	limit := o.config.LocateLimit
	if r.HasMaximumItems {
		limit = min(limit, int(r.MaximumItems))
	}
	return page[:min(limit, len(page))]
}

// located sets the ID Placeholder to the one object that was found, and empties
// it otherwise, so that what follows in the batch does not touch another.
func (c *Call) located(page []keystore.UID) {
	switch {
	case len(page) == 1:
		c.hold(page[0])
	case c.Placeholder != nil:
		*c.Placeholder = Placeholder{}
	}
}

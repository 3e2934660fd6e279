package adminserver

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/keystore"
)

const (
	maxKeys = 10000 // in one page
	// maxLooked bounds the work of one page: a query that finds little must not
	// hold a snapshot of the whole store open.
	maxLooked = 50000
)

// listKeys answers a page of keys of all groups, oldest first.
func (s *Server) listKeys(c *call, req admin.KeyQuery) (page admin.KeyPage, err error) {
	after, limit, err := pageOf(req)
	if err != nil {
		return page, err
	}
	if req.Use != "" && req.Use != keysInUse && req.Use != keysUnused {
		return page, badRequest("unknown use %q: want in-use or unused", req.Use)
	}
	wanted, err := filterOf(req)
	if err != nil {
		return page, err
	}
	covered := s.cfg.Backups.Stamp()
	err = do(c.context(), s.cfg.Store, c.by, &opListKeys, func(tx *keystore.Tx) error {
		page = admin.KeyPage{Keys: []admin.Key{}} // this may run again
		last, looked := "", 0
		var failed error
		err := tx.Walk(after, func(o *keystore.Object) bool {
			if len(page.Keys) == limit || looked == maxLooked {
				page.Next = last
				return false
			}
			looked++
			last = o.UniqueIdentifier.String()
			fits := wanted.fits(o)
			if fits && req.Use != "" {
				var used bool
				used, failed = tx.InUse(o.UniqueIdentifier)
				fits = used == (req.Use == keysInUse)
			}
			if fits {
				page.Keys = append(page.Keys, metadata(o, covered))
			}
			return failed == nil
		})
		return errors.Join(err, failed)
	})
	return page, err
}

// Values of the query's use.
const (
	keysInUse  = "in-use"
	keysUnused = "unused"
)

func pageOf(req admin.KeyQuery) (after keystore.UID, limit int, err error) {
	if limit = req.Limit; limit == 0 {
		limit = maxKeys
	}
	if limit < 1 || limit > maxKeys {
		return after, 0, badRequest("limit %d is not between 1 and %d", limit, maxKeys)
	}
	if req.After != "" {
		var ok bool
		if after, ok = keystore.ParseUID([]byte(req.After)); !ok {
			return after, 0, badRequest("%q is not a unique identifier", req.After)
		}
	}
	return after, limit, nil
}

// showKey tells all of one key but what it is.
func (s *Server) showKey(c *call, _ none) (key admin.Key, err error) {
	uid, err := s.uid(c)
	if err != nil {
		return key, err
	}
	err = do(c.context(), s.cfg.Store, c.by, &opShowKey, func(tx *keystore.Tx) error {
		o, err := tx.Object(uid)
		if err != nil {
			return err
		}
		if key, err = details(tx, o, s.cfg.Backups.Stamp()); err != nil || c.role == admin.RoleAgent { // which sees its own vCenter
			return err
		}
		key.UsedBy, err = usersOf(tx, uid)
		return err
	})
	return key, absent(c, err)
}

// uid is the key that the path names.
func (s *Server) uid(c *call) (keystore.UID, error) {
	uid, ok := keystore.ParseUID([]byte(c.path("uid")))
	if !ok {
		return uid, absent(c, keystore.ErrNotFound)
	}
	return uid, nil
}

func absent(c *call, err error) error {
	if errors.Is(err, keystore.ErrNotFound) {
		return &admin.Error{Code: admin.CodeNotFound, Message: fmt.Sprintf("there is no key %q", c.path("uid")), Hint: "keyreeve key list shows all"}
	}
	return err
}

// metadata copies what a list says of an object out of the transaction. An
// administrator's Tx never has the Value, so there is nothing here to leak.
// covered is the Stamp of the last backup.
func metadata(o *keystore.Object, covered uint64) admin.Key {
	k := admin.Key{
		UniqueIdentifier: o.UniqueIdentifier.String(),
		ObjectType:       name(objectTypes, uint32(o.Type)),
		State:            name(states, uint32(o.State)),
		Group:            o.Group,
		User:             o.User,
		Client:           o.Client,
		LengthBits:       o.CryptographicLength,
		InitialDate:      instant(o.InitialDate),
		ActivationDate:   instant(o.ActivationDate),
		DeactivationDate: instant(o.DeactivationDate),
		DestroyDate:      instant(o.DestroyDate),
		CompromiseDate:   instant(o.CompromiseDate),
		LastChangeDate:   instant(o.LastChangeDate),
		BackedUp:         o.UniqueIdentifier.Stamp() <= covered,
	}
	if o.CryptographicAlgorithm != 0 {
		k.Algorithm = name(algorithms, o.CryptographicAlgorithm)
	}
	for _, a := range o.Attributes() {
		switch {
		case a.Name == "Name":
			k.Names = append(k.Names, firstField(a.Value))
		case strings.HasPrefix(a.Name, "x-"):
			k.Attributes = append(k.Attributes, attribute(a))
		}
	}
	return k
}

func attribute(a keystore.Attribute) admin.Attribute {
	return admin.Attribute{Name: a.Name, Index: a.Index, Value: valueText(a.Name, a.Value)}
}

// details adds to metadata what a list leaves out.
func details(tx *keystore.Tx, o *keystore.Object, covered uint64) (admin.Key, error) {
	k := metadata(o, covered)
	k.ProcessStartDate, k.ProtectStopDate = instant(o.ProcessStartDate), instant(o.ProtectStopDate)
	k.CompromiseOccurrenceDate, k.ArchiveDate = instant(o.CompromiseOccurrenceDate), instant(o.ArchiveDate)
	if o.HasUsageMask {
		k.Usage = usages(o.CryptographicUsageMask)
	}
	if o.RevocationReason != 0 {
		k.RevocationReason, k.RevocationMessage = revocationReason(o.RevocationReason), o.RevocationMessage
	}
	k.Attributes = nil
	for _, a := range o.Attributes() {
		if a.Name != "Name" {
			k.Attributes = append(k.Attributes, attribute(a))
		}
	}
	if !destroyed(o) {
		return k, nil
	}
	until, err := tx.RecoverableUntil(o.UniqueIdentifier)
	k.RecoverableUntil = instant(until)
	return k, err
}

func destroyed(o *keystore.Object) bool {
	return o.State == keystore.Destroyed || o.State == keystore.DestroyedCompromised
}

func instant(d keystore.Date) time.Time {
	if !d.Set {
		return time.Time{}
	}
	return time.Unix(d.Unix, 0).UTC()
}

// A filter is a query that was read. Zero values are not asked for.
type filter struct {
	state  keystore.State
	kind   keystore.ObjectType
	crypto uint32
	bits   int32
	attrs  [][2]string // name and value

	query admin.KeyQuery
}

func filterOf(q admin.KeyQuery) (f filter, err error) {
	f.query = q
	state, err := pick(states, "state", q.State)
	if err != nil {
		return f, err
	}
	kind, err := pick(objectTypes, "object type", q.Type)
	if err != nil {
		return f, err
	}
	f.state, f.kind = keystore.State(state), keystore.ObjectType(kind)
	if err := f.algorithm(q.Algorithm); err != nil {
		return f, err
	}
	for _, pair := range q.Attributes {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return f, badRequest("attribute %q is not NAME=VALUE", pair)
		}
		f.attrs = append(f.attrs, [2]string{name, value})
	}
	return f, nil
}

// algorithm reads AES, or AES-256; some names end in digits of their own.
func (f *filter) algorithm(text string) (err error) {
	if f.crypto, err = pick(algorithms, "algorithm", text); err == nil {
		return nil
	}
	at := strings.LastIndexByte(text, '-')
	if at < 0 {
		return err
	}
	bits, failed := strconv.ParseInt(text[at+1:], 10, 32)
	if failed != nil || bits <= 0 {
		return err
	}
	f.bits = int32(bits)
	f.crypto, err = pick(algorithms, "algorithm", text[:at])
	return err
}

func (f *filter) fits(o *keystore.Object) bool {
	q := &f.query
	switch {
	case f.state != 0 && o.State != f.state, f.kind != 0 && o.Type != f.kind:
		return false
	case q.Group != "" && o.Group != q.Group, q.Owner != "" && o.User != q.Owner, q.Client != "" && o.Client != q.Client:
		return false
	case f.crypto != 0 && o.CryptographicAlgorithm != f.crypto, f.bits != 0 && o.CryptographicLength != f.bits:
		return false
	case !q.CreatedAfter.IsZero() && instant(o.InitialDate).Before(q.CreatedAfter):
		return false
	case !q.CreatedBefore.IsZero() && !instant(o.InitialDate).Before(q.CreatedBefore):
		return false
	}
	if q.Name != "" && !has(o, "Name", q.Name) {
		return false
	}
	for _, a := range f.attrs {
		if !has(o, a[0], a[1]) {
			return false
		}
	}
	return true
}

// has tells whether an instance of the attribute says value. Of a structure the
// first field counts too: it is the text of a Name.
func has(o *keystore.Object, name, value string) bool {
	for _, a := range o.Attributes() {
		if a.Name == name && (valueText(a.Name, a.Value) == value || firstField(a.Value) == value) {
			return true
		}
	}
	return false
}

package adminserver

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/keystore"
)

const maxKeys = 10000 // in one page

// listKeys answers a page of keys of all groups, oldest first.
func (s *Server) listKeys(c *call, req admin.KeyQuery) (page admin.KeyPage, err error) {
	after, limit, err := pageOf(req)
	if err != nil {
		return page, err
	}
	err = do(c.context(), s.cfg.Store, c.by, &opListKeys, func(tx *keystore.Tx) error {
		page = admin.KeyPage{Keys: []admin.Key{}} // this may run again
		query := keystore.Query{Match: func(o *keystore.Object) bool { return bytes.Compare(o.UniqueIdentifier[:], after[:]) > 0 }}
		return tx.Locate(query, func(o *keystore.Object) bool {
			if len(page.Keys) == limit {
				page.Next = page.Keys[limit-1].UniqueIdentifier
				return false
			}
			page.Keys = append(page.Keys, metadata(o))
			return true
		})
	})
	return page, err
}

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

func (s *Server) showKey(c *call, _ none) (key admin.Key, err error) {
	text := c.path("uid")
	missing := &admin.Error{Code: admin.CodeNotFound, Message: fmt.Sprintf("there is no key %q", text), Hint: "keyreeve key list shows all"}
	uid, ok := keystore.ParseUID([]byte(text))
	if !ok {
		return key, missing
	}
	err = do(c.context(), s.cfg.Store, c.by, &opShowKey, func(tx *keystore.Tx) error {
		o, err := tx.Object(uid)
		if err != nil {
			return err
		}
		key = metadata(o)
		return nil
	})
	if errors.Is(err, keystore.ErrNotFound) {
		return key, missing
	}
	return key, err
}

// metadata copies what the API says of an object out of the transaction. An
// administrator's Tx never has the Value, so there is nothing here to leak.
func metadata(o *keystore.Object) admin.Key {
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
	}
	if o.CryptographicAlgorithm != 0 {
		k.Algorithm = name(algorithms, o.CryptographicAlgorithm)
	}
	for _, a := range o.Attributes() {
		if a.Name == "Name" {
			k.Names = append(k.Names, nameValue(a))
		} else if !slices.Contains(k.Attributes, a.Name) {
			k.Attributes = append(k.Attributes, a.Name)
		}
	}
	return k
}

func instant(d keystore.Date) time.Time {
	if !d.Set {
		return time.Time{}
	}
	return time.Unix(d.Unix, 0).UTC()
}

// nameValue is the text of a Name attribute: the first field of its structure
// (specification section 3.2).
func nameValue(a keystore.Attribute) string {
	fields, err := a.Value.Items()
	if err != nil {
		return ""
	}
	first, _ := fields.Next()
	text, err := first.Text()
	if err != nil {
		return ""
	}
	return string(text)
}

// The names of enumerations, as the specification spells them (section 9.1.3.2).
var (
	objectTypes = []string{"", "Certificate", "Symmetric Key", "Public Key", "Private Key", "Split Key", "Template", "Secret Data", "Opaque Object", "PGP Key"}
	states      = []string{"", "Pre-Active", "Active", "Deactivated", "Compromised", "Destroyed", "Destroyed Compromised"}
	algorithms  = []string{"", "DES", "3DES", "AES", "RSA", "DSA", "ECDSA", "HMAC-SHA1", "HMAC-SHA224", "HMAC-SHA256", "HMAC-SHA384",
		"HMAC-SHA512", "HMAC-MD5", "DH", "ECDH", "ECMQV", "Blowfish", "Camellia", "CAST5", "IDEA", "MARS", "RC2", "RC4", "RC5", "SKIPJACK", "Twofish", "EC"}
)

func name(of []string, value uint32) string {
	if value == 0 || value >= uint32(len(of)) {
		return fmt.Sprintf("0x%08X", value)
	}
	return of[value]
}

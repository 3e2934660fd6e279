package operations

import (
	"crypto/rand"
	"errors"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// prepareCreate makes the key (section 4.1).
func prepareCreate(o *Operations, c *Call) error {
	r := &c.request.create
	if err := r.Decode(c.Payload, c.Version); err != nil {
		return err
	}
	if r.ObjectType != kmip14.ObjectTypeSymmetricKey {
		return invalidField("Create makes Symmetric Keys, and no %v", r.ObjectType)
	}
	d := &c.draft
	d.begin(r.ObjectType, false)
	d.object.UniqueIdentifier = o.store.NewUID()
	if err := d.setAll(r.Template.Attributes, c.Version); err != nil {
		return err
	}
	if len(r.Template.Names) > 0 { // they are in the store
		c.draw()
		return nil
	}
	return c.make()
}

// draw draws the random bytes of a key whose algorithm and length the store
// knows: Apply may run again, and has to make the same key each time.
func (c *Call) draw() {
	c.random = make([]byte, maxKeyBits/8)
	_, _ = rand.Read(c.random) // it never returns an error
}

// make makes the draft's key, and what the server says of it.
func (c *Call) make() error {
	d := &c.draft
	alg, err := d.required(c.Version)
	if err != nil {
		return err
	}
	length, err := checkLength(alg, d.object.CryptographicLength)
	if err != nil {
		return err
	}
	d.object.CryptographicLength = length
	c.key.Reset(c.key.Bytes())
	d.object.Value = generateKey(&c.key, c.random, alg, length)
	material := d.object.Value.Find(kmip14.TagKeyBlock).Find(kmip14.TagKeyValue).Find(kmip14.TagKeyMaterial)
	d.give("Digest", digest(material, kmip14.KeyFormatTypeRaw))
	d.give("Random Number Generator", valueRNG)
	return nil
}

// required holds the draft to what all symmetric keys must be given, and to
// dates that can be. From 1.4 on the server sets a Cryptographic Usage Mask that
// the client left out: section 3.19 lets it, and the test cases of that version
// count on it.
func (d *draft) required(v kmip.Version) (kmip14.CryptographicAlgorithm, error) {
	alg := kmip14.CryptographicAlgorithm(d.object.CryptographicAlgorithm)
	switch {
	case alg == 0:
		return 0, missingData("the Cryptographic Algorithm is missing")
	case !d.object.HasUsageMask && !v.AtLeast(kmip.V1_4):
		return 0, missingData("the Cryptographic Usage Mask is missing")
	case !d.object.HasUsageMask:
		d.object.CryptographicUsageMask, d.object.HasUsageMask = int32(usualUse(alg)), true
	}
	return alg, checkDates(&d.object)
}

func applyCreate(_ *Operations, tx *Tx, c *Call) error {
	if r := &c.request.create; len(r.Template.Names) > 0 {
		if err := c.draft.byTemplate(tx, nil, &r.Template, c.Version); err != nil {
			return err
		}
		if err := c.make(); err != nil {
			return err
		}
	}
	if err := c.create(tx); err != nil {
		return err
	}
	c.W.Enumeration(kmip14.TagObjectType, uint32(c.object.Type))
	c.writeUID(c.object.UniqueIdentifier)
	return nil
}

// create stores the draft. It works on a copy: the store writes into what it
// is given, and Apply may run again.
func (c *Call) create(tx *Tx) error {
	c.object = c.draft.object
	c.object.SetAttributes(c.draft.attributes)
	if !c.draft.registered {
		now := tx.Now()
		c.object.AddAttribute("Original Creation Date", makeValue(func(w *ttlv.Writer) { w.DateTime(kmip14.TagAttributeValue, now) }))
	}
	if err := tx.Create(&c.object); err != nil {
		if errors.Is(err, keystore.ErrNameTaken) {
			return invalidField("another object has this Name")
		}
		return err
	}
	c.hold(c.object.UniqueIdentifier)
	return nil
}

package adminserver_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

type creation struct{ objects []*keystore.Object }

var opCreate = keystore.Op{Name: "Create", Class: keystore.OpChange}

func (c creation) Run(b *keystore.Batch) error {
	for _, o := range c.objects {
		if err := b.Do(&opCreate, create{o}); err != nil {
			return err
		}
	}
	return nil
}

type create struct{ o *keystore.Object }

func (c create) Apply(tx *keystore.Tx) error { return tx.Create(c.o) }

const material = "MATERIALMATERIALMATERIALMATERIAL"

// object is a key as the store keeps it; the value is a Symmetric Key (0x42008F)
// with a text that no answer may hold.
func (w *world) object(t *testing.T) *keystore.Object {
	t.Helper()
	raw := append([]byte{0x42, 0x00, 0x8f, 0x01, 0, 0, 0, 40, 0x42, 0x00, 0x43, 0x08, 0, 0, 0, 32}, material...)
	value, err := ttlv.Parse(raw)
	must(t, err)
	return &keystore.Object{UniqueIdentifier: w.store.NewUID(), Type: keystore.SymmetricKey, CryptographicAlgorithm: 3, CryptographicLength: 256, Value: value}
}

// Pages follow each other without a gap, over all groups, and hold no key.
func TestKeysInPages(t *testing.T) {
	w := newWorld(t)
	var want []string
	for i := range 5 {
		o := w.object(t)
		want = append(want, o.UniqueIdentifier.String())
		p := &keystore.Principal{Client: "lab", Group: fmt.Sprint("group", i)}
		must(t, w.store.Do(t.Context(), p, true, creation{[]*keystore.Object{o}}))
	}
	for limit := 1; limit <= 6; limit++ {
		var got []string
		for after, pages := "", 0; ; pages++ {
			page, err := w.client.Keys(t.Context(), admin.KeyQuery{After: after, Limit: limit})
			must(t, err)
			if len(page.Keys) > limit || pages > 5 {
				t.Fatalf("limit %d: %d keys on page %d", limit, len(page.Keys), pages)
			}
			for _, k := range page.Keys {
				got = append(got, k.UniqueIdentifier)
			}
			if after = page.Next; after == "" {
				break
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("limit %d: got %v, want %v", limit, got, want)
		}
	}
	k, err := w.client.Key(t.Context(), want[3])
	must(t, err)
	if k.BackedUp {
		t.Error("a key is told to be in a backup, and there is none")
	}
	backed, _ := keystore.ParseUID([]byte(want[3]))
	w.backups.stamp = backed.Stamp()
	page, err := w.client.Keys(t.Context(), admin.KeyQuery{})
	must(t, err)
	for i, k := range page.Keys {
		if k.BackedUp != (i <= 3) {
			t.Errorf("key %d: backed up: %v, and the backup has four", i, k.BackedUp)
		}
	}
	if k.Group != "group3" || k.State != "Pre-Active" || k.ObjectType != "Symmetric Key" || k.Algorithm != "AES" || k.LengthBits != 256 || k.Client != "lab" {
		t.Errorf("%+v", k)
	}
	text, err := json.Marshal([]admin.Key{k})
	must(t, err)
	_, all := w.raw(t, "GET", "/v1/keys", "")
	if s := string(text) + all; strings.Contains(s, "MATERIAL") || strings.Contains(s, "TUFURVJJQUw") {
		t.Errorf("key material in an answer: %s", s)
	}
}

package keystore_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/keyreeve/keyreeve/keystore"
	kt "github.com/keyreeve/keyreeve/keystore/keystoretest"
)

// modelKey is a key as the model knows it. The model has no edges table: it
// says in its own words what the specification says.
type modelKey struct {
	uid                      keystore.UID
	owner                    *keystore.Principal
	material                 []byte
	name                     string
	state                    keystore.State
	activation, deactivation int64 // 0: not set
	grave                    int64 // when the tombstone expires; 0: none
	was                      keystore.State
}

// model is a store without files, journal, seals, indexes or groups.
type model struct {
	rig  *kt.Rig
	now  int64
	keys []*modelKey
	t    *rapid.T
}

const grace = 1000

// fewer lowers rapid's number of checks, unless the command line sets it.
func fewer(t *testing.T, n string) {
	set := false
	flag.Visit(func(f *flag.Flag) { set = set || f.Name == "rapid.checks" })
	if f := flag.Lookup("rapid.checks"); !set && f != nil {
		was := f.Value.String() // flag.Visit sees it as set from now on
		must(t, flag.Set(f.Name, n))
		t.Cleanup(func() { must(t, flag.Set(f.Name, was)) })
	}
}

func TestModel(t *testing.T) {
	fewer(t, modelChecks)
	rapid.Check(t, func(t *rapid.T) {
		r := kt.NewRig((&kt.Volume{}).Opener())
		r.Configure = func(c *keystore.Config) { c.GracePeriod = grace * 1e9 }
		m := &model{rig: r, now: r.Clock.Unix(), t: t}
		m.must(errors.Join(r.Create(), r.Open()))
		t.Repeat(map[string]func(*rapid.T){
			"create":    m.create,
			"activate":  m.activate,
			"revoke":    m.revoke,
			"destroy":   m.destroy,
			"undestroy": m.undestroy,
			"rename":    m.rename,
			"purge":     m.purge,
			"clock":     m.clock,
			"reopen":    func(*rapid.T) { m.must(r.Reopen()) },
			"crash":     m.crash,
			"":          m.compare,
		})
		m.must(errors.Join(r.Reopen(), r.Shut())) // Reopen checks
	})
}

func (m *model) must(err error) {
	if err != nil {
		m.t.Fatal(err)
	}
}

// settle does what dates do.
func (m *model) settle() {
	for _, k := range m.keys {
		if k.state == pre && k.activation != 0 && k.activation <= m.now {
			k.state = active
		}
		if k.state == active && k.deactivation != 0 && k.deactivation <= m.now {
			k.state = deactivated
		}
	}
}

func (m *model) clock(t *rapid.T) {
	m.rig.Clock.Add(rapid.Int64Range(-300, 600).Draw(t, "seconds"))
	if now := m.rig.Clock.Unix(); now > m.now {
		// The store sees the new time with its next message.
		m.must(m.rig.Do(kt.Admin, kt.ObserveOp, func(*keystore.Tx) error { return nil }))
		m.now = now
	}
	m.settle()
}

// crash loses what is not durable. The clock that was only seen is such a
// thing, so it is written down before.
func (m *model) crash(*rapid.T) {
	m.must(m.rig.Do(kt.Admin, kt.ChangeOp, func(*keystore.Tx) error { return nil }))
	m.must(errors.Join(m.rig.Crash(), m.rig.Open()))
}

func (m *model) taken(k *modelKey, name string) bool {
	return name != "" && slices.ContainsFunc(m.keys, func(other *modelKey) bool {
		return other != k && other.owner.Group == k.owner.Group && other.name == name && other.state < destroyed
	})
}

var principals = []*keystore.Principal{kt.Alice, kt.Bob, kt.Mallory}

func (m *model) create(t *rapid.T) {
	k := &modelKey{
		uid: m.rig.Store.NewUID(), owner: rapid.SampledFrom(principals).Draw(t, "owner"),
		material: rapid.SliceOfN(rapid.Byte(), 16, 32).Draw(t, "material"),
		name:     rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "name"), state: pre,
	}
	date := func(label string) int64 {
		if rapid.Bool().Draw(t, label+" set") {
			return m.now + rapid.Int64Range(-100, 500).Draw(t, label)
		}
		return 0
	}
	k.activation, k.deactivation = date("activation"), date("deactivation")
	err := m.rig.Do(k.owner, kt.ChangeOp, func(tx *keystore.Tx) error {
		o := kt.NewKey(k.uid, k.material, k.name)
		o.ActivationDate = keystore.Date{Unix: k.activation, Set: k.activation != 0}
		o.DeactivationDate = keystore.Date{Unix: k.deactivation, Set: k.deactivation != 0}
		return tx.Create(o)
	})
	if m.taken(k, k.name) {
		m.refused("create", err, keystore.ErrNameTaken)
		return
	}
	m.must(err)
	m.keys = append(m.keys, k)
	m.settle()
}

func (m *model) refused(what string, err, want error) {
	if !errors.Is(err, want) {
		m.t.Fatalf("%s = %v, want %v", what, err, want)
	}
}

// edit asks for it on some key, as somebody.
func (m *model) edit(t *rapid.T, what string, do edit, allowed func(k *modelKey) bool, then func(k *modelKey)) {
	if len(m.keys) == 0 {
		return
	}
	k := rapid.SampledFrom(m.keys).Draw(t, "key")
	p := rapid.SampledFrom(principals).Draw(t, "who")
	err := m.rig.EditAs(p, kt.ChangeOp, k.uid, do)
	switch {
	case p.Group != k.owner.Group:
		m.refused(what, err, keystore.ErrNotFound)
	case p != k.owner:
		m.refused(what, err, keystore.ErrPermission)
	case !allowed(k):
		m.refused(what, err, keystore.ErrState)
	default:
		m.must(err)
		then(k)
	}
}

func (m *model) activate(t *rapid.T) {
	m.edit(t, "activate", activate, func(k *modelKey) bool { return k.state == pre }, func(k *modelKey) {
		k.state, k.activation = active, m.now
		m.settle()
	})
}

func (m *model) revoke(t *rapid.T) {
	reason := rapid.Uint32Range(1, 7).Draw(t, "reason")
	compromises := reason == 2 || reason == 3
	m.edit(t, "revoke", revokeFor(reason), func(k *modelKey) bool {
		if compromises {
			return k.state != compromised && k.state != both
		}
		return k.state == active
	}, func(k *modelKey) {
		switch {
		case !compromises:
			k.state, k.deactivation = deactivated, m.now
		case k.state == destroyed:
			k.state = both
		default:
			k.state = compromised
		}
	})
}

func (m *model) destroy(t *rapid.T) {
	m.edit(t, "destroy", destroy, func(k *modelKey) bool {
		return k.state == pre || k.state == deactivated || k.state == compromised
	}, func(k *modelKey) {
		k.was, k.grave = k.state, m.now+grace
		k.state = destroyed
		if k.was == compromised {
			k.state = both
		}
	})
}

func (m *model) undestroy(t *rapid.T) {
	if len(m.keys) == 0 {
		return
	}
	k := rapid.SampledFrom(m.keys).Draw(t, "key")
	err := m.rig.EditAs(kt.Admin, kt.ChangeOp, k.uid, undestroy)
	switch {
	case k.state < destroyed:
		m.refused("undestroy", err, keystore.ErrState)
	case k.grave <= m.now:
		m.refused("undestroy", err, keystore.ErrNotFound)
	case m.taken(k, k.name):
		m.refused("undestroy", err, keystore.ErrNameTaken)
	default:
		m.must(err)
		if k.state == both {
			k.was = compromised
		}
		k.state, k.grave = k.was, 0
		m.settle()
	}
}

func (m *model) rename(t *rapid.T) {
	name := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "name")
	var taken bool
	m.edit(t, "rename", func(tx *keystore.Tx, o *keystore.Object) error {
		o.RemoveAttribute("Name", 0)
		o.AddAttribute("Name", kt.NameItem(name))
		err := tx.Put(o)
		if taken = errors.Is(err, keystore.ErrNameTaken); taken {
			return nil // the item is kept, and changes nothing
		}
		return err
	}, func(*modelKey) bool { return true }, func(k *modelKey) {
		if want := k.state < destroyed && m.taken(k, name); taken != want {
			m.t.Fatalf("rename to %q: taken %v, want %v", name, taken, want)
		}
		if !taken {
			k.name = name
		}
	})
}

func (m *model) purge(*rapid.T) {
	want := 0
	for _, k := range m.keys {
		if k.grave != 0 && k.grave <= m.now {
			k.grave = 0
			want++
		}
	}
	if n, err := m.rig.Store.Purge(ctx, 0); n != want || err != nil {
		m.t.Fatalf("Purge = %d, %v; want %d", n, err, want)
	}
}

// compare looks at everything as everybody.
func (m *model) compare(*rapid.T) {
	for _, p := range principals {
		for _, k := range m.keys {
			m.must(m.compareKey(p, k))
		}
		for state := keystore.State(0); state <= both; state++ {
			m.compareLocate(p, keystore.Query{State: state}, func(k *modelKey) bool { return state == 0 || k.state == state })
		}
		for _, name := range []string{"a", "d"} {
			m.compareLocate(p, keystore.Query{Terms: []keystore.Term{{Attribute: "Name", Value: kt.NameItem(name)}}},
				func(k *modelKey) bool { return k.name == name })
		}
	}
}

func (m *model) compareKey(p *keystore.Principal, k *modelKey) error {
	material, state, err := m.rig.Get(p, k.uid)
	switch {
	case p.Group != k.owner.Group:
		return expect(err, keystore.ErrNotFound)
	case p != k.owner:
		return expect(err, keystore.ErrPermission)
	}
	want := k.material
	if k.state >= destroyed {
		want = nil
	}
	if err != nil || state != k.state || !bytes.Equal(material, want) {
		return fmt.Errorf("key %s is %v with %x, %w; want %v with %x", k.uid, state, material, err, k.state, want)
	}
	return nil
}

func (m *model) compareLocate(p *keystore.Principal, q keystore.Query, match func(k *modelKey) bool) {
	var got, want []keystore.UID
	for _, k := range m.keys {
		if k.owner == p && match(k) {
			want = append(want, k.uid)
		}
	}
	m.must(m.rig.Do(p, kt.ObserveOp, func(tx *keystore.Tx) error {
		got = nil
		return tx.Locate(q, func(o *keystore.Object) bool { got = append(got, o.UniqueIdentifier); return true })
	}))
	if !slices.Equal(got, want) {
		m.t.Fatalf("Locate(%+v) by %s = %v, want %v", q, p.Client, got, want)
	}
}

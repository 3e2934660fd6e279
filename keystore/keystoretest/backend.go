package keystoretest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"

	"github.com/keyreeve/keyreeve/keystore"
)

// An Opener opens a backend on one place, which it remembers: after Close, the
// next call opens the same content again.
type Opener func() (keystore.Backend, error)

var background = context.Background()

// RunBackend holds a backend against the contract of keystore.Backend. fresh
// returns an Opener on a new, empty place.
func RunBackend(t *testing.T, fresh func(t testing.TB) Opener) {
	for _, c := range backendCases {
		t.Run(c.name, func(t *testing.T) {
			open := fresh(t)
			b, err := open()
			if err != nil {
				t.Fatal(err)
			}
			err = c.run(&place{open: open, b: b})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// RunBackendFaults tests what a backend does after a commit whose outcome it
// cannot know. fresh returns an Opener and a function that makes the next
// commit of what was opened last fail, after everything was stored or with
// nothing stored.
func RunBackendFaults(t *testing.T, fresh func(t testing.TB) (Opener, func(butStored bool))) {
	for _, butStored := range []bool{false, true} {
		t.Run(fmt.Sprintf("stored=%v", butStored), func(t *testing.T) {
			open, fail := fresh(t)
			b, err := open()
			if err != nil {
				t.Fatal(err)
			}
			if err := commitUnknown(&place{open: open, b: b}, butStored, fail); err != nil {
				t.Error(err)
			}
		})
	}
}

// place is a backend that can be opened again.
type place struct {
	open Opener
	b    keystore.Backend
}

func (p *place) reopen() (err error) {
	if err := p.b.Close(); err != nil {
		return fmt.Errorf("Close: %w", err)
	}
	p.b, err = p.open()
	return err
}

// set commits pairs of key and value; an empty value deletes.
func (p *place) set(pairs ...string) error {
	return p.b.Update(background, setter(pairs...), nil)
}

func setter(pairs ...string) func(kv keystore.KV) error {
	return func(kv keystore.KV) error {
		for i := 0; i < len(pairs); i += 2 {
			var err error
			if pairs[i+1] == "" {
				err = kv.Delete([]byte(pairs[i]))
			} else {
				err = kv.Put([]byte(pairs[i]), []byte(pairs[i+1]))
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
}

// holds compares the whole content.
func (p *place) holds(when string, pairs ...string) error {
	want := make(map[string]string)
	for i := 0; i < len(pairs); i += 2 {
		want[pairs[i]] = pairs[i+1]
	}
	got, err := dump(p.b)
	if err != nil {
		return fmt.Errorf("%s: %w", when, err)
	}
	if !maps.Equal(got, want) {
		return fmt.Errorf("%s: content is %q, want %q", when, got, want)
	}
	return nil
}

var backendCases = []struct {
	name string
	run  func(p *place) error
}{
	{"a commit survives reopening", caseReopen},
	{"an error of fn passes through and drops all", caseError},
	{"an error of prepared passes through and drops all", casePreparedError},
	{"prepared is in the transaction and runs once", casePrepared},
	{"a transaction sees its own writes", caseOwnWrites},
	{"Range stays in its prefix, in order", caseRange},
	{"Range begins at start", caseRangeStart},
	{"a View is a snapshot", caseSnapshot},
	{"a View sees every Update that returned", caseFreshView},
	{"a View cannot write", caseReadOnly},
	{"Updates are serial", caseSerial},
	{"an empty value is not nil", caseEmptyValue},
	{"keys from 2 to 256 bytes, values up to a megabyte", caseSizes},
	{"a context that is over stops it before it began", caseContext},
	{"a closed backend refuses", caseClosed},
}

func commitUnknown(p *place, butStored bool, fail func(butStored bool)) error {
	if err := p.set("oa", "1"); err != nil {
		return err
	}
	fail(butStored)
	if err := p.set("oa", "2"); !errors.Is(err, keystore.ErrCommitUnknown) {
		return fmt.Errorf("Update whose commit failed = %v, want ErrCommitUnknown", err)
	}
	for range 3 {
		if err := p.set("ob", "3"); !errors.Is(err, keystore.ErrFailed) {
			return fmt.Errorf("Update after that = %v, want ErrFailed", err)
		}
	}
	if err := p.b.View(background, func(keystore.KV) error { return nil }); err != nil {
		return fmt.Errorf("View after that: %w", err)
	}
	if err := p.reopen(); err != nil {
		return err
	}
	want := "1"
	if butStored {
		want = "2"
	}
	if err := p.holds("after reopening", "oa", want); err != nil {
		return err
	}
	return p.set("oa", "4")
}

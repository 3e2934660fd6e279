package keystoretest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
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

func caseReopen(p *place) error {
	if err := p.set("oa", "1", "ob", "2", "xa", "3"); err != nil {
		return err
	}
	if err := p.set("ob", "", "xa", "4"); err != nil {
		return err
	}
	if err := p.holds("after Update", "oa", "1", "xa", "4"); err != nil {
		return err
	}
	if err := p.reopen(); err != nil {
		return err
	}
	return p.holds("after reopening", "oa", "1", "xa", "4")
}

var errCase = errors.New("the test's own error")

func caseError(p *place) error {
	if err := p.set("oa", "1"); err != nil {
		return err
	}
	err := p.b.Update(background, func(kv keystore.KV) error {
		return errors.Join(setter("oa", "2", "ob", "2")(kv), fmt.Errorf("wrapped: %w", errCase))
	}, func(keystore.KV) error { return errors.New("prepared ran after an error") })
	if !errors.Is(err, errCase) {
		return fmt.Errorf("Update = %v, want the error of fn", err)
	}
	if err := p.b.View(background, func(keystore.KV) error { return errCase }); !errors.Is(err, errCase) {
		return fmt.Errorf("View = %v, want the error of fn", err)
	}
	if err := p.holds("after an error", "oa", "1"); err != nil {
		return err
	}
	return p.set("oa", "3")
}

func casePreparedError(p *place) error {
	err := p.b.Update(background, setter("oa", "2"), func(kv keystore.KV) error {
		return errors.Join(setter("ob", "2")(kv), errCase)
	})
	if !errors.Is(err, errCase) || errors.Is(err, keystore.ErrCommitUnknown) {
		return fmt.Errorf("Update = %v, want the error of prepared, outcome known", err)
	}
	if err := p.holds("after prepared failed"); err != nil {
		return err
	}
	if err := p.set("oa", "3"); err != nil {
		return fmt.Errorf("the next Update: %w", err)
	}
	return p.holds("after the next Update", "oa", "3")
}

func casePrepared(p *place) error {
	for i := range 7 {
		runs, prepared := 0, 0
		err := p.b.Update(background, func(kv keystore.KV) error {
			runs++
			if prepared > 0 {
				return errors.New("fn ran after prepared")
			}
			return setter("oa", fmt.Sprint(i))(kv)
		}, func(kv keystore.KV) error {
			prepared++
			v, err := kv.Get([]byte("oa"))
			if err != nil || string(v) != fmt.Sprint(i) {
				return fmt.Errorf("prepared sees %q, %v", v, err)
			}
			return setter("hb", fmt.Sprint(i))(kv)
		})
		if err != nil || prepared != 1 || runs < 1 {
			return fmt.Errorf("Update %d = %v after %d runs of fn and %d of prepared", i, err, runs, prepared)
		}
	}
	return p.holds("in the end", "oa", "6", "hb", "6")
}

func caseOwnWrites(p *place) error {
	if err := p.set("oa", "1", "oc", "1"); err != nil {
		return err
	}
	return p.b.Update(background, func(kv keystore.KV) error {
		if err := setter("ob", "2", "oc", "")(kv); err != nil {
			return err
		}
		if err := expect(kv, "o", nil, "oa=1", "ob=2"); err != nil {
			return err
		}
		if v, err := kv.Get([]byte("oc")); v != nil || err != nil {
			return fmt.Errorf("a deleted key gives %q, %v", v, err)
		}
		return setter("ob", "", "oc", "3", "oc", "4", "od", "")(kv)
	}, func(kv keystore.KV) error { return expect(kv, "o", nil, "oa=1", "oc=4") })
}

// expect ranges and compares.
func expect(kv keystore.KV, prefix string, start []byte, want ...string) error {
	var got []string
	err := kv.Range([]byte(prefix), start, func(k, v []byte) bool {
		got = append(got, fmt.Sprintf("%s=%s", k, v))
		return true
	})
	if err != nil {
		return err
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		return fmt.Errorf("Range(%q, %q) = %q, want %q", prefix, start, got, want)
	}
	return nil
}

func caseRange(p *place) error {
	if err := p.set("na", "0", "oa", "1", "oab", "2", "oac", "3", "ob", "4", "o\xff", "5", "pa", "6"); err != nil {
		return err
	}
	return p.b.View(background, func(kv keystore.KV) error {
		return errors.Join(
			expect(kv, "o", nil, "oa=1", "oab=2", "oac=3", "ob=4", "o\xff=5"),
			expect(kv, "oa", nil, "oa=1", "oab=2", "oac=3"),
			expect(kv, "o\xff", nil, "o\xff=5"),
			expect(kv, "oz", nil),
			expect(kv, "q", nil))
	})
}

func caseRangeStart(p *place) error {
	if err := p.set("na", "0", "oa", "1", "oab", "2", "ob", "3", "pa", "4"); err != nil {
		return err
	}
	err := p.b.View(background, func(kv keystore.KV) error {
		return errors.Join(
			expect(kv, "o", []byte("oab"), "oab=2", "ob=3"),
			expect(kv, "o", []byte("oaa"), "oab=2", "ob=3"),
			expect(kv, "o", []byte("na"), "oa=1", "oab=2", "ob=3"),
			expect(kv, "oa", []byte("ob")),
			expect(kv, "o", []byte("pa")))
	})
	if err != nil {
		return err
	}
	return p.b.View(background, func(kv keystore.KV) error {
		n := 0
		err := kv.Range([]byte("o"), nil, func(_, _ []byte) bool { n++; return n < 2 })
		if n != 2 {
			err = errors.Join(err, fmt.Errorf("fn was called %d times, it stopped at 2", n))
		}
		return err
	})
}

func caseSnapshot(p *place) error {
	if err := p.set("oa", "1", "xa", "1"); err != nil {
		return err
	}
	return p.b.View(background, func(kv keystore.KV) error {
		if err := expect(kv, "o", nil, "oa=1"); err != nil {
			return err
		}
		done := make(chan error)
		go func() { done <- p.set("oa", "2", "ob", "2", "xa", "") }()
		if err := <-done; err != nil {
			return err
		}
		return errors.Join(expect(kv, "o", nil, "oa=1"), expect(kv, "x", nil, "xa=1"))
	})
}

func caseFreshView(p *place) error {
	for i := range 20 {
		want := fmt.Sprint(i)
		if err := p.set("oa", want); err != nil {
			return err
		}
		err := p.b.View(background, func(kv keystore.KV) error { return expect(kv, "o", nil, "oa="+want) })
		if err != nil {
			return err
		}
	}
	return nil
}

func caseReadOnly(p *place) error {
	err := p.b.View(background, func(kv keystore.KV) error {
		if err := kv.Put([]byte("oa"), []byte("1")); !errors.Is(err, keystore.ErrReadOnly) {
			return fmt.Errorf("Put in a View = %v", err)
		}
		if err := kv.Delete([]byte("oa")); !errors.Is(err, keystore.ErrReadOnly) {
			return fmt.Errorf("Delete in a View = %v", err)
		}
		return nil
	})
	return errors.Join(err, p.holds("after a View"))
}

// caseSerial adds to one number from many goroutines: a lost update shows.
func caseSerial(p *place) error {
	const writers, each = 8, 5
	errs := make(chan error, writers)
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				if err := p.b.Update(background, addOne, nil); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	if err := <-errs; err != nil {
		return err
	}
	return p.holds("after all added", "oa", string(bytes.Repeat([]byte("+"), writers*each)))
}

func addOne(kv keystore.KV) error {
	v, err := kv.Get([]byte("oa"))
	if err != nil {
		return err
	}
	return kv.Put([]byte("oa"), append(bytes.Clone(v), '+'))
}

func caseEmptyValue(p *place) error {
	err := p.b.Update(background, func(kv keystore.KV) error { return kv.Put([]byte("oa"), []byte{}) }, nil)
	if err != nil {
		return err
	}
	if err := p.reopen(); err != nil {
		return err
	}
	return p.b.View(background, func(kv keystore.KV) error {
		there, err1 := kv.Get([]byte("oa"))
		gone, err2 := kv.Get([]byte("ob"))
		if err := errors.Join(err1, err2); err != nil || there == nil || len(there) > 0 || gone != nil {
			return fmt.Errorf("an empty value is %#v, an absent one %#v, %v", there, gone, err)
		}
		return nil
	})
}

func caseSizes(p *place) error {
	long := "o" + string(bytes.Repeat([]byte{0xff}, 255))
	large := string(bytes.Repeat([]byte("v"), 1<<20))
	if err := p.set("oa", large, long, "2", "o\x00", "3"); err != nil {
		return err
	}
	if err := p.reopen(); err != nil {
		return err
	}
	return p.holds("with long keys and values", "oa", large, long, "2", "o\x00", "3")
}

func caseContext(p *place) error {
	over, cancel := context.WithCancel(background)
	cancel()
	ran := false
	fn := func(kv keystore.KV) error { ran = true; return nil }
	if err := p.b.Update(over, fn, nil); !errors.Is(err, context.Canceled) || ran {
		return fmt.Errorf("Update with a context that is over = %v, fn ran: %v", err, ran)
	}
	return nil
}

func caseClosed(p *place) error {
	if err := p.b.Close(); err != nil {
		return err
	}
	fn := func(keystore.KV) error { return nil }
	if p.b.Update(background, fn, nil) == nil || p.b.View(background, fn) == nil {
		return errors.New("a closed backend works on")
	}
	return nil
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

package keystoretest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/keyreeve/keyreeve/keystore"
)

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

package audit_test

import (
	"errors"
	"maps"
	"testing"

	"github.com/keyreeve/keyreeve/audit"
)

// A store that was restored from a backup goes on with its journal where the backup's head was.
func TestCreateAfterGoesOnFromThere(t *testing.T) {
	base := audit.Position{Seq: 41, Hash: [32]byte{0: 7, 31: 9}}
	d := newDisk()
	if err := audit.CreateAfter(small(d), base, 40); err != nil {
		t.Fatal(err)
	}
	j := mustOpen(t, small(d))
	if j.Base() != base || j.End() != base || j.Marker() != 40 {
		t.Fatalf("base %v, end %v, marker %d", j.Base(), j.End(), j.Marker())
	}
	mustAnswer(t, j, base)
	for i := range 12 {
		if p := mustAppend(t, j, "a", "b"); p.Seq != uint64(43+2*i) {
			t.Fatalf("append %d ends at %d", i, p.Seq)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if len(d.snapshot()) < 3 {
		t.Fatal("rotation is not covered")
	}
	j = mustOpen(t, small(d))
	mustAnswer(t, j, base)
	if _, _, err := j.HashAt(40); !errors.Is(err, audit.ErrArchived) {
		t.Errorf("HashAt before the base: got %v, want ErrArchived", err)
	}
	if r, err := audit.Verify(small(d)); err != nil || r.Base != base || r.Entries != 25 {
		t.Errorf("verify: %+v, %v", r, err)
	}
	mustReadFrom(t, small(d), j, base.Seq)
}

func mustAnswer(t *testing.T, j *audit.Journal, p audit.Position) {
	t.Helper()
	if hash, ok, err := j.HashAt(p.Seq); err != nil || !ok || hash != p.Hash {
		t.Errorf("HashAt(%d) = %x, %v, %v; want %x", p.Seq, hash, ok, err, p.Hash)
	}
}

// mustReadFrom checks that 0 reads from the oldest event there is, and that what is before that is asked for in vain.
func mustReadFrom(t *testing.T, cfg audit.Config, j *audit.Journal, base uint64) {
	t.Helper()
	for what, read := range map[string]func(uint64, func(uint64, audit.Event) error) error{
		"Since": j.Since,
		"Read":  func(seq uint64, fn func(uint64, audit.Event) error) error { return audit.Read(cfg, seq, fn) },
	} {
		for _, after := range []uint64{0, base} {
			next := base + 1
			if err := read(after, func(seq uint64, _ audit.Event) error {
				if seq != next {
					t.Errorf("%s(%d): sequence %d, want %d", what, after, seq, next)
				}
				next++
				return nil
			}); err != nil || next != j.End().Seq+1 {
				t.Errorf("%s(%d) ended before %d: %v", what, after, next, err)
			}
		}
		if err := read(base-1, nil); !errors.Is(err, audit.ErrArchived) {
			t.Errorf("%s(%d): got %v, want ErrArchived", what, base-1, err)
		}
	}
}

func TestCreateAfterRefusesWhatIsNoPosition(t *testing.T) {
	hash := [32]byte{1}
	for what, c := range map[string]struct {
		base   audit.Position
		marker uint64
	}{
		"no hash":                 {audit.Position{Seq: 3}, 0},
		"no sequence":             {audit.Position{Hash: hash}, 0},
		"marker after it":         {audit.Position{Seq: 3, Hash: hash}, 4},
		"marker at the beginning": {audit.Position{}, 1},
	} {
		d := newDisk()
		if err := audit.CreateAfter(small(d), c.base, c.marker); err == nil || len(d.steps) > 0 {
			t.Errorf("%s: error %v, steps %v", what, err, d.steps)
		}
	}
}

// Old segments may be gone from the front; what is left is whole, and says where it begins. That nobody cut it off is
// for the store to say (keystore/bolt, TestJournalWithoutItsBeginning).
func TestJournalWithoutItsOldestSegments(t *testing.T) {
	m := segments(t)
	whole, err := audit.Verify(small(restore(m)))
	if err != nil || whole.Base.Seq != 0 {
		t.Fatalf("%+v, %v", whole, err)
	}
	rest := maps.Clone(m)
	for number := 1; number < len(m); number++ {
		delete(rest, name(number))
		d := restore(rest)
		r, err := audit.Verify(small(d))
		if err != nil || r.Base.Seq == 0 || r.Base.Seq+r.Entries != whole.Entries || r.End != whole.End {
			t.Fatalf("without %d segments: %+v, %v", number, r, err)
		}
		j := mustOpen(t, small(d))
		if j.Base() != r.Base || j.End() != r.End {
			t.Errorf("without %d segments: base %d, end %d", number, j.Base().Seq, j.End().Seq)
		}
		mustAnswer(t, j, r.Base)
		mustReadFrom(t, small(d), j, r.Base.Seq)
		if p := mustAppend(t, j, "next"); p.Seq != r.End.Seq+1 {
			t.Errorf("the next sequence is %d", p.Seq)
		}
		_ = j.Close()
	}
}

// The header of the first segment can be forged, but not so that the journal seems to be there from its beginning.
func TestBaseZeroIsTheBeginning(t *testing.T) {
	m, _ := written(t, 1)
	header := []byte(m[first])
	header[72] ^= 1 // base hash
	reseal(header)
	mustRefuse(t, "a first segment that does not begin the chain", with(m, first, string(header)), audit.ErrCorrupt)
}

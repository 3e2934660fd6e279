package keystoretest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
)

// sector is the unit that a disk writes whole.
const sector = 512

// Replay goes through the log of a Disk and keeps, for the moment between two changes, what is surely on the disk and
// what may be.
type Replay struct {
	log    []Change
	next   int
	files  map[int]*diskState
	names  map[string]int // surely
	dirOps []Change       // not synced by their folder
}

// diskState is one file: content that was synced, and what was changed since.
type diskState struct {
	data    []byte
	pending []Change
}

// Replay begins before the first change.
func (d *Disk) Replay() *Replay {
	return &Replay{log: d.Log(), files: make(map[int]*diskState), names: make(map[string]int)}
}

// At is the number of changes gone through.
func (r *Replay) At() int { return r.next }

// Last is the change gone through last.
func (r *Replay) Last() string {
	if r.next == 0 {
		return "nothing"
	}
	return r.log[r.next-1].String()
}

// Step goes through the next change, and returns false when there is none.
func (r *Replay) Step() bool {
	if r.next == len(r.log) {
		return false
	}
	c := r.log[r.next]
	r.next++
	switch c.Kind {
	case Create:
		r.files[c.file] = new(diskState)
		r.dirOps = append(r.dirOps, c)
	case Rename, Remove:
		r.dirOps = append(r.dirOps, c)
	case SyncDir:
		r.syncDir(c.Path)
	case Write, Truncate:
		r.files[c.file].pending = append(r.files[c.file].pending, c)
	case Sync:
		f := r.files[c.file]
		for _, p := range f.pending {
			f.data = applyChange(f.data, p)
		}
		f.pending = nil
	case Broken:
		if f := r.files[c.file]; f != nil {
			f.pending = nil
		}
	}
	return true
}

// End goes through all that is left.
func (r *Replay) End() *Replay {
	for r.Step() {
	}
	return r
}

func (r *Replay) syncDir(dir string) {
	var rest []Change
	for _, c := range r.dirOps {
		if filepath.Dir(c.Path) != dir {
			rest = append(rest, c)
			continue
		}
		applyName(r.names, c)
	}
	r.dirOps = rest
}

func applyName(names map[string]int, c Change) {
	switch c.Kind {
	case Create:
		names[c.Path] = c.file
	case Rename:
		if names[c.Path] == c.file {
			delete(names, c.Path)
		}
		names[c.To] = c.file
	case Remove:
		if names[c.Path] == c.file {
			delete(names, c.Path)
		}
	}
}

func applyChange(data []byte, c Change) []byte {
	if c.Kind == Truncate {
		return sized(data, c.Offset)
	}
	if end := c.Offset + int64(len(c.Data)); end > int64(len(data)) {
		data = sized(data, end)
	}
	copy(data[c.Offset:], c.Data)
	return data
}

func sized(b []byte, n int64) []byte {
	if n <= int64(len(b)) {
		return b[:n]
	}
	grown := append(b[:len(b):len(b)], make([]byte, n-int64(len(b)))...)
	return grown
}

// A Cut decides what of the unsynced survives a power cut.
type Cut struct {
	rnd  *rand.Rand
	odds float64 // that a sector survives
	name float64 // that a change of a folder survives
	keep bool    // a folder's changes survive as a prefix of their order, as a journalling file system does it
}

// Nothing, Everything: the two ends.
func Nothing() Cut    { return Cut{rnd: rand.New(rand.NewPCG(0, 0))} }
func Everything() Cut { return Cut{rnd: rand.New(rand.NewPCG(0, 0)), odds: 1, name: 1} }

// RandomCut draws the odds too, so that all is met between losing nearly everything and nearly nothing.
func RandomCut(seed uint64) Cut {
	rnd := rand.New(rand.NewPCG(seed, 0x6b657972656576))
	odds := []float64{0, 0.05, 0.5, 0.95, 1}
	return Cut{rnd: rnd, odds: odds[rnd.IntN(len(odds))], name: odds[rnd.IntN(len(odds))], keep: rnd.IntN(2) == 0}
}

// yes is true with these odds; it draws in every case, so that a seed means the same everywhere.
func (c *Cut) yes(odds float64) bool { return c.rnd.Float64() < odds }

// Image writes into dir, which must be empty, what the disk may hold when the power fails now.
func (r *Replay) Image(dir string, cut Cut) error {
	names := maps.Clone(r.names)
	for _, c := range r.dirOps {
		if cut.yes(cut.name) {
			applyName(names, c)
		} else if cut.keep {
			break
		}
	}
	for _, path := range slices.Sorted(maps.Keys(names)) {
		full := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
			return fmt.Errorf("writing a crash image: %w", err)
		}
		if err := os.WriteFile(full, r.files[names[path]].survive(&cut), 0o600); err != nil {
			return fmt.Errorf("writing a crash image: %w", err)
		}
	}
	return nil
}

// survive returns the file's content after the cut: of each pending write any of its sectors, of the sizes that it
// had since the last sync any one.
func (f *diskState) survive(cut *Cut) []byte {
	data := slices.Clone(f.data)
	sizes := []int64{int64(len(data))}
	size := sizes[0]
	for _, c := range f.pending {
		if c.Kind == Truncate {
			size = c.Offset
		} else {
			size = max(size, c.Offset+int64(len(c.Data)))
			data = f.tear(data, c, cut)
		}
		sizes = append(sizes, size)
	}
	switch {
	case cut.odds == 0:
		size = sizes[0]
	case cut.odds < 1:
		size = sizes[cut.rnd.IntN(len(sizes))]
	}
	return sized(data, size)
}

// tear applies some of the sectors of one write.
func (f *diskState) tear(data []byte, c Change, cut *Cut) []byte {
	for off, rest := c.Offset, c.Data; len(rest) > 0; {
		n := min(sector-off%sector, int64(len(rest)))
		if cut.yes(cut.odds) {
			data = applyChange(data, Change{Kind: Write, Offset: off, Data: rest[:n]})
		}
		off, rest = off+n, rest[n:]
	}
	return data
}

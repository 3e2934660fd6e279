package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/keyreeve/keyreeve/internal/durable"
)

const (
	openRead      = os.O_RDONLY
	openReadWrite = os.O_RDWR
)

// ErrMissing is returned by Open and Verify when there is no journal. None is made: a store without its journal was
// copied in part, and a new journal would hide that.
var ErrMissing = errors.New("there is no audit journal")

var errBase = errors.New("no place for a journal to go on from")

// Create makes an empty journal in cfg.Dir, which is made too. It fails with an error wrapping fs.ErrExist, and
// changes nothing, when there is one.
func Create(cfg Config) error { return CreateAfter(cfg, Position{}, 0) }

// CreateAfter is Create for a store that was restored from a backup: the journal goes on after base, the position that
// the store's head names, and its first group follows base.Hash. Marker is what the store has committed, so base.Seq
// for a whole backup. What is before base is in the journal of the machine that was lost. The zero Position is the
// beginning of a new journal.
func CreateAfter(cfg Config, base Position, marker uint64) error {
	cfg = cfg.withDefaults()
	if err := create(&cfg, base, marker); err != nil {
		return fmt.Errorf("creating audit journal in %s: %w", cfg.Dir, err)
	}
	return nil
}

func create(cfg *Config, base Position, marker uint64) error {
	switch {
	case base == Position{}:
		base.Hash = genesis(cfg.StoreID)
	case base.Seq == 0 || base.Hash == [32]byte{}:
		return fmt.Errorf("%w: sequence %d with hash %x", errBase, base.Seq, base.Hash)
	}
	if marker > base.Seq {
		return fmt.Errorf("%w: marker %d is after sequence %d", errBase, marker, base.Seq)
	}
	if err := cfg.FS.MkdirAll(cfg.Dir, 0o700); err != nil {
		return err
	}
	x, err := segments(cfg.FS, cfg.Dir)
	if err != nil {
		return err
	}
	if x.last != 0 {
		return fs.ErrExist
	}
	return createSegment(cfg, newHeader(cfg, 1, base, marker), cfg.zone())
}

// Open opens the journal in cfg.Dir for appending. It reads the last two segments, so that it takes as long for an
// old journal as for a new one; Verify reads all. A last group that a crash left unfinished is cut off, logged and
// told by Torn. Anything else that is wrong is ErrCorrupt, ErrForeign, ErrVersion or ErrMissing.
//
// That old segments are gone is no error here: Base says where the journal begins, and who knows how much was archived
// has to compare.
//
// Nothing is written before the first Append, not even what is torn is cut off: the store compares the journal with its
// head first, and what it refuses has to stay as it was found.
func Open(cfg Config) (*Journal, error) {
	cfg = cfg.withDefaults()
	j := &Journal{
		cfg: cfg, wake: make(chan struct{}, 1), kick: make(chan struct{}, 1),
		stop: make(chan struct{}), stopped: make(chan struct{}),
	}
	j.turn.L, j.room.L = &j.mu, &j.mu
	j.pending = j.fresh()
	if err := j.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("opening audit journal in %s: %w", cfg.Dir, err), j.out.close())
	}
	go j.flusher()
	return j, nil
}

func (j *Journal) open() error {
	x, err := findSegments(&j.cfg)
	if err != nil {
		return err
	}
	last := x.last
	if j.out, err = openWriter(&j.cfg, last); err != nil {
		return err
	}
	s := newScanner(j.out.file, j.out.head, j.out.size)
	var lastGroup group
	dirty, err := s.walk(false, func(g *group) error { lastGroup = *g; return nil })
	if err != nil {
		return fmt.Errorf("segment %d: %w", last, err)
	}
	if err := j.checkJoin(x); err != nil {
		return err
	}
	if j.base, err = baseOf(&j.cfg, x.first); err != nil {
		return err
	}
	j.end, j.marker, j.onDisk = s.end, s.marker, s.marker
	j.out.off, j.torn = s.off, dirty-s.off
	j.first, j.segment, j.offset = x.first, last, s.off
	j.unsettled = func() error { return j.settle(s, lastGroup) }
	return nil
}

func findSegments(cfg *Config) (extent, error) {
	x, err := segments(cfg.FS, cfg.Dir)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && x.last == 0) {
		return x, ErrMissing
	}
	return x, err
}

// baseOf returns the position before segment number.
func baseOf(cfg *Config, number uint64) (Position, error) {
	f, h, err := readHeader(cfg, number, openRead)
	if err != nil {
		return Position{}, err
	}
	return h.base, f.Close()
}

// checkJoin compares the end of the segment before with what the last one says it was.
func (j *Journal) checkJoin(x extent) error {
	last := x.last
	if last == x.first {
		return nil
	}
	f, h, err := readHeader(&j.cfg, last-1, openRead)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	size, err := f.Size()
	if err != nil {
		return err
	}
	s := newScanner(f, h, size)
	dirty, err := s.walk(false, func(*group) error { return nil })
	if err != nil {
		return fmt.Errorf("segment %d: %w", last-1, err)
	}
	if dirty != s.off {
		return fmt.Errorf("%w: segment %d has no valid group after sequence %d, but segment %d exists", ErrCorrupt, last-1, s.end.Seq, last)
	}
	return s.join(&j.out.head)
}

// settle is the first write: it makes what was found durable before anything is chained to it. The last group may be one whose sync failed:
// then it is in the page cache, perhaps not on the disk, and a further sync would not write it. So it is written
// again. What is torn is overwritten with zeros.
func (j *Journal) settle(s *scanner, last group) error {
	if err := durable.RemoveTemp(j.cfg.FS, j.cfg.Dir); err != nil {
		return err
	}
	if last.size > 0 {
		whole, err := s.peek(last.off, int(last.size))
		if err != nil {
			return err
		}
		if _, err := j.out.file.WriteAt(whole, last.off); err != nil {
			return err
		}
	}
	for off, end := s.off, s.off+j.torn; off < end; off += int64(len(zeros)) {
		if _, err := j.out.file.WriteAt(zeros[:min(int64(len(zeros)), end-off)], off); err != nil {
			return err
		}
	}
	if err := errors.Join(j.out.file.Sync(), j.cfg.FS.SyncDir(j.cfg.Dir)); err != nil {
		return err
	}
	if j.torn > 0 {
		j.cfg.Logger.Warn("audit journal: cut off a last group that a crash left unfinished", "dir", j.cfg.Dir, "bytes", j.torn, "after", s.end.Seq)
		j.Buffer(Event{Class: Note, Outcome: Success, Operation: opTorn, Reason: fmt.Sprintf("%d bytes after sequence %d", j.torn, s.end.Seq)}) // goes with the next group
	}
	return nil
}

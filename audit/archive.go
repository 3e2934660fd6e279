package audit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/keyreeve/keyreeve/internal/durable"
)

// A Segment is a finished segment, as seen by whoever decides what to archive.
type Segment struct {
	Number uint64
	End    Position // the journal begins here once the segment is gone
	Bytes  int64
	Ended  int64 // Unix nanoseconds
}

// Segments lists the finished segments, oldest first; the one that is being written is not among them.
func (j *Journal) Segments() ([]Segment, error) {
	_, x := j.snapshot()
	var all []Segment
	for number := x.first; number < x.last; number++ {
		info, err := j.cfg.FS.Stat(segmentPath(j.cfg.Dir, number))
		if err != nil {
			return nil, err
		}
		f, h, err := readHeader(&j.cfg, number+1, openRead)
		if err != nil {
			return nil, err
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
		all = append(all, Segment{Number: number, End: h.base, Bytes: info.Size(), Ended: h.created})
	}
	return all, nil
}

// Archive takes the oldest segments that end at or before seq out of the folder, with their checkpoints, and returns
// how many. With a folder to, they are copied there, synced, read back and checked before the original goes; with an
// empty one they are gone. Nothing beyond the newest checkpoint is taken, and nothing out of the middle.
//
// The caller has first made the store allow it (keystore.Store.ArchiveJournal): else the journal would not open again.
func (j *Journal) Archive(seq uint64, to string) (taken int, err error) {
	if seq > j.Signed().Seq {
		return 0, fmt.Errorf("archiving the audit journal: sequence %d is after the newest checkpoint, %d", seq, j.Signed().Seq)
	}
	if to != "" {
		if err := j.cfg.FS.MkdirAll(to, 0o700); err != nil {
			return 0, fmt.Errorf("archiving the audit journal: %w", err)
		}
	}
	all, err := j.Segments()
	if err != nil {
		return 0, fmt.Errorf("archiving the audit journal: %w", err)
	}
	for _, s := range all {
		if s.End.Seq > seq {
			break
		}
		if err := j.archive(&s, to); err != nil {
			return taken, fmt.Errorf("archiving segment %d of the audit journal: %w", s.Number, err)
		}
		taken++
	}
	return taken, nil
}

// archive takes one segment out. The folder is synced each time: of two segments that are gone the older one must be.
func (j *Journal) archive(s *Segment, to string) error {
	if to != "" {
		if err := j.keep(s, to); err != nil {
			return err
		}
	}
	base := j.Base()
	j.begin(s.Number+1, s.End) // readers look there first, and find nothing missing
	for _, path := range []string{notesPath(j.cfg.Dir, s.Number), segmentPath(j.cfg.Dir, s.Number)} {
		if err := j.cfg.FS.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			j.stays(s, base)
			return err
		}
	}
	return j.cfg.FS.SyncDir(j.cfg.Dir)
}

func (j *Journal) begin(first uint64, base Position) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.first, j.base = first, base
}

// stays has the journal begin with a segment again that could not be removed. Else the next one would be taken out
// after it, and the server would not start any more: a segment that is missing in the middle is a journal that was cut.
func (j *Journal) stays(s *Segment, base Position) {
	if _, err := j.cfg.FS.Stat(segmentPath(j.cfg.Dir, s.Number)); errors.Is(err, fs.ErrNotExist) {
		return // gone all the same
	}
	j.begin(s.Number, base)
}

// keep makes sure that a segment and its checkpoints are in the archive, durable and readable. A copy that is there
// already, because a crash came before the original went, stays if it ends with the same hash.
func (j *Journal) keep(s *Segment, to string) error {
	path := segmentPath(to, s.Number)
	_, err := j.cfg.FS.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = j.copySegment(s, path)
	}
	if err == nil {
		err = j.checkKept(s, to)
	}
	if err != nil {
		return err
	}
	notes, err := durable.ReadFile(j.cfg.FS, notesPath(j.cfg.Dir, s.Number), maxNotes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return durable.WriteFile(j.cfg.FS, notesPath(to, s.Number), notes, 0o600)
}

// checkKept reads the copy of a segment as Verify would.
func (j *Journal) checkKept(s *Segment, dir string) error {
	cfg := j.cfg
	cfg.Dir = dir
	copied, err := openScanner(&cfg, s.Number, extent{first: s.Number, last: s.Number})
	if err != nil {
		return err
	}
	_, err = copied.walk(false, func(*group) error { return nil })
	if err := errors.Join(err, copied.file.Close()); err != nil {
		return err
	}
	if copied.end != s.End {
		return fmt.Errorf("%w: %s is there already and is another segment, or was not copied whole: it ends at sequence %d, want %d; choose another folder for the archive",
			ErrCorrupt, segmentPath(dir, s.Number), copied.end.Seq, s.End.Seq)
	}
	return nil
}

// copySegment copies a segment, in pieces, under another name first.
func (j *Journal) copySegment(s *Segment, path string) error {
	in, err := j.cfg.FS.OpenFile(segmentPath(j.cfg.Dir, s.Number), os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	part := path + ".part"
	if err := errors.Join(copyTo(j.cfg.FS, part, in), in.Close()); err != nil {
		return err
	}
	if err := j.cfg.FS.RenameNew(part, path); err != nil {
		return err
	}
	return j.cfg.FS.SyncDir(filepath.Dir(path))
}

// copyTo writes what in holds to path, over what a crash left there, and syncs it.
func copyTo(fsys durable.FS, path string, in durable.File) error {
	const flag = os.O_WRONLY | os.O_CREATE | os.O_EXCL
	out, err := fsys.OpenFile(path, flag, 0o600)
	if errors.Is(err, fs.ErrExist) {
		if err := fsys.Remove(path); err != nil {
			return err
		}
		out, err = fsys.OpenFile(path, flag, 0o600)
	}
	if err != nil {
		return err
	}
	buf := make([]byte, windowSize)
	for off := int64(0); ; {
		n, err := in.ReadAt(buf, off)
		if err != nil && !errors.Is(err, io.EOF) {
			return errors.Join(err, out.Close())
		}
		if n == 0 {
			return errors.Join(out.Sync(), out.Close())
		}
		if _, err := out.WriteAt(buf[:n], off); err != nil {
			return errors.Join(err, out.Close())
		}
		off += int64(n)
	}
}

package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/keyreeve/keyreeve/internal/durable"
)

// The checkpoints of a segment lie beside it, in a file that is only appended to, and are archived with it.
const (
	notesSuffix = ".checkpoints"
	maxNotes    = 64 << 20
)

func notesPath(dir string, number uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%0*d%s", segmentDigits, number, notesSuffix))
}

// readNotes returns the checkpoints beside a segment, and the bytes that they take. Behind them there may be one that a
// crash left unfinished, or that is being written; err says what else is wrong.
func readNotes(cfg *Config, number uint64) (all []Checkpoint, n int, err error) {
	text, err := durable.ReadFile(cfg.FS, notesPath(cfg.Dir, number), maxNotes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	all, n, err = ParseCheckpoints(text)
	if err != nil && len(text)-n < len((&Checkpoint{}).Text())+64 {
		err = nil // a torn one
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", notesPath(cfg.Dir, number), err)
	}
	return all, n, err
}

// appendNote writes a checkpoint at the end of its segment's file, over what is torn there, and returns after the sync.
func appendNote(cfg *Config, number uint64, c *Checkpoint) error {
	_, n, err := readNotes(cfg, number)
	if err != nil {
		return err
	}
	f, err := cfg.FS.OpenFile(notesPath(cfg.Dir, number), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := writeNote(f, int64(n), []byte(c.Text())); err != nil {
		return errors.Join(err, f.Close())
	}
	return errors.Join(f.Close(), cfg.FS.SyncDir(cfg.Dir))
}

func writeNote(f durable.File, at int64, text []byte) error {
	size, err := f.Size()
	if err != nil {
		return err
	}
	if size > at { // never in the middle of a line that somebody else may be reading
		if err := f.Truncate(at); err != nil {
			return err
		}
	}
	if _, err := f.WriteAt(text, at); err != nil {
		return err
	}
	return f.Sync()
}

// lastNote returns the newest checkpoint in the folder, and its segment. It looks from the newest segment backwards.
func lastNote(cfg *Config, x extent) (c Checkpoint, number uint64, err error) {
	for number := x.last; number >= x.first; number-- {
		all, _, err := readNotes(cfg, number)
		if err != nil {
			return c, number, err
		}
		if len(all) > 0 {
			return all[len(all)-1], number, nil
		}
	}
	return c, 0, nil
}

// Checkpoints returns the checkpoints that lie beside the segments of a folder, oldest segment first. Nothing is checked.
func Checkpoints(cfg Config) (all []Checkpoint, err error) {
	cfg = cfg.withDefaults()
	x, err := findSegments(&cfg)
	if err != nil {
		return nil, fmt.Errorf("reading checkpoints in %s: %w", cfg.Dir, err)
	}
	for number := x.first; number <= x.last; number++ {
		found, _, err := readNotes(&cfg, number)
		if err != nil {
			return all, fmt.Errorf("reading checkpoints: %w", err)
		}
		all = append(all, found...)
	}
	return all, nil
}

package bolt

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/keyreeve/keyreeve/internal/durable"
	"github.com/keyreeve/keyreeve/keystore"
)

// ErrNoFile is returned by Open when there is no file at the path: Open never makes one.
var ErrNoFile = errors.New("there is no store")

// Options are all optional.
type Options struct {
	// FS makes, renames and syncs what is not bbolt's own work; durable.OS when nil. bbolt itself opens and writes the file.
	FS durable.FS
	// MapSize is the number of bytes mapped from the start, 1 GiB when 0. It is address space, not memory; a file
	// that grows beyond it makes a commit wait until the Views of that moment end.
	MapSize int
	// GrowBy is the number of bytes by which the file grows when it is full, 16 MiB when 0. The new part is sparse.
	GrowBy int
}

const (
	defaultMapSize = 1 << 30
	defaultGrowBy  = 16 << 20
	lockTimeout    = time.Second
	fileMode       = 0o600
)

func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = durable.OS
	}
	if o.MapSize == 0 {
		o.MapSize = defaultMapSize
	}
	if o.GrowBy == 0 {
		o.GrowBy = defaultGrowBy
	}
	return o
}

// Backend implements keystore.Backend on one file. Its methods may be called from several goroutines.
type Backend struct {
	path string
	fs   durable.FS
	db   *bbolt.DB
	file *os.File // bbolt's own, to give the lock back when bbolt cannot close any more

	mapSize int // Options.MapSize

	writer  chan struct{} // holds one token: the right to Update
	pending overlay       // the writes of the Update that has the token
	checked map[uint64]bool

	views   snapshots
	readers sync.Pool // of *reader

	failed    atomic.Pointer[failure] // set once: no Update any more
	uncertain atomic.Uint64           // the transaction whose commit failed: Views must not see it
	stuck     atomic.Bool             // bbolt died holding its locks: do not call it again
	closed    atomic.Bool
}

type failure struct{ cause error }

var _ keystore.Backend = (*Backend)(nil)

// Create makes an empty store at path, which must not exist (the error wraps fs.ErrExist then, and the file there is
// left alone). The file is written beside path under a temporary name, synced, and renamed: a crash leaves either no
// file at path or a whole one.
func Create(path string, o Options) error {
	o = o.withDefaults()
	if _, err := o.FS.Stat(path); err == nil {
		return fmt.Errorf("creating the store %s: %w", path, fs.ErrExist)
	}
	temp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".keyreeve-tmp-"+rand.Text())
	if err := createTemp(temp, o); err != nil {
		return errors.Join(fmt.Errorf("creating the store %s: %w", path, err), removeTemp(o.FS, temp))
	}
	if err := o.FS.RenameNew(temp, path); err != nil {
		return errors.Join(fmt.Errorf("creating the store %s: %w", path, err), removeTemp(o.FS, temp))
	}
	if err := o.FS.SyncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("creating the store %s: syncing the folder: %w", path, err)
	}
	return nil
}

// createTemp has bbolt write its first pages into a new file and syncs them.
func createTemp(temp string, o Options) error {
	f, err := o.FS.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	db, err := bbolt.Open(temp, fileMode, &bbolt.Options{Timeout: lockTimeout, NoStatistics: true, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return err
	}
	return errors.Join(db.Sync(), db.Close())
}

func removeTemp(fsys durable.FS, temp string) error {
	if err := fsys.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the temporary file: %w", err)
	}
	return nil
}

// Open opens the store at path, which Create made. The errors wrap ErrNoFile, durable.ErrLocked when another process
// (or another Open) has it, or keystore.ErrCorrupt. The time that it takes does not depend on the number of keys.
func Open(path string, o Options) (*Backend, error) {
	o = o.withDefaults()
	b := &Backend{path: path, fs: o.FS, mapSize: o.MapSize, writer: make(chan struct{}, 1), checked: make(map[uint64]bool)}
	b.readers.New = func() any { return new(reader) }
	if err := b.open(o); err != nil {
		return nil, fmt.Errorf("opening the store %s: %w", path, err)
	}
	b.db.AllocSize = o.GrowBy
	b.writer <- struct{}{}
	return b, nil
}

// open runs bbolt's Open with its panics caught. Before bbolt looks at the file, openFile has locked and checked it:
// bbolt would make an empty file into a new store, and takes the freelist for what it says.
func (b *Backend) open(o Options) error {
	err := guard(func() (err error) {
		b.db, err = bbolt.Open(b.path, fileMode, &bbolt.Options{
			Timeout:         lockTimeout,
			FreelistType:    bbolt.FreelistMapType,
			InitialMmapSize: o.MapSize,
			NoStatistics:    true,
			OpenFile:        b.openFile,
		})
		return err
	})
	if err == nil {
		err = b.firstLook()
	}
	if err != nil {
		return errors.Join(openError(err), b.abandon())
	}
	return nil
}

// openFile is what bbolt calls to open its file.
func (b *Backend) openFile(path string, flag int, _ os.FileMode) (*os.File, error) {
	f, err := os.OpenFile(path, flag&^os.O_CREATE, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: nothing is at that path; `keyreeve init` makes a new store, `keyreeve backup restore` brings one back from a backup", ErrNoFile)
	}
	if err != nil {
		return nil, err
	}
	if err := lockFile(f, lockTimeout); err != nil {
		return nil, errors.Join(b.lockError(err), f.Close())
	}
	for _, step := range []func(*os.File) error{b.settle, durable.DropCache, checkBeforeOpen} {
		if err := step(f); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	b.file = f
	return f, nil
}

// settle syncs what an earlier process may have written without a sync that succeeded, before anybody reads it: a
// client must not be told of a commit that a power cut still takes back.
func (b *Backend) settle(*os.File) error {
	f, err := b.fs.OpenFile(b.path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("syncing what an earlier process left: %w", err)
	}
	return nil
}

// lockError says who serves the store, if the folder's lock file tells it.
func (b *Backend) lockError(err error) error {
	if !errors.Is(err, durable.ErrLocked) {
		return err
	}
	note := filepath.Join(filepath.Dir(b.path), durable.LockName)
	if pid, readErr := durable.ReadFile(durable.OS, note, 32); readErr == nil && len(pid) > 0 {
		return fmt.Errorf("%w: another keyreeve serves it, process %s as %s notes", err, trimNumber(pid), note)
	}
	return fmt.Errorf("%w: another keyreeve serves it", err)
}

func trimNumber(b []byte) []byte {
	for i, c := range b {
		if c < '0' || c > '9' {
			return b[:i]
		}
	}
	return b
}

// openError turns what bbolt says about a file into our words.
func openError(err error) error {
	for _, damaged := range []error{berrors.ErrInvalid, berrors.ErrVersionMismatch, berrors.ErrChecksum, berrors.ErrInvalidMapping} {
		if errors.Is(err, damaged) {
			return fmt.Errorf("%w: %w", keystore.ErrCorrupt, err)
		}
	}
	return err
}

// firstLook reads the directory of families once, so that damage at the root is found now.
func (b *Backend) firstLook() error {
	s, err := b.acquire(context.Background())
	if err != nil {
		return err
	}
	b.release(s)
	return nil
}

// Path is where the file lies.
func (b *Backend) Path() string { return b.path }

// Close waits for the running Update and for all Views, and closes the file. Updates that wait are refused.
func (b *Backend) Close() error {
	if b.closed.Swap(true) {
		return nil
	}
	<-b.writer
	defer func() { b.writer <- struct{}{} }()
	b.beginCommit()
	defer b.endCommit()
	b.unpin()
	if b.stuck.Load() {
		return b.abandon()
	}
	err := guard(b.db.Close)
	if err != nil {
		return fmt.Errorf("closing the store %s: %w", b.path, err)
	}
	return nil
}

// abandon gives lock and file back without bbolt, whose locks may be held for ever after a panic in the middle. The
// mapping stays until the process ends.
func (b *Backend) abandon() error {
	if b.file == nil {
		return nil
	}
	f := b.file
	b.file = nil
	if err := unlockFile(f); err != nil && !errors.Is(err, os.ErrClosed) {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

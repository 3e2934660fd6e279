package backup_test

import (
	"os"
	"sync"

	"github.com/keyreeve/keyreeve/internal/durable"
)

// trouble is a file system on which the nth step fails, or where what is read
// is not what was written.
type trouble struct {
	durable.FS
	mu      sync.Mutex // guards steps and err while a schedule runs
	steps   int        // that still work
	err     error
	corrupt bool
}

func (f *trouble) step() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.steps--; f.err != nil && f.steps < 0 {
		return f.err
	}
	return nil
}

// heal ends it.
func (f *trouble) heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = nil
}

func (f *trouble) OpenFile(name string, flag int, perm os.FileMode) (durable.File, error) {
	if err := f.step(); err != nil {
		return nil, err
	}
	file, err := f.FS.OpenFile(name, flag, perm)
	return &troubled{file, f}, err
}

func (f *trouble) RenameNew(from, to string) error {
	if err := f.step(); err != nil {
		return err
	}
	return f.FS.RenameNew(from, to)
}

type troubled struct {
	durable.File
	fs *trouble
}

func (f *troubled) WriteAt(b []byte, at int64) (int, error) {
	if err := f.fs.step(); err != nil {
		return 0, err
	}
	return f.File.WriteAt(b, at)
}

func (f *troubled) Sync() error {
	if err := f.fs.step(); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *troubled) ReadAt(b []byte, at int64) (int, error) {
	if err := f.fs.step(); err != nil {
		return 0, err
	}
	n, err := f.File.ReadAt(b, at)
	if f.fs.corrupt && n > 0 {
		b[n-1] ^= 1
	}
	return n, err
}

package keystoretest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/keyreeve/keyreeve/internal/durable"
)

// A Disk notes every change that a program makes to the files below one folder, in order, so that Replay can tell
// what a power cut between any two of them may leave behind. Changes reach it through FS, for code that takes a
// durable.FS, and through the File methods, for code that has to be given a hook (bbolt).
//
// The changes are made to real files too, so the program reads back what it wrote. Its syncs are noted and not
// carried out: nobody cuts the power of the real disk.
//
// Fault, when set before the program starts, decides about each change. Methods may be called from many goroutines;
// changes are put into one order, the one in which they took effect.
type Disk struct {
	// Fault is called with the number of the change, from 0, and the change. It must not call the Disk.
	Fault func(n int, c Change) Fault

	root string

	mu    sync.Mutex
	log   []Change
	names map[string]int // path below root → file, as the program sees it
	files int
}

// Fault is what happens to a change. The zero value: it works.
type Fault struct {
	// Err is returned to the program.
	Err error
	// Stored tells that the change reached the disk although Err was returned.
	Stored bool
	// Lie tells that the change is left out although the program is told that it worked. A later sync of the file
	// makes up for a sync that was left out.
	Lie bool
	// Lost tells that a sync failed, so that what it should have written is gone, and the program did not notice.
	Lost bool
}

// Kind of a Change.
type Kind uint8

// The kinds.
const (
	Create   Kind = iota + 1 // of an empty file, at Path
	Write                    // of Data at Offset
	Truncate                 // to Offset bytes
	Sync                     // of a file's content and size
	Rename                   // of Path to To
	Remove                   // of Path
	SyncDir                  // of the entries of the folder Path
	Broken                   // a sync that failed: what it should have written is lost, and no later sync writes it
)

var kindNames = [...]string{Create: "create", Write: "write", Truncate: "truncate", Sync: "sync", Rename: "rename", Remove: "remove", SyncDir: "syncdir", Broken: "failed sync"}

func (k Kind) String() string { return kindNames[k] }

// Change is one entry of the log. Paths are relative to the Disk's folder.
type Change struct {
	Kind   Kind
	Path   string
	To     string
	Offset int64
	Data   []byte
	file   int // which file, whatever its name
}

func (c Change) String() string {
	switch c.Kind {
	case Write:
		return fmt.Sprintf("write %s at %d, %d bytes", c.Path, c.Offset, len(c.Data))
	case Truncate:
		return fmt.Sprintf("truncate %s to %d", c.Path, c.Offset)
	case Rename:
		return fmt.Sprintf("rename %s to %s", c.Path, c.To)
	default:
		return c.Kind.String() + " " + c.Path
	}
}

// NewDisk notes what happens below root, an existing folder. Files that are there count as synced: they are the first
// entries of the log, and Len tells where those end.
func NewDisk(root string) (*Disk, error) {
	d := &Disk{root: root, names: make(map[string]int)}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, _ := d.rel(path)
		d.note(Change{Kind: Create, Path: rel}, true)
		d.note(Change{Kind: Write, Path: rel, Data: content, file: d.files}, true)
		d.note(Change{Kind: Sync, Path: rel, file: d.files}, true)
		d.note(Change{Kind: SyncDir, Path: filepath.Dir(rel)}, true)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading what is on the disk: %w", err)
	}
	return d, nil
}

// Root is the folder.
func (d *Disk) Root() string { return d.root }

// Len is the number of changes so far. All that a program was told to be durable before Len was called is in the
// changes before that number.
func (d *Disk) Len() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.log)
}

// Log returns a copy of the changes so far.
func (d *Disk) Log() []Change {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]Change(nil), d.log...)
}

// rel returns path below root. ok is false for a path elsewhere.
func (d *Disk) rel(path string) (rel string, ok bool) {
	rel, err := filepath.Rel(d.root, path)
	return rel, err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

// do decides about one change, makes it and notes it, all under the lock: the log has the order of the effects.
func (d *Disk) do(c Change, apply func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.Kind != Create && c.file == 0 {
		c.file = d.names[c.Path]
	}
	if c.file == 0 && c.Kind != Create && c.Kind != SyncDir {
		return fmt.Errorf("the disk model has not seen %s made", c.Path)
	}
	var f Fault
	if d.Fault != nil {
		f = d.Fault(len(d.log), c)
	}
	if f.Lie || f.Lost || f.Err != nil && !f.Stored {
		d.note(Change{Kind: Broken, Path: c.Path, file: c.file}, c.Kind == Sync && !f.Lie)
		return f.Err
	}
	if err := apply(); err != nil {
		return err
	}
	d.note(c, true)
	return f.Err
}

func (d *Disk) note(c Change, effective bool) {
	switch {
	case !effective:
		c.file = 0
	case c.Kind == Create:
		d.files++
		c.file = d.files
		d.names[c.Path] = c.file
	case c.Kind == Rename:
		delete(d.names, c.Path)
		d.names[c.To] = c.file
	case c.Kind == Remove:
		delete(d.names, c.Path)
	}
	d.log = append(d.log, c)
}

// WriteAt is os.File.WriteAt, noted when the file lies in the Disk's folder.
func (d *Disk) WriteAt(f *os.File, b []byte, off int64) (int, error) { return d.writeAt(f, 0, b, off) }

// Truncate is os.File.Truncate, noted.
func (d *Disk) Truncate(f *os.File, size int64) error { return d.truncate(f, 0, size) }

// Sync is os.File.Sync or fdatasync, noted and not carried out.
func (d *Disk) Sync(f *os.File) error { return d.sync(f, 0) }

// writeAt is WriteAt; id tells which file it is when its name may be another by now, 0 if the name tells.
func (d *Disk) writeAt(f *os.File, id int, b []byte, off int64) (int, error) {
	path, ok := d.rel(f.Name())
	if !ok {
		return f.WriteAt(b, off)
	}
	n := len(b)
	err := d.do(Change{Kind: Write, Path: path, Offset: off, Data: append([]byte(nil), b...), file: id}, func() (err error) {
		n, err = f.WriteAt(b, off)
		return err
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

func (d *Disk) truncate(f *os.File, id int, size int64) error {
	path, ok := d.rel(f.Name())
	if !ok {
		return f.Truncate(size)
	}
	return d.do(Change{Kind: Truncate, Path: path, Offset: size, file: id}, func() error { return f.Truncate(size) })
}

func (d *Disk) sync(f *os.File, id int) error {
	path, ok := d.rel(f.Name())
	if !ok {
		return f.Sync()
	}
	return d.do(Change{Kind: Sync, Path: path, file: id}, func() error { return nil })
}

// FS returns durable.OS with all changes below the Disk's folder noted.
func (d *Disk) FS() durable.FS { return diskFS{durable.OS, d} }

type diskFS struct {
	durable.FS
	d *Disk
}

func (f diskFS) OpenFile(name string, flag int, perm os.FileMode) (durable.File, error) {
	path, ok := f.d.rel(name)
	_, statErr := os.Stat(name)
	var file *os.File
	open := func() (err error) {
		file, err = f.open(name, flag, perm)
		return err
	}
	err := error(nil)
	if !ok || flag&os.O_CREATE == 0 || statErr == nil && flag&os.O_EXCL == 0 {
		err = open()
	} else {
		err = f.d.do(Change{Kind: Create, Path: path}, open)
	}
	if err != nil {
		if file != nil { // made, and the program was told that it was not
			_ = file.Close()
		}
		return nil, err
	}
	return diskFile{file, f.d, f.d.id(path)}, nil
}

// open opens a file that exists, or lets the real file system say why it does not. Emptying a file by O_TRUNC is a
// change of its own; nothing of ours does it to a file with content.
func (f diskFS) open(name string, flag int, perm os.FileMode) (*os.File, error) {
	if info, err := os.Stat(name); err == nil && flag&os.O_TRUNC != 0 && info.Size() > 0 {
		return nil, errors.New("the disk model does not know O_TRUNC of a file with content")
	}
	return os.OpenFile(name, flag, perm)
}

// id is the file that has that path now.
func (d *Disk) id(path string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.names[path]
}

func (f diskFS) Rename(from, to string) error    { return f.rename(from, to, f.FS.Rename) }
func (f diskFS) RenameNew(from, to string) error { return f.rename(from, to, f.FS.RenameNew) }

func (f diskFS) rename(from, to string, rename func(a, b string) error) error {
	a, ok1 := f.d.rel(from)
	b, ok2 := f.d.rel(to)
	if !ok1 || !ok2 {
		return rename(from, to)
	}
	return f.d.do(Change{Kind: Rename, Path: a, To: b}, func() error { return rename(from, to) })
}

func (f diskFS) Remove(name string) error {
	path, ok := f.d.rel(name)
	if !ok {
		return f.FS.Remove(name)
	}
	return f.d.do(Change{Kind: Remove, Path: path}, func() error { return f.FS.Remove(name) })
}

func (f diskFS) SyncDir(dir string) error {
	path, ok := f.d.rel(dir)
	if !ok {
		return f.FS.SyncDir(dir)
	}
	return f.d.do(Change{Kind: SyncDir, Path: path}, func() error { return nil })
}

// diskFile stays the same file when it is renamed.
type diskFile struct {
	*os.File
	d  *Disk
	id int
}

func (f diskFile) WriteAt(b []byte, off int64) (int, error) {
	return f.d.writeAt(f.File, f.id, b, off)
}
func (f diskFile) Truncate(size int64) error { return f.d.truncate(f.File, f.id, size) }
func (f diskFile) Sync() error               { return f.d.sync(f.File, f.id) }

func (f diskFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

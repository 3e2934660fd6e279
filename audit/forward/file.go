package forward

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/internal/durable"
)

// File is the Sink of a file of JSON lines. Each batch is synced. The file is renamed, with the time in its name, when
// it has its size; after Reopen, as log rotation asks for with SIGHUP, the path is opened anew.
type File struct {
	path  string
	bytes int64 // 0: any size
	known func(audit.Position) bool
	fs    durable.FS
	now   func() time.Time

	file   durable.File
	size   int64
	end    audit.Position
	reopen atomic.Bool
	buf    []byte
}

// NewFile makes a File. bytes is the size at which it is renamed; 0 for never. known tells whether the journal has this
// position: a file that ends elsewhere was written before a restore, and says nothing of what is in it already.
func NewFile(fsys durable.FS, path string, bytes int64, known func(audit.Position) bool, now func() time.Time) *File {
	return &File{path: path, bytes: bytes, known: known, fs: fsys, now: now}
}

// Reopen has the path opened anew before the next line. It may be called from any goroutine.
func (f *File) Reopen() { f.reopen.Store(true) }

// Send implements Sink. What is in the file already is not written again.
func (f *File) Send(_ context.Context, first audit.Line, lines []audit.Line, end audit.Position) error {
	if f.reopen.Swap(false) {
		f.drop()
	}
	if f.file == nil {
		if err := f.open(); err != nil {
			return fmt.Errorf("opening %s: %w", f.path, err)
		}
	}
	f.buf = f.buf[:0]
	if f.size == 0 || f.end.Seq < first.Seq {
		f.buf = first.Append(f.buf)
	}
	for i := range lines {
		if l := &lines[i]; l.Type != audit.LineEvent || l.Seq > f.end.Seq {
			f.buf = l.Append(f.buf)
		}
	}
	if _, err := f.file.WriteAt(f.buf, f.size); err != nil {
		f.drop()
		return err
	}
	if err := f.file.Sync(); err != nil {
		f.drop()
		return err
	}
	f.size += int64(len(f.buf))
	if end.Seq > f.end.Seq {
		f.end = end
	}
	return f.rotate()
}

// Settled implements Sink.
func (f *File) Settled() (audit.Position, error) { return f.end, nil }

// Close implements Sink.
func (f *File) Close() error {
	f.drop()
	return nil
}

func (f *File) drop() {
	if f.file != nil {
		_ = f.file.Close() // all that counts is synced
	}
	f.file = nil
}

// open goes on in the file that is there. What a crash left unfinished behind the last whole group is cut off, and comes
// again.
func (f *File) open() error {
	file, err := f.fs.OpenFile(f.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := f.fs.SyncDir(filepath.Dir(f.path)); err != nil {
		return errors.Join(err, file.Close())
	}
	at, size, err := lastGroup(file)
	if err == nil && size < 0 {
		err = errors.New("it holds something else than an audit export; choose another file")
	}
	if err == nil {
		err = file.Truncate(size)
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	f.file, f.size = file, size
	if f.end = (audit.Position{}); at.Seq > 0 && f.known(at) {
		f.end = at
	}
	return nil
}

// A group of many events, not written to its end, can be longer than the first; what is longer than the second is not
// ours.
const (
	tailBytes    = 4 << 20
	maxTailBytes = 64 << 20
)

// lastGroup returns the position after the last whole group in an export, or in a first line, and where that line, or a
// checkpoint behind it, ends. size is negative when there is no such line.
func lastGroup(file durable.File) (at audit.Position, size int64, err error) {
	total, err := file.Size()
	if err != nil || total == 0 {
		return at, 0, err
	}
	for tail := int64(tailBytes); ; tail *= 4 {
		from := max(0, total-tail)
		at, size, err = lastGroupFrom(file, from, total)
		if err != nil || size >= 0 || from == 0 || tail >= maxTailBytes {
			return at, size, err
		}
	}
}

func lastGroupFrom(file durable.File, from, total int64) (at audit.Position, size int64, err error) {
	tail := make([]byte, total-from)
	if n, err := file.ReadAt(tail, from); n < len(tail) {
		return at, 0, err
	}
	size = -1
	for off := 0; ; {
		end := bytes.IndexByte(tail[off:], '\n')
		if end < 0 {
			return at, size, nil
		}
		p, ends, checkpoint := endOf(tail[off : off+end])
		if ends {
			at = p
		}
		if ends || (checkpoint && at.Seq > 0) {
			size = from + int64(off+end+1)
		}
		off += end + 1
	}
}

func endOf(text []byte) (p audit.Position, ends, checkpoint bool) {
	var l audit.Line
	if json.Unmarshal(text, &l) != nil {
		return p, false, false
	}
	if l.Type == audit.LineCheckpoint { // it may be an older one, sent again
		return p, false, true
	}
	hash := l.Hash
	if l.Chain != nil {
		hash = l.Chain.Hash
	}
	p.Seq = l.Seq
	n, err := hex.Decode(p.Hash[:], []byte(hash))
	return p, err == nil && n == len(p.Hash), false
}

// rotate gives a full file another name.
func (f *File) rotate() error {
	if f.bytes <= 0 || f.size < f.bytes {
		return nil
	}
	f.drop()
	ext := filepath.Ext(f.path)
	name := f.path[:len(f.path)-len(ext)] + "-" + f.now().UTC().Format("20060102T150405.000000000Z") + ext
	if err := f.fs.RenameNew(f.path, name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return f.fs.SyncDir(filepath.Dir(f.path))
}

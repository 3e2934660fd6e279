package backup

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/keyreeve/keyreeve/internal/durable"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/keystore"
)

// exportTime bounds how long a snapshot is held: while it is, the store's file
// grows with every change. A disk that needs longer for a file is none to back
// up to.
const exportTime = 15 * time.Minute

// ErrBusy is returned while another backup is being made.
var ErrBusy = errors.New("another backup is being made; wait for it")

// A Scratch is a place where a backup is restored to be checked.
type Scratch struct {
	keystore.Backend
	Remove func() error // closes it, and takes away whatever it left
}

// Config is what a Maker needs. Store and Scratch are required.
type Config struct {
	Store *keystore.Store
	// Scratch makes an empty backend in a folder that does not exist yet, beside
	// the backup.
	Scratch    func(dir string) (Scratch, error)
	Files      func() ([]File, error) // the server's own; nil: none
	Parameters []byte                 // of the passphrase; see Manifest
	Version    string
	Host       string
	FS         durable.FS       // nil: durable.OS
	Now        func() time.Time // nil: time.Now
	Logger     *slog.Logger     // nil discards
	Metrics    *Metrics         // nil counts nothing
}

// A Maker makes backups of one store, one at a time. Its methods may be called
// from many goroutines.
type Maker struct {
	cfg  Config
	busy chan struct{} // holds one token

	mu       sync.Mutex
	progress Progress
	last     *Made
	failed   error // of the last attempt
}

// Phases of a backup.
const (
	PhaseWriting   = "writing"
	PhaseVerifying = "verifying"
)

// Progress of the backup that is being made; the zero Progress is none.
type Progress struct {
	Phase string `json:"phase"`
	Done  uint64 `json:"done"` // records
	Total uint64 `json:"total"`
}

// NewMaker returns a Maker that knows which backup was the last.
func NewMaker(ctx context.Context, cfg Config) (*Maker, error) {
	if cfg.FS == nil {
		cfg.FS = durable.OS
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	m := &Maker{cfg: cfg, busy: make(chan struct{}, 1)}
	m.busy <- struct{}{}
	all, err := List(ctx, cfg.Store)
	if err != nil {
		return nil, err
	}
	for i := range all { // by the journal, which no wrong clock turns around
		if m.last == nil || all[i].Sequence > m.last.Sequence {
			m.last = &all[i]
		}
	}
	return m, nil
}

// A Request is for one backup.
type Request struct {
	Path       string // of the file, which must not exist
	Recipients Recipients
	By         *keystore.Principal // an administrator
	Scheduled  bool
}

// Create makes a backup while the store serves, and returns when it is verified,
// durable and written down. After an error there is no file at Path, save where
// the error says so.
func (m *Maker) Create(ctx context.Context, req Request) (made Made, err error) {
	select {
	case <-m.busy:
		defer func() { m.busy <- struct{}{} }()
	default:
		return made, ErrBusy
	}
	begun := m.cfg.Now()
	made, err = m.create(ctx, req)
	m.setProgress(Progress{})
	m.cfg.Metrics.made(err, m.cfg.Now().Sub(begun))
	if err != nil {
		err = fmt.Errorf("making the backup %s: %w", req.Path, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failed = err; err == nil {
		m.last = &made
	}
	return made, err
}

func (m *Maker) create(ctx context.Context, req Request) (made Made, err error) {
	if _, err := m.cfg.FS.Stat(req.Path); err == nil {
		return made, fmt.Errorf("%w; a backup never replaces a file", os.ErrExist)
	}
	if err := m.keepFiles(ctx); err != nil {
		return made, err
	}
	j := &job{maker: m, request: req, temp: tempOf(req.Path)}
	defer j.forget()
	if err := j.write(ctx); err != nil {
		return made, errors.Join(err, j.remove())
	}
	if err := j.verify(ctx); err != nil {
		return made, errors.Join(fmt.Errorf("what was written does not restore: %w", err), j.remove())
	}
	if err := m.cfg.FS.RenameNew(j.temp, req.Path); err != nil {
		return made, errors.Join(err, j.remove())
	}
	if err := m.cfg.FS.SyncDir(filepath.Dir(req.Path)); err != nil {
		return made, fmt.Errorf("it is verified, but may not survive a power cut, and does not count: %w", err)
	}
	made = j.made()
	reason := fmt.Sprintf("%s, sha256 %s, verified: %d keys, journal sequence %d", made.Path, made.SHA256, made.Objects, made.Sequence)
	if err := Note(ctx, m.cfg.Store, req.By, made, reason); err != nil {
		return made, fmt.Errorf("it is verified and stays, but could not be written down, and so does not count: %w", err)
	}
	return made, nil
}

// tempMark is in the name of what is not a backup yet.
const tempMark = ".keyreeve-tmp-"

func tempOf(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+tempMark+rand.Text()[:12])
}

// keepFiles puts the server's files as they are now among the records.
func (m *Maker) keepFiles(ctx context.Context) error {
	if m.cfg.Files == nil {
		return nil
	}
	files, err := m.cfg.Files()
	defer func() {
		for _, f := range files {
			secret.Clear(f.Content)
		}
	}()
	if err != nil {
		return fmt.Errorf("reading the server's TLS files: %w", err)
	}
	return keepFiles(ctx, m.cfg.Store, files)
}

// A job is one backup on its way.
type job struct {
	maker   *Maker
	request Request
	temp    string

	packer packer
	sum    hash.Hash
	size   int64
	wrote  Summary
	own    Identities // open the file
	clear  func()
}

func (j *job) forget() {
	if j.clear != nil {
		j.clear()
	}
}

func (j *job) remove() error {
	if err := j.maker.cfg.FS.Remove(j.temp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing what was written: %w", err)
	}
	return nil
}

// write writes the whole file under its temporary name, and syncs it. The
// snapshot is held only until the last byte is handed to the system.
func (j *job) write(ctx context.Context) error {
	f, err := j.maker.cfg.FS.OpenFile(j.temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = j.fill(ctx, f)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func (j *job) fill(ctx context.Context, f durable.File) (err error) {
	j.sum = sha256.New()
	out := bufio.NewWriterSize(&counted{io.MultiWriter(j.sum, io.NewOffsetWriter(f, 0)), &j.size}, 256<<10)
	age, own, clearKey, err := encrypt(out, j.request.Recipients)
	if err != nil {
		return err
	}
	j.own, j.clear = own, clearKey
	cfg := &j.maker.cfg
	j.packer = packer{out: age, progress: j.maker.counter(PhaseWriting), manifest: Manifest{
		Created: cfg.Now().UTC().Truncate(time.Second), Server: cfg.Version, Host: cfg.Host, Parameters: cfg.Parameters,
	}}
	bounded, cancel := context.WithTimeoutCause(ctx, exportTime, fmt.Errorf("it took longer than %v; take a faster disk", exportTime))
	defer cancel()
	if err := cfg.Store.Export(bounded, j.request.By, "backup to "+j.request.Path, &j.packer); err != nil {
		if cause := context.Cause(bounded); cause != nil {
			err = fmt.Errorf("%w: %w", err, cause)
		}
		return err
	}
	if j.wrote, err = j.packer.finish(); err != nil {
		return err
	}
	return errors.Join(age.Close(), out.Flush())
}

type counted struct {
	io.Writer
	n *int64
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.Writer.Write(b)
	*c.n += int64(n)
	return n, err
}

var errDiffers = fmt.Errorf("%w: what is on the disk is not what was written", ErrDamaged)

// verify reads the file back from the disk, restores it into a scratch store,
// and checks that.
func (j *job) verify(ctx context.Context) (err error) {
	cfg := &j.maker.cfg
	scratch, err := cfg.Scratch(filepath.Join(filepath.Dir(j.temp), filepath.Base(tempOf(j.maker.prefix()+"scratch"))))
	if err != nil {
		return fmt.Errorf("making a scratch store: %w", err)
	}
	defer func() { err = errors.Join(err, scratch.Remove()) }()
	f, err := cfg.FS.OpenFile(j.temp, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if d, ok := f.(interface{ DropCache() error }); ok {
		if err := d.DropCache(); err != nil { // or the disk would not be asked
			return err
		}
	}
	size, err := f.Size()
	if err != nil {
		return err
	}
	sum := sha256.New()
	a, err := open(io.TeeReader(bufio.NewReaderSize(io.NewSectionReader(f, 0, size), 256<<10), sum), j.own)
	if err != nil {
		return err
	}
	read, err := a.Restore(ctx, scratch, j.maker.counter(PhaseVerifying))
	if err != nil {
		return err
	}
	if size != j.size || read != j.wrote || [sha256.Size]byte(sum.Sum(nil)) != [sha256.Size]byte(j.sum.Sum(nil)) {
		return errDiffers
	}
	report, snapshot, err := cfg.Store.CheckCopy(ctx, scratch)
	if err != nil {
		return err
	}
	return a.agrees(report, snapshot)
}

func (m *Maker) counter(phase string) func(done, total uint64) {
	var p Progress
	return func(done, total uint64) {
		p.Phase, p.Total = phase, total
		if p.Done += done; p.Done%64 == 0 || p.Done == total {
			m.setProgress(p)
		}
	}
}

func (m *Maker) setProgress(p Progress) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.progress = p
}

// Progress tells how far the backup is that is being made.
func (m *Maker) Progress() Progress {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.progress
}

func (j *job) made() Made {
	m := &j.packer.manifest
	id := m.Created.Format("20060102T150405Z") + "-" + hex.EncodeToString(j.wrote.Digest[:4])
	return Made{
		ID: id, Path: j.request.Path, Created: m.Created, Verified: j.maker.cfg.Now().UTC().Truncate(time.Second),
		NewestKey: m.Newest(), Stamp: m.Stamp, Objects: m.Objects, Tombstones: m.Tombstones, Records: m.Records,
		Sequence: m.Position.Seq, Size: j.size, SHA256: hex.EncodeToString(j.sum.Sum(nil)),
		Recipients: j.request.Recipients.Names(), Scheduled: j.request.Scheduled,
	}
}

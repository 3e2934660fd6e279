package forward

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/internal/ctxtime"
	"github.com/keyreeve/keyreeve/internal/durable"
)

// A Sink takes lines. It is used by one goroutine at a time.
type Sink interface {
	// Send hands over lines that belong together and end at a position, and is called again with them after an error.
	// first says where the journal goes on, for a sink that begins something new.
	Send(ctx context.Context, first audit.Line, lines []audit.Line, end audit.Position) error
	// Settled returns up to where all is surely with the other side; an error says that what is not has to be sent
	// again. It is never asked for before the first Send.
	Settled() (audit.Position, error)
	// Close waits a moment for what is under way.
	Close() error
}

// Config is what a Forwarder needs. Name, Journal, Sink and Position are required.
type Config struct {
	Name     string // for people and metrics: file, syslog
	Journal  *audit.Journal
	Store    [16]byte
	Sink     Sink
	Position string     // file in which it remembers where it is
	FS       durable.FS // nil means durable.OS
	Now      func() time.Time
	Logger   *slog.Logger
	Metrics  *Metrics
}

// A Forwarder passes a journal on to one sink.
type Forwarder struct {
	cfg Config

	mu          sync.Mutex
	settled     audit.Position // as it is remembered
	sent        audit.Position
	checkpoints []audit.Checkpoint // to be sent behind their sequence
	caughtUp    time.Time
	told        time.Time
}

const (
	poll          = 500 * time.Millisecond
	firstDelay    = time.Second
	longestDelay  = time.Minute
	batchLines    = 500
	farBehind     = 15 * time.Minute
	tellAgain     = 10 * time.Minute
	maxWaiting    = 64 // checkpoints
	maxPosition   = 4096
	rememberAfter = time.Second
)

// New makes a Forwarder that goes on where the last one has stopped; at first with the oldest event there is.
func New(cfg Config) (*Forwarder, error) {
	if cfg.FS == nil {
		cfg.FS = durable.OS
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	f := &Forwarder{cfg: cfg, caughtUp: cfg.Now()}
	at, err := f.remembered()
	if err != nil {
		return nil, err
	}
	f.settled = at
	return f, nil
}

// position is what the file holds.
type position struct {
	Seq  uint64 `json:"seq"`
	Hash string `json:"hash"`
}

// remembered reads the position and holds it against the journal: after a restore from a backup the journal is another
// one from some sequence on, and what is new in it must not be passed over.
func (f *Forwarder) remembered() (at audit.Position, err error) {
	data, err := durable.ReadFile(f.cfg.FS, f.cfg.Position, maxPosition)
	if errors.Is(err, fs.ErrNotExist) {
		return at, nil
	}
	var p position
	if err == nil {
		err = json.Unmarshal(data, &p)
	}
	if err == nil {
		at.Seq = p.Seq
		_, err = hex.Decode(at.Hash[:], []byte(p.Hash)[:min(len(p.Hash), 64)])
	}
	if err != nil {
		return at, fmt.Errorf("reading up to where the journal was exported (%s): %w; remove the file to export all of it again", f.cfg.Position, err)
	}
	hash, ok, err := f.cfg.Journal.HashAt(at.Seq)
	switch {
	case errors.Is(err, audit.ErrArchived):
		f.cfg.Logger.Error("audit export: what comes next is archived already and is left out", "to", f.cfg.Name, "after", at.Seq, "journal_begins_after", f.cfg.Journal.Base().Seq)
		return f.cfg.Journal.Base(), nil
	case err != nil:
		return at, err
	case !ok || hash != at.Hash:
		f.cfg.Logger.Error("audit export: the journal is not the one that was exported before, as after a restore; all of it is exported again", "to", f.cfg.Name, "sequence", at.Seq)
		return f.cfg.Journal.Base(), nil
	}
	return at, nil
}

func (f *Forwarder) remember(at audit.Position) error {
	f.mu.Lock()
	same := at == f.settled
	f.mu.Unlock()
	if same || at.Seq == 0 {
		return nil
	}
	data, err := json.Marshal(position{at.Seq, hex.EncodeToString(at.Hash[:])})
	if err != nil {
		return err
	}
	if err := durable.WriteFile(f.cfg.FS, f.cfg.Position, data, 0o600); err != nil {
		return fmt.Errorf("remembering up to where the journal was exported: %w", err)
	}
	f.mu.Lock()
	f.settled = at
	f.mu.Unlock()
	return nil
}

// Settled returns up to where the other side has all, as it is remembered.
func (f *Forwarder) Settled() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.settled.Seq
}

// Publish has a checkpoint sent once all before it was. It does not wait.
func (f *Forwarder) Publish(c audit.Checkpoint) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wait(append(f.checkpoints, c))
}

// wait has checkpoints wait; f.mu is held. While nobody takes anything the newest are kept: they say more.
func (f *Forwarder) wait(all []audit.Checkpoint) {
	f.checkpoints = slices.Clone(all[max(0, len(all)-maxWaiting):])
}

// Run passes on until ctx ends; what comes later is passed on after the next start.
func (f *Forwarder) Run(ctx context.Context) {
	for delay := firstDelay; ; delay = min(2*delay, longestDelay) {
		err := f.follow(ctx, func() { delay = firstDelay })
		if ctx.Err() != nil {
			break
		}
		f.cfg.Metrics.failed(f.cfg.Name)
		f.cfg.Logger.Warn("audit export stopped, and is tried again", "to", f.cfg.Name, "err", err, "in", delay, "behind", f.behind())
		f.look()
		if ctxtime.Sleep(ctx, delay) != nil {
			break
		}
	}
	if err := f.cfg.Sink.Close(); err != nil {
		f.cfg.Logger.Warn("audit export: closing", "to", f.cfg.Name, "err", err)
	}
	if err := f.settle(); err != nil {
		f.cfg.Logger.Warn("audit export", "to", f.cfg.Name, "err", err)
	}
}

// settle remembers what is settled.
func (f *Forwarder) settle() error {
	f.mu.Lock()
	sent := f.sent.Seq > 0
	f.mu.Unlock()
	if !sent {
		return nil
	}
	at, err := f.cfg.Sink.Settled()
	if err != nil {
		return err
	}
	return f.remember(at)
}

// follow sends from the settled position on until something fails. well is called when something was taken.
func (f *Forwarder) follow(ctx context.Context, well func()) error {
	f.mu.Lock()
	at := f.settled
	f.sent = audit.Position{}
	f.mu.Unlock()
	f.newest()
	r := f.cfg.Journal.NewReader(at.Seq)
	defer func() { _ = r.Close() }()
	for {
		n, err := f.pass(ctx, r)
		if err != nil {
			return err
		}
		if n > 0 {
			well()
		}
		if err := f.settle(); err != nil {
			return err
		}
		f.look()
		if n == 0 && ctxtime.Sleep(ctx, poll) != nil {
			return ctx.Err()
		}
	}
}

// pass sends what is there, up to some number of lines.
func (f *Forwarder) pass(ctx context.Context, r *audit.Reader) (int, error) {
	var lines []audit.Line
	var first, end audit.Position
	for len(lines) < batchLines {
		g, ok, err := r.Next()
		if err != nil {
			return 0, err
		}
		if !ok {
			break
		}
		if lines == nil {
			first = g.Before
		}
		lines, end = append(lines, g.Lines()...), g.End
	}
	if lines == nil {
		first, end = f.lastSent(), f.lastSent()
	}
	due := f.due(end.Seq)
	for i := range due {
		lines = append(lines, audit.CheckpointLine(&due[i]))
	}
	if len(lines) == 0 {
		return 0, nil
	}
	if err := f.cfg.Sink.Send(ctx, audit.BeginLine(f.cfg.Store, first), lines, end); err != nil {
		f.putBack(due)
		return 0, err
	}
	f.cfg.Metrics.took(f.cfg.Name, len(lines))
	f.mu.Lock()
	f.sent = end
	f.mu.Unlock()
	return len(lines), nil
}

// newest has the newest checkpoint sent, again perhaps: what was sent over a connection that broke may be lost.
func (f *Forwarder) newest() {
	c := f.cfg.Journal.Signed()
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(f.checkpoints); c.Seq > 0 && (n == 0 || f.checkpoints[n-1].Seq < c.Seq) {
		f.wait(append(f.checkpoints, c))
	}
}

func (f *Forwarder) lastSent() audit.Position {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sent.Seq == 0 {
		return f.settled
	}
	return f.sent
}

// due takes the checkpoints at or before seq.
func (f *Forwarder) due(seq uint64) (due []audit.Checkpoint) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.checkpoints) > 0 && f.checkpoints[0].Seq <= seq {
		due, f.checkpoints = append(due, f.checkpoints[0]), f.checkpoints[1:]
	}
	return due
}

func (f *Forwarder) putBack(due []audit.Checkpoint) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wait(append(due, f.checkpoints...))
}

// behind returns how many entries were not sent yet.
func (f *Forwarder) behind() uint64 {
	end, at := f.cfg.Journal.End().Seq, f.lastSent().Seq
	return end - min(at, end)
}

// Lag tells how many entries the other side does not have yet, and when it last
// had all of them.
func (f *Forwarder) Lag() (name string, entries uint64, caughtUp time.Time) {
	entries = f.behind()
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cfg.Name, entries, f.caughtUp
}

// look measures how far behind the export is, and is loud when it is far.
func (f *Forwarder) look() {
	entries, now := f.behind(), f.cfg.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	if entries == 0 {
		if !f.told.IsZero() {
			f.cfg.Logger.Info("audit export has caught up", "to", f.cfg.Name)
		}
		f.caughtUp, f.told = now, time.Time{}
	}
	late := now.Sub(f.caughtUp)
	f.cfg.Metrics.lag(f.cfg.Name, entries, late.Seconds())
	if late >= farBehind && (f.told.IsZero() || now.Sub(f.told) >= tellAgain) {
		f.told = now
		f.cfg.Logger.Error("audit export is far behind: events of this time are on this machine only", "to", f.cfg.Name, "entries", entries, "since", f.caughtUp)
	}
}

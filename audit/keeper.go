package audit

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// A Keeper signs checkpoints as the journal grows, and archives what is old. Run it beside the journal.
type Keeper struct {
	cfg    KeeperConfig
	signed time.Time // when the last checkpoint was made
	failed string    // the error that was told last
}

// KeeperConfig is what a Keeper needs. Journal and Signer are required.
type KeeperConfig struct {
	Journal *Journal
	Signer  *Signer
	Every   time.Duration // at most that long is something unsigned; 0 means 10 minutes
	Entries uint64        // nor more than that many entries, about; 0 means 10,000
	Archive Retention
	// Archived returns up to where the store allows the journal to begin, Allow raises that. See keystore.Store.
	Archived func() uint64
	Allow    func(ctx context.Context, seq uint64, reason string) error
	// Exported returns up to where the journal was exported; what was not is not archived. Nil: nothing is exported.
	Exported func() uint64
	Publish  func(Checkpoint) // sees each checkpoint; may be nil
	Now      func() time.Time // nil means time.Now
	Logger   *slog.Logger     // nil discards
}

// Retention says which segments are archived. The zero value keeps all.
type Retention struct {
	After  time.Duration // segments that ended so long ago; 0: age is no reason
	Above  int64         // the oldest, while all finished segments have more bytes; 0: size is no reason
	Keep   time.Duration // whatever the size: nothing younger
	Folder string        // where they go
	Delete bool          // nowhere, if Folder is empty. Without either nothing is archived
}

const (
	keeperTick        = 5 * time.Second
	defaultEvery      = 10 * time.Minute
	defaultEntries    = 10_000
	retentionInterval = time.Minute
)

// NewKeeper makes a Keeper.
func NewKeeper(cfg KeeperConfig) *Keeper {
	if cfg.Every <= 0 {
		cfg.Every = defaultEvery
	}
	if cfg.Entries == 0 {
		cfg.Entries = defaultEntries
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Keeper{cfg: cfg}
}

// Sign makes a checkpoint now, if there is something new. Call it once before the server serves, since ErrForked means
// that it must not, and once after the journal was closed.
func (k *Keeper) Sign() error {
	made, err := k.cfg.Journal.Checkpoint(k.cfg.Signer, k.cfg.Archived())
	k.signed = k.cfg.Now()
	if k.cfg.Publish != nil {
		for _, c := range made {
			k.cfg.Publish(c)
		}
	}
	return err
}

// Run signs and archives until ctx ends. What fails is told once, and tried again.
func (k *Keeper) Run(ctx context.Context) {
	tick := time.NewTicker(keeperTick)
	defer tick.Stop()
	var looked time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if k.due() {
			k.tell("signing a checkpoint of the audit journal", k.Sign())
		}
		if now := k.cfg.Now(); now.Sub(looked) >= retentionInterval {
			looked = now
			k.tell("archiving the audit journal", k.Retain(ctx))
		}
	}
}

// due reports whether enough has happened since the last checkpoint. A journal to which nothing was added is not signed
// again.
func (k *Keeper) due() bool {
	last, end := k.cfg.Journal.Signed(), k.cfg.Journal.End()
	switch {
	case end.Seq == last.Seq:
		return false
	case end.Seq-last.Seq >= k.cfg.Entries, k.cfg.Journal.rotated():
		return true
	}
	return k.cfg.Now().Sub(k.signed) >= k.cfg.Every
}

// rotated reports whether a segment was begun since the last checkpoint.
func (j *Journal) rotated() bool {
	_, x := j.snapshot()
	j.signing.Lock()
	defer j.signing.Unlock()
	return x.last > j.notes.number
}

func (k *Keeper) tell(what string, err error) {
	switch {
	case err == nil:
		k.failed = ""
	case err.Error() != k.failed:
		k.failed = err.Error()
		k.cfg.Logger.Error(what, "err", err)
	}
}

// Retain archives the segments that are due: the store allows it and records it, a checkpoint says so, and then the
// files go. A crash anywhere between leaves more than there might be, and the next call goes on.
func (k *Keeper) Retain(ctx context.Context) error {
	r := &k.cfg.Archive
	if (r.Folder == "" && !r.Delete) || (r.After <= 0 && r.Above <= 0) {
		return nil
	}
	all, err := k.cfg.Journal.Segments()
	if err != nil {
		return err
	}
	seq, reason := k.pick(all)
	if seq == 0 {
		return nil
	}
	if k.cfg.Archived() < seq {
		if err := k.cfg.Allow(ctx, seq, reason); err != nil {
			return err
		}
	}
	if err := k.Sign(); err != nil {
		return err
	}
	taken, err := k.cfg.Journal.Archive(seq, r.Folder)
	if taken > 0 {
		k.cfg.Logger.Info("audit journal: archived the oldest segments", "segments", taken, "up_to", seq, "to", r.where(), "why", reason)
	}
	return err
}

func (r *Retention) where() string {
	if r.Folder != "" {
		return r.Folder
	}
	return "deleted"
}

// pick returns the end of the last segment that is due, 0 for none, and why.
func (k *Keeper) pick(all []Segment) (seq uint64, reason string) {
	r, now := &k.cfg.Archive, k.cfg.Now().UnixNano()
	var total int64
	for _, s := range all {
		total += s.Bytes
	}
	signed := k.cfg.Journal.Signed().Seq
	for _, s := range all {
		age := time.Duration(now - s.Ended)
		old, large := r.After > 0 && age >= r.After, r.Above > 0 && total > r.Above
		if age < r.Keep || s.End.Seq > signed || (!old && !large) || (k.cfg.Exported != nil && s.End.Seq > k.cfg.Exported()) {
			break
		}
		reason = fmt.Sprintf("the journal has more than %d bytes", r.Above)
		if old {
			reason = fmt.Sprintf("older than %s", r.After)
		}
		seq, total = s.End.Seq, total-s.Bytes
	}
	return seq, reason
}

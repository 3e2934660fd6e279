package policy

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keyreeve/keyreeve/internal/durable"
	"github.com/keyreeve/keyreeve/vsphere/inventory"
)

// Steps of a job, in their order.
const (
	stepIntent = "intent" // it is going to be done; a key may be made for it
	stepKey    = "key"    // that key is for it, and for nothing else
	stepTask   = "task"   // vCenter works on it
	stepDone   = "done"   // it was verified
	stepFailed = "failed" // it was not done; its key is kept for the next try
)

// An Entry is one line of the ledger.
type Entry struct {
	Time     time.Time `json:"time"`
	Job      string    `json:"job"`
	VCenter  string    `json:"vcenter"`
	Ref      string    `json:"ref"`
	Path     string    `json:"path,omitempty"`
	Op       Op        `json:"op"`
	Step     string    `json:"step"`
	Provider string    `json:"provider,omitempty"`
	Key      string    `json:"key,omitempty"`
	Task     string    `json:"task,omitempty"`
	Off      bool      `json:"off,omitempty"` // it was shut down for this, and is to be started again
	Problem  string    `json:"problem,omitempty"`
}

// A Ledger is a file to which every step of a job is appended, and synced,
// before the next is taken. So a run that was killed leaves no key that nobody
// knows of, and the next run can go on where it was. It may be used by many
// goroutines, and by one process.
type Ledger struct {
	mu   sync.Mutex
	file durable.File
	end  int64
	open map[string]Entry // jobs that are not done, by slot
	bad  error            // after a failed write nothing is taken any more
}

// OpenLedger opens the ledger, and makes it if there is none. A last line that
// was cut by a crash is cut off: what it would have said was not acted upon.
// Any other line that cannot be read is an error.
func OpenLedger(fsys durable.FS, path string) (*Ledger, error) {
	l, err := readLedger(path)
	if err == nil && l.end > maxLedger {
		err = l.shorten(fsys, path)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the ledger: %w", err)
	}
	if l.file, err = fsys.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, fmt.Errorf("opening the ledger: %w", err)
	}
	if err = l.file.Truncate(l.end); err == nil {
		err = errors.Join(l.file.Sync(), fsys.SyncDir(filepath.Dir(path)))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the ledger: %w", err), l.file.Close())
	}
	return l, nil
}

// maxLedger is how large the file may be when it is opened; a change of a
// machine takes some 1,500 bytes of it.
var maxLedger int64 = 16 << 20

// shorten keeps the jobs that are not done, and puts the whole file beside it,
// for people: one such file is kept. Ended at any point, nothing is lost.
func (l *Ledger) shorten(fsys durable.FS, path string) error {
	whole, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(fsys, path+".old", whole, 0o600); err != nil {
		return err
	}
	var open []byte
	for _, at := range slices.Sorted(maps.Keys(l.open)) {
		line, err := json.Marshal(l.open[at])
		if err != nil {
			return err
		}
		open = append(append(open, line...), '\n')
	}
	if err := durable.WriteFile(fsys, path, open, 0o600); err != nil {
		return err
	}
	l.end = int64(len(open))
	return nil
}

// ReadUnfinished reads the jobs of a vCenter that are not done, of a ledger that
// another process may be writing to. One that is not there has none.
func ReadUnfinished(path, vcenter string) ([]Entry, error) {
	l, err := readLedger(path)
	if err != nil {
		return nil, fmt.Errorf("reading the ledger: %w", err)
	}
	return l.Unfinished(vcenter), nil
}

// readLedger takes the whole lines of the file.
func readLedger(path string) (*Ledger, error) {
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l := &Ledger{open: map[string]Entry{}}
	whole := data[:bytes.LastIndexByte(data, '\n')+1]
	l.end = int64(len(whole))
	n := 0
	for line := range bytes.Lines(whole) {
		n++
		var e Entry
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("line %d of %s is damaged: %w", n, path, err)
		}
		l.take(e)
	}
	return l, nil
}

// Close closes the file.
func (l *Ledger) Close() error { return l.file.Close() }

func (l *Ledger) take(e Entry) {
	if !e.Off && (e.Step == stepDone || e.Step == stepFailed && e.Key == "") {
		delete(l.open, slot(e.VCenter, e.Ref, e.Provider))
		return
	}
	l.open[slot(e.VCenter, e.Ref, e.Provider)] = e
}

// slot is where the one job of a machine and a provider is. With one job a
// machine, another provider's, or one that needs no key, would take the place of
// a job whose key is then known to nobody.
func slot(vcenter, ref, provider string) string { return vcenter + "/" + ref + "/" + provider }

// add appends a step. It is durable when there is no error.
func (l *Ledger) add(e Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bad != nil {
		return l.bad
	}
	line, err := json.Marshal(e)
	if err == nil {
		line = append(line, '\n')
		_, err = l.file.WriteAt(line, l.end)
	}
	if err == nil {
		err = l.file.Sync()
	}
	if err != nil {
		l.bad = fmt.Errorf("writing the ledger: %w", err)
		return l.bad
	}
	l.end += int64(len(line))
	l.take(e)
	return nil
}

// Open returns the last step of the job of a machine with a provider that is not
// done; without one for those that need no key.
func (l *Ledger) Open(vcenter, ref, provider string) (Entry, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.open[slot(vcenter, ref, provider)]
	return e, ok
}

// Unfinished are the jobs of a vCenter that are not done. Their keys belong to
// them and are no orphans.
func (l *Ledger) Unfinished(vcenter string) (list []Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.open {
		if e.VCenter == vcenter {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b Entry) int {
		return cmp.Or(strings.Compare(a.Ref, b.Ref), strings.Compare(a.Provider, b.Provider))
	})
	return list
}

// Settle closes the jobs that were done though nobody lived to note it: those
// whose key the machine has. Call it with a fresh snapshot before each plan.
// What stays open keeps its key for the machine's next try.
func (l *Ledger) Settle(s *inventory.Snapshot, now time.Time) error {
	for _, e := range l.Unfinished(s.VCenter) {
		i := slices.IndexFunc(s.VMs, func(v inventory.VM) bool { return v.Ref == e.Ref })
		used := i >= 0 && slices.Contains(s.VMs[i].Keys(), inventory.Key{ID: e.Key, Provider: e.Provider})
		if !used && e.Op.usesKeys() || e.Step == stepDone { // that has to be started still
			continue
		}
		e.Time, e.Step, e.Problem = now, stepDone, ""
		if err := l.add(e); err != nil {
			return err
		}
	}
	return nil
}

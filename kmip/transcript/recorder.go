package transcript

import (
	"bufio"
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// RecorderConfig says what is recorded, and how.
type RecorderConfig struct {
	Path    string   // of a file that does not exist yet
	Hidden  []string // of Redactions
	MaxSize int64    // bytes of the file; 0: DefaultMaxSize
	About   string   // one line on who records
	Logger  *slog.Logger
	Now     func() time.Time // nil: time.Now
}

// DefaultMaxSize bounds a recording that names no size.
const DefaultMaxSize = 64 << 20

// maxQueue is how many bytes of text may wait for the disk. More is dropped: a
// request never waits for a recording.
const maxQueue = 16 << 20

// A Recorder writes what a server and its clients say as a transcript. Its
// methods may be called from many goroutines, never wait for the disk, and keep
// nothing of the bytes they are given: what is secret is replaced before it is
// queued.
type Recorder struct {
	cfg  RecorderConfig
	file disk

	mu      sync.Mutex // over all below
	session *session
	conns   map[uint64]*recorded
	queue   []string
	queued  int   // bytes in queue
	size    int64 // bytes queued since the start
	lost    int   // sections dropped since the last that was kept
	full    bool
	closed  bool

	wake chan struct{}
	done chan error
}

// disk is what a Recorder needs of its file.
type disk interface {
	io.WriteCloser
	Sync() error
}

// recorded is a connection.
type recorded struct {
	skip       bool // the request was not recorded, so its answer is not
	unanswered bool // the server closes instead of answering
}

// NewRecorder begins a recording. A file that exists is never touched.
func NewRecorder(cfg RecorderConfig) (*Recorder, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.MaxSize = cmp.Or(cfg.MaxSize, DefaultMaxSize)
	file, err := os.OpenFile(cfg.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("recording: %w", err)
	}
	return newRecorder(cfg, file), nil
}

func newRecorder(cfg RecorderConfig, file disk) *Recorder {
	r := &Recorder{
		cfg: cfg, file: file, session: newSession(cfg.Hidden, cfg.Now), conns: map[uint64]*recorded{},
		wake: make(chan struct{}, 1), done: make(chan error, 1),
	}
	hidden := "keys and passwords"
	if len(cfg.Hidden) > 0 {
		hidden += ", " + strings.Join(cfg.Hidden, ", ")
	}
	r.mu.Lock()
	r.put(fmt.Sprintf("Recorded by %s, from %s on.\nReplaced by made-up values: %s.\n", cfg.About, stamp(cfg.Now()), hidden))
	r.mu.Unlock()
	go r.write()
	return r
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// Connected says that a client's handshake is complete.
func (r *Recorder) Connected(id uint64, group, client, remote string, version uint16) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns[id] = &recorded{}
	option := ""
	if version == tls.VersionTLS13 {
		option = " tls=1.3"
	}
	as := word(r.hide(Usernames, "client", group))
	r.section(fmt.Sprintf("connect c%d as=%s%s", id, as, option),
		fmt.Sprintf("client %q from %q", r.hide(Usernames, "client", client), r.hide(Addresses, "address", remote)), "")
}

func (r *Recorder) hide(what, of, original string) string {
	if !r.session.hides(what) {
		return original
	}
	return r.session.pseudonym(of, original)
}

// word makes a name into one of the options of a connect step, where none is
// nobody.
func word(s string) string {
	if s == "none" {
		return "none_"
	}
	return strings.Map(func(c rune) rune {
		if c <= ' ' || c == '=' || c == 0x7f {
			return '_'
		}
		return c
	}, s)
}

// Received records a request, whole as it came.
func (r *Recorder) Received(id uint64, message []byte) { r.record(id, message, false) }

// Sent records the answer to it; none means that the server closes instead.
func (r *Recorder) Sent(id uint64, message []byte) { r.record(id, message, true) }

func (r *Recorder) record(id uint64, message []byte, answer bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.conns[id]
	if c == nil || r.full || r.closed {
		return
	}
	if answer && (c.skip || len(message) == 0) {
		c.unanswered = len(message) == 0 && !c.skip
		return
	}
	if c.skip = ttlv.Check(message, ttlv.Limits{}) != nil; c.skip {
		r.notRecorded(id, len(message), "no well-formed TTLV")
		return
	}
	text, err := r.session.message(message, answer)
	if err != nil {
		return // cannot be after Check
	}
	verb := Send
	if answer {
		verb = Receive
	}
	if r.session.before {
		text += fmt.Sprintf("# sections %s the object was made before the recording began\n", missing)
	}
	r.section(fmt.Sprintf("c%d %s", id, verb), "", text)
}

// Unreadable says that what a client sent was no message. Its bytes are not
// recorded: what nobody can read may hold a key.
func (r *Recorder) Unreadable(id uint64, length int, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conns[id] != nil {
		r.notRecorded(id, length, reason)
	}
}

func (r *Recorder) notRecorded(id uint64, length int, reason string) {
	r.put(fmt.Sprintf("# %s c%d sends %d bytes %s %s\n", stamp(r.cfg.Now()), id, length, notRecorded, reason))
}

// Closed says that a connection has ended.
func (r *Recorder) Closed(id uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.conns[id]
	if c == nil {
		return
	}
	delete(r.conns, id)
	verb := Close
	if c.unanswered {
		verb = Closed
	}
	r.section(fmt.Sprintf("c%d %s", id, verb), "", "")
}

func (r *Recorder) section(title, comment, body string) {
	if comment != "" {
		comment = " " + comment
	}
	r.put(fmt.Sprintf("\n-- %s --\n# %s%s\n%s", title, stamp(r.cfg.Now()), comment, body))
}

// put queues text unless the file or the queue is full.
func (r *Recorder) put(text string) {
	switch {
	case r.full || r.closed:
		return
	case r.queued+len(text) > maxQueue:
		r.lost++
		return
	case r.size+int64(len(text)) > r.cfg.MaxSize:
		r.full = true
		text = "# the recording ends here: it has reached its limit\n"
		r.cfg.Logger.Warn("the recording has reached its limit; nothing more is recorded", "file", r.cfg.Path, "limit", r.cfg.MaxSize)
	case r.lost > 0:
		text = fmt.Sprintf("# %d sections %s the disk was too slow\n", r.lost, missing) + text
		r.lost = 0
	}
	r.queue = append(r.queue, text)
	r.queued += len(text)
	r.size += int64(len(text))
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// What a recording says where something is not in it.
const (
	missing     = "are missing here:"
	notRecorded = "that are not recorded:"
)

// Gaps returns the lines of a recording that say that something is missing.
func Gaps(recording []byte) []string {
	gaps := []string{}
	number := 0
	for l := range strings.Lines(string(recording)) {
		number++
		if strings.HasPrefix(l, "# ") && (strings.Contains(l, missing) || strings.Contains(l, notRecorded)) {
			gaps = append(gaps, fmt.Sprintf("line %d: %s", number, strings.TrimSpace(l[2:])))
		}
	}
	return gaps
}

// write takes what is queued to the disk until Close.
func (r *Recorder) write() {
	w := bufio.NewWriter(r.file)
	var err error
	for range r.wake {
		r.mu.Lock()
		texts, closed := r.queue, r.closed
		r.queue, r.queued = nil, 0
		r.mu.Unlock()
		for _, text := range texts {
			if err == nil {
				_, err = io.WriteString(w, text)
			}
		}
		if err == nil {
			err = w.Flush()
		}
		if err != nil {
			r.giveUp(err)
		}
		if closed {
			break
		}
	}
	r.done <- errors.Join(err, r.file.Sync(), r.file.Close())
}

func (r *Recorder) giveUp(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.full {
		r.full = true
		r.cfg.Logger.Error("the recording cannot be written; nothing more is recorded", "file", r.cfg.Path, "err", err)
	}
}

// Close ends the recording and returns when it is on disk.
func (r *Recorder) Close() error {
	r.mu.Lock()
	was := r.closed
	r.closed = true
	r.mu.Unlock()
	if was {
		return nil
	}
	select {
	case r.wake <- struct{}{}:
	default:
	}
	if err := <-r.done; err != nil {
		return fmt.Errorf("recording to %s: %w", r.cfg.Path, err)
	}
	return nil
}

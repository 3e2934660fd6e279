package forward_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log/slog"
	"math/big"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/audit/forward"
	"github.com/keyreeve/keyreeve/internal/logbuf"
)

var storeID = [16]byte{0: 0xa1, 15: 0x1a}

// bench is a journal on a real disk, signed.
type bench struct {
	dir string
	j   *audit.Journal
	s   *audit.Signer
	log logbuf.Buffer // of the forwarders
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{dir: t.TempDir()}
	cfg := audit.Config{Dir: filepath.Join(b.dir, "journal"), StoreID: storeID, SegmentBytes: 4 << 10}
	var err error
	if err = audit.Create(cfg); err == nil {
		b.j, err = audit.Open(cfg)
	}
	if err != nil {
		t.Fatal(err)
	}
	if b.s, err = audit.NewSigner(make([]byte, ed25519.SeedSize)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.j.Close() })
	return b
}

func (b *bench) append(t *testing.T, n int) {
	t.Helper()
	for range n {
		e := audit.Event{Class: audit.Release, Outcome: audit.Success, Operation: "Get", Client: `vc"e]n\ter` + "\n", HasObject: true}
		if _, err := b.j.Append(audit.Normal, e, e); err != nil {
			t.Fatal(err)
		}
	}
}

func (b *bench) sign(t *testing.T, f *forward.Forwarder) {
	t.Helper()
	made, err := b.j.Checkpoint(b.s, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range made {
		f.Publish(c)
	}
}

func (b *bench) forwarder(t *testing.T, sink forward.Sink) *forward.Forwarder {
	t.Helper()
	f, err := forward.New(forward.Config{
		Name: "test", Journal: b.j, Store: storeID, Sink: sink, Position: filepath.Join(b.dir, "position"),
		Logger: slog.New(slog.NewTextHandler(io.MultiWriter(&b.log, t.Output()), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// run runs f until fn returns.
func run(f *forward.Forwarder, fn func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { f.Run(ctx); close(done) }()
	defer func() { cancel(); <-done }()
	fn()
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it never came about that ", what)
		}
	}
}

// collector is a syslog server over TLS, and what it has read.
type collector struct {
	listener net.Listener
	roots    *x509.CertPool

	mu       sync.Mutex
	messages []string
	hangUp   int // close a connection after so many messages; 0: never
	deaf     bool
	over     chan struct{} // the test has ended
	conns    int
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "logs"}, DNSNames: []string{"logs.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	c := &collector{roots: x509.NewCertPool(), over: make(chan struct{})}
	t.Cleanup(func() { close(c.over) })
	c.roots.AddCert(leaf)
	c.listener, err = tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.listener.Close() })
	go func() {
		for {
			conn, err := c.listener.Accept()
			if err != nil {
				return
			}
			go c.serve(conn)
		}
	}()
	return c
}

func (c *collector) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	c.mu.Lock()
	c.conns++
	limit, deaf := c.hangUp, c.deaf
	c.mu.Unlock()
	if deaf {
		<-c.over
		return
	}
	r := bufio.NewReader(conn)
	for n := 0; limit == 0 || n < limit; n++ {
		length, err := r.ReadString(' ')
		if err != nil {
			return
		}
		size, err := strconv.Atoi(strings.TrimSuffix(length, " "))
		if err != nil {
			panic(length)
		}
		message := make([]byte, size)
		if _, err := io.ReadFull(r, message); err != nil {
			return
		}
		c.mu.Lock()
		c.messages = append(c.messages, string(message))
		c.mu.Unlock()
	}
}

var seqOf = regexp.MustCompile(` event \[keyreeve@32473 seq="(\d+)"`)

// seqs returns the sequences of the events read, each once, in the order in which they first came.
func (c *collector) seqs() (all []uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.messages {
		if found := seqOf.FindStringSubmatch(m); found != nil {
			n, _ := strconv.ParseUint(found[1], 10, 64)
			if !slices.Contains(all, n) {
				all = append(all, n)
			}
		}
	}
	return all
}

func (c *collector) read() (events int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.messages {
		if seqOf.MatchString(m) {
			events++
		}
	}
	return events
}

func (c *collector) syslog(server string) *forward.Syslog {
	return forward.NewSyslog(forward.SyslogConfig{
		Address: c.listener.Addr().String(), TLS: &tls.Config{RootCAs: c.roots, ServerName: server}, Format: forward.Format{Host: "kms.example"},
	})
}

func oneTo(n uint64) (all []uint64) {
	for i := uint64(1); i <= n; i++ {
		all = append(all, i)
	}
	return all
}

func TestSyslogGetsEveryEventAndGoesOnAfterARestart(t *testing.T) {
	b, c := newBench(t), newCollector(t)
	b.append(t, 100)
	f := b.forwarder(t, c.syslog("logs.example"))
	run(f, func() {
		b.append(t, 50)
		b.sign(t, f)
		eventually(t, "all is read", func() bool { return len(c.seqs()) == 300 })
	})
	if got := f.Settled(); got != 300 {
		t.Errorf("after a clean end %d are settled, want 300", got)
	}
	if got := c.seqs(); !slices.Equal(got, oneTo(300)) {
		t.Errorf("read %v", got)
	}
	before := c.read()
	b.append(t, 1)
	f = b.forwarder(t, c.syslog("logs.example"))
	run(f, func() { eventually(t, "the rest is read", func() bool { return len(c.seqs()) == 302 }) })
	if more := c.read() - before; more != 2 {
		t.Errorf("after the restart %d events came, want 2", more)
	}
	mustBeMessages(t, c)
}

// mustBeMessages checks the form of what came: RFC 5424, one line each, names escaped, and a checkpoint among them.
func mustBeMessages(t *testing.T, c *collector) {
	t.Helper()
	form := regexp.MustCompile(`^<1(0[89]|10)>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z kms\.example keyreeve - (event|checkpoint) \[keyreeve@32473( [a-z]+="([^"\\\]]|\\.)*")+\] [^\n]+$`)
	signed := 0
	for _, m := range c.messages {
		if strings.Contains(m, " journal [keyreeve@32473 ") {
			continue
		}
		if !form.MatchString(m) {
			t.Fatalf("not a message of RFC 5424: %q", m)
		}
		if strings.Contains(m, " checkpoint [") {
			signed++
			text := regexp.MustCompile(`text="([^"]*)"`).FindStringSubmatch(m)[1]
			if _, err := audit.ParseCheckpoint(strings.ReplaceAll(text, "|", "\n")); err != nil {
				t.Error(err)
			}
		}
		if strings.Contains(m, " event [") && !strings.Contains(m, `client="vc\"e\]n\\ter\n"`) {
			t.Fatalf("the client's name: %q", m)
		}
	}
	if signed == 0 {
		t.Error("no checkpoint came")
	}
}

// A server that hangs up again and again in the middle gets each event at least once.
func TestSyslogServerThatHangsUp(t *testing.T) {
	b, c := newBench(t), newCollector(t)
	b.append(t, 20)
	c.mu.Lock()
	c.hangUp = 30
	c.mu.Unlock()
	f := b.forwarder(t, c.syslog("logs.example"))
	run(f, func() {
		eventually(t, "it was tried again", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.conns > 1 })
		c.mu.Lock()
		c.hangUp = 0
		c.mu.Unlock()
		b.append(t, 1)
		eventually(t, "all is read", func() bool { return len(c.seqs()) == 42 })
	})
}

// A server whose certificate is another's, or signed by somebody else, reads nothing.
func TestSyslogServerIsChecked(t *testing.T) {
	b, c := newBench(t), newCollector(t)
	b.append(t, 1)
	for what, sink := range map[string]*forward.Syslog{
		"another name": c.syslog("other.example"),
		"another CA": forward.NewSyslog(forward.SyslogConfig{
			Address: c.listener.Addr().String(), TLS: &tls.Config{RootCAs: newCollector(t).roots, ServerName: "logs.example"},
		}),
	} {
		f := b.forwarder(t, sink)
		c.mu.Lock()
		before := c.conns
		c.mu.Unlock()
		b.log.Reset()
		run(f, func() {
			eventually(t, "it was tried", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.conns > before })
			eventually(t, "it gave up", func() bool { return strings.Contains(b.log.String(), "audit export stopped") })
		})
		if n := len(c.messages); n != 0 || f.Settled() != 0 {
			t.Errorf("%s: %d messages were sent, %d settled", what, n, f.Settled())
		}
	}
}

// No release waits for a syslog server that reads nothing.
func TestDeafSyslogServerHoldsNothingUp(t *testing.T) {
	b, c := newBench(t), newCollector(t)
	c.mu.Lock()
	c.deaf = true
	c.mu.Unlock()
	f := b.forwarder(t, c.syslog("logs.example"))
	var ended time.Time
	run(f, func() {
		begun := time.Now()
		b.append(t, 3000)
		if took := time.Since(begun); took > 20*time.Second {
			t.Errorf("6,000 events took %s", took)
		}
		ended = time.Now()
	})
	if took := time.Since(ended); took > 10*time.Second {
		t.Errorf("the end waited %s for it", took)
	}
	if f.Settled() != 0 {
		t.Error("what nobody has read is settled")
	}
}

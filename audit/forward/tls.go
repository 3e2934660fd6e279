package forward

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/keyreeve/keyreeve/audit"
)

// SyslogConfig says where a syslog server is. Address and TLS, with its RootCAs, are required.
type SyslogConfig struct {
	Address string
	TLS     *tls.Config
	Format  Format
	Now     func() time.Time                                                  // nil means time.Now
	Dial    func(ctx context.Context, network, addr string) (net.Conn, error) // nil dials TCP
}

const (
	dialTimeout  = 10 * time.Second
	writeTimeout = 30 * time.Second
	// settleAfter is how long a message that was handed to a connection is not yet counted on: a connection that broke
	// is noticed, if not at once, within this time.
	settleAfter = 5 * time.Second
	closeWait   = 3 * time.Second
	maxFlight   = 4096 // batches that are not counted on yet
)

// Syslog is the Sink of a syslog server over TLS (RFC 5425): each message is preceded by its length.
type Syslog struct {
	cfg     SyslogConfig
	conn    *tls.Conn
	broken  *atomic.Bool
	gone    chan struct{} // the server has closed its side
	flight  []handed
	settled audit.Position
	buf     []byte
}

// handed is a batch that was handed to the connection.
type handed struct {
	end audit.Position
	at  time.Time
}

// NewSyslog makes a Syslog that connects when it is first used.
func NewSyslog(cfg SyslogConfig) *Syslog {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{}).DialContext
	}
	return &Syslog{cfg: cfg}
}

// Send implements Sink. After an error the connection is gone, and what is not settled has to be sent again.
func (s *Syslog) Send(ctx context.Context, first audit.Line, lines []audit.Line, end audit.Position) (err error) {
	s.buf = s.buf[:0]
	if s.conn == nil || s.broken.Load() {
		lost := s.conn != nil && len(s.flight) > 0
		s.drop()
		if lost {
			return errLost
		}
		if err := s.connect(ctx); err != nil {
			return err
		}
		s.frame(&first)
	}
	for i := range lines {
		s.frame(&lines[i])
	}
	if err := s.conn.SetWriteDeadline(s.cfg.Now().Add(writeTimeout)); err != nil {
		s.drop()
		return err
	}
	conn := s.conn
	defer context.AfterFunc(ctx, func() { _ = conn.SetWriteDeadline(time.Unix(1, 0)) })() // the end does not wait for who reads nothing
	if _, err := s.conn.Write(s.buf); err != nil {
		s.drop()
		return fmt.Errorf("sending to the syslog server at %s: %w", s.cfg.Address, err)
	}
	if len(s.flight) == maxFlight { // so much within the time: the oldest half counts with its last
		s.flight = append(s.flight[:0], s.flight[maxFlight/2:]...)
	}
	s.flight = append(s.flight, handed{end, s.cfg.Now()})
	return nil
}

var errLost = errors.New("the syslog server has closed the connection; what it may not have read is sent again")

// frame adds a message with its length before it (RFC 5425 section 4.3).
func (s *Syslog) frame(l *audit.Line) {
	message := s.cfg.Format.Append(nil, l)
	s.buf = strconv.AppendInt(s.buf, int64(len(message)), 10)
	s.buf = append(s.buf, ' ')
	s.buf = append(s.buf, message...)
}

func (s *Syslog) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	raw, err := s.cfg.Dial(ctx, "tcp", s.cfg.Address)
	if err != nil {
		return fmt.Errorf("connecting to the syslog server: %w", err)
	}
	conn := tls.Client(raw, s.cfg.TLS)
	if err := conn.HandshakeContext(ctx); err != nil {
		return errors.Join(fmt.Errorf("connecting to the syslog server at %s: %w", s.cfg.Address, err), raw.Close())
	}
	broken, gone := new(atomic.Bool), make(chan struct{})
	s.conn, s.broken, s.gone = conn, broken, gone
	go func() {
		// A syslog server says nothing: the read ends when it has gone, also when it refused our certificate.
		_, _ = io.Copy(io.Discard, conn)
		broken.Store(true)
		close(gone)
	}()
	return nil
}

func (s *Syslog) drop() {
	if s.conn != nil {
		_ = s.conn.Close()
	}
	s.conn, s.flight = nil, s.flight[:0]
}

// Settled implements Sink: what was handed over some time ago, to a connection that still stands.
func (s *Syslog) Settled() (audit.Position, error) {
	if s.conn != nil && s.broken.Load() {
		lost := len(s.flight) > 0
		s.drop()
		if lost {
			return s.settled, errLost
		}
	}
	before := s.cfg.Now().Add(-settleAfter)
	n := 0
	for ; n < len(s.flight) && !s.flight[n].at.After(before); n++ {
		s.settled = s.flight[n].end
	}
	s.flight = append(s.flight[:0], s.flight[n:]...)
	return s.settled, nil
}

// Close tells the server that this was all and waits for it to have read it.
func (s *Syslog) Close() error {
	if s.conn == nil {
		return nil
	}
	defer s.drop()
	if s.broken.Load() {
		return errLost
	}
	if err := s.conn.CloseWrite(); err != nil {
		return err
	}
	select {
	case <-s.gone:
		if n := len(s.flight); n > 0 {
			s.settled, s.flight = s.flight[n-1].end, s.flight[:0]
		}
		return nil
	case <-time.After(closeWait):
		return fmt.Errorf("the syslog server at %s did not close within %s", s.cfg.Address, closeWait)
	}
}

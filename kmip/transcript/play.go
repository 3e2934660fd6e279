package transcript

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// DefaultClient is who a transcript's connections are unless they say.
const DefaultClient = "vcenter"

// A Target is a server that transcripts can be played to.
type Target interface {
	// Addr is its host and port.
	Addr() string
	// ClientTLS returns the configuration with which that client connects;
	// "none" has no certificate.
	ClientTLS(client string) (*tls.Config, error)
}

// stepTimeout bounds each step, so that a server which says nothing fails the
// test and does not hang it.
const stepTimeout = 10 * time.Second

// Play plays the steps to the target over TLS on real sockets, and returns the
// first thing that differs. The values that placeholders got are in v, which
// may come with some.
func (t *Transcript) Play(ctx context.Context, target Target, v Values) error {
	p := &player{target: target, values: v, open: map[string]*tls.Conn{}}
	defer p.closeAll()
	for _, s := range t.Steps {
		stepCtx, cancel := context.WithTimeout(ctx, stepTimeout)
		err := p.step(stepCtx, s)
		cancel()
		if err != nil {
			return fmt.Errorf("line %d: %s: %w", s.Line, s.Verb, err)
		}
	}
	return nil
}

type player struct {
	target Target
	values Values
	open   map[string]*tls.Conn
}

func (p *player) closeAll() {
	for _, c := range p.open {
		_ = c.Close()
	}
}

func (p *player) step(ctx context.Context, s Step) error {
	if s.Verb == Connect {
		return p.connect(ctx, s)
	}
	name := s.Names[0]
	c := p.open[name]
	if c == nil {
		return fmt.Errorf("no connection is called %s", name)
	}
	deadline, _ := ctx.Deadline()
	if err := c.SetDeadline(deadline); err != nil {
		return err
	}
	switch s.Verb {
	case Send:
		return p.send(c, s.Message)
	case Receive:
		return p.receive(c, s.Message)
	case Closed:
		delete(p.open, name)
		return expectClosed(c)
	}
	delete(p.open, name)
	return c.Close()
}

// connect opens all connections of the step at once.
func (p *player) connect(ctx context.Context, s Step) error {
	began := time.Now()
	conns, errs := make([]*tls.Conn, len(s.Names)), make([]error, len(s.Names))
	var wg sync.WaitGroup
	for i := range s.Names {
		wg.Go(func() { conns[i], errs[i] = p.dial(ctx, s) })
	}
	wg.Wait()
	for i, name := range s.Names {
		switch {
		case s.Refused && errs[i] == nil:
			_ = conns[i].Close()
			return fmt.Errorf("connection %s was let in", name)
		case s.Refused:
			continue
		case errs[i] != nil:
			return fmt.Errorf("connection %s: %w", name, errs[i])
		case p.open[name] != nil:
			return fmt.Errorf("connection %s is open already", name)
		}
		p.open[name] = conns[i]
	}
	if took := time.Since(began); s.Within > 0 && took > s.Within {
		return fmt.Errorf("opening %d connections took %v", len(s.Names), took)
	}
	return nil
}

func (p *player) dial(ctx context.Context, s Step) (*tls.Conn, error) {
	config, err := p.target.ClientTLS(s.Client)
	if err != nil {
		return nil, err
	}
	version := uint16(tls.VersionTLS12)
	if s.TLS == "1.3" {
		version = tls.VersionTLS13
	}
	config.MinVersion, config.MaxVersion = version, version
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", p.target.Addr())
	if err != nil {
		return nil, err
	}
	c := tls.Client(raw, config)
	if err := c.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return c, nil
}

func (p *player) send(c net.Conn, m *Message) error {
	b, err := m.Encode(p.values)
	if err != nil {
		return err
	}
	_, err = c.Write(b)
	return err
}

func (p *player) receive(c net.Conn, m *Message) error {
	answer, err := readMessage(c)
	if err != nil {
		return fmt.Errorf("no answer: %w", err)
	}
	return m.Compare(answer, p.values, time.Now())
}

// maxAnswer bounds what a server can make the player allocate.
const maxAnswer = 16 << 20

func readMessage(r io.Reader) ([]byte, error) {
	header := make([]byte, ttlv.HeaderSize)
	if _, err := io.ReadFull(r, header); err != nil {
		return nil, err
	}
	_, _, n := ttlv.Header(header)
	if n > maxAnswer {
		return nil, fmt.Errorf("an answer of %d bytes", n)
	}
	message := append(header, make([]byte, n)...)
	_, err := io.ReadFull(r, message[ttlv.HeaderSize:])
	return message, err
}

// expectClosed wants the end of the stream and nothing before it.
func expectClosed(c net.Conn) error {
	defer c.Close()
	n, err := c.Read(make([]byte, 1))
	var timeout net.Error
	switch {
	case n > 0:
		return errors.New("the server sent bytes instead of closing")
	case errors.As(err, &timeout) && timeout.Timeout():
		return errors.New("the server did not close the connection")
	}
	return nil
}

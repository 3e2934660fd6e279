package vspheretest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/keyreeve/keyreeve/internal/ctxtime"
)

// FaultKind is what goes wrong on the way to a key server.
type FaultKind string

// The faults.
const (
	Refuse           FaultKind = "refuse"            // the connection is refused, as when the server is down
	Delay            FaultKind = "delay"             // it comes about after Fault.Delay
	Drop             FaultKind = "drop"              // it is cut after Fault.After bytes from the server
	Hang             FaultKind = "hang"              // it comes about, and nothing ever answers
	WrongCertificate FaultKind = "wrong-certificate" // somebody else answers, with a certificate of his own
)

// A Fault says what happens to connections to one address.
type Fault struct {
	Kind  FaultKind
	Delay time.Duration // of Delay
	After int           // of Drop: bytes that still arrive
	Times int           // how many connections meet it; 0: all, until it is cleared
}

// A Network is the way from the simulator to the key servers. Its methods may
// be called from several goroutines. The zero value lets everything through.
type Network struct {
	mu       sync.Mutex
	faults   map[string]*Fault
	firewall func(address string) bool
	dialled  map[string]int
}

// SetFault makes connections to the address (host:port) meet the fault, in
// place of the one before.
func (n *Network) SetFault(address string, f Fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.faults == nil {
		n.faults = map[string]*Fault{}
	}
	n.faults[address] = &f
}

// ClearFault ends the address's fault.
func (n *Network) ClearFault(address string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.faults, address)
}

// SetFirewall lets only connections through for which open returns true; nil
// lets all through.
func (n *Network) SetFirewall(open func(address string) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.firewall = open
}

// Dialled is how many connections were tried to the address.
func (n *Network) Dialled(address string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dialled[address]
}

// take returns the fault that a connection to the address meets now, and
// whether the firewall lets it through.
func (n *Network) take(address string) (f Fault, open bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.dialled == nil {
		n.dialled = map[string]int{}
	}
	n.dialled[address]++
	if n.firewall != nil && !n.firewall(address) {
		return f, false
	}
	found := n.faults[address]
	if found == nil {
		return f, true
	}
	f = *found
	if found.Times > 0 {
		if found.Times--; found.Times == 0 {
			delete(n.faults, address)
		}
	}
	return f, true
}

// ErrFirewall is wrapped by the error of a connection that the firewall
// stopped. A real one says nothing; the simulator says it at once.
var ErrFirewall = errors.New("no route through the firewall")

// Dial connects to a key server through the firewall and the faults.
func (n *Network) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	fault, open := n.take(address)
	if !open {
		return nil, &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("%w to %s", ErrFirewall, address)}
	}
	switch fault.Kind {
	case Refuse:
		return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	case Hang:
		return silent(), nil
	case WrongCertificate:
		return impostor()
	case Delay:
		if err := ctxtime.Sleep(ctx, fault.Delay); err != nil {
			return nil, &net.OpError{Op: "dial", Net: network, Err: err}
		}
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err == nil && fault.Kind == Drop {
		conn = &cut{Conn: conn, left: fault.After}
	}
	return conn, err
}

// silent is a connection that takes what is written and never says a word.
func silent() net.Conn {
	near, far := net.Pipe()
	go func() {
		buf := make([]byte, 4<<10)
		for {
			if _, err := far.Read(buf); err != nil {
				return // the near end was closed
			}
		}
	}()
	return near
}

// cut is a connection that breaks after some bytes were read.
type cut struct {
	net.Conn
	left int
}

func (c *cut) Read(b []byte) (int, error) {
	if c.left <= 0 {
		_ = c.Conn.Close()
		return 0, os.NewSyscallError("read", syscall.ECONNRESET)
	}
	n, err := c.Conn.Read(b[:min(len(b), c.left)])
	c.left -= n
	return n, err
}

// impostor is a connection to a server that nobody enrolled.
func impostor() (net.Conn, error) {
	cert, err := impostorCertificate()
	if err != nil {
		return nil, err
	}
	near, far := net.Pipe()
	go func() {
		defer func() { _ = far.Close() }()
		server := tls.Server(far, &tls.Config{Certificates: []tls.Certificate{*cert}, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12})
		if server.Handshake() == nil {
			_, _ = server.Read(make([]byte, 1)) // until the client goes
		}
	}()
	return near, nil
}

var impostorCertificate = sync.OnceValues(func() (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "impostor"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
})

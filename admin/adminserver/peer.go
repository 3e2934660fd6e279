package adminserver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/internal/unixsock"
	"github.com/keyreeve/keyreeve/keystore"
)

// guarded closes connections of users who may not use the socket: its mode
// already keeps them out, save in the moment between its making and its chmod,
// or when somebody opened the folder up.
type guarded struct {
	net.Listener
	logger *slog.Logger
}

func (g *guarded) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		uid, err := unixsock.PeerUID(conn)
		if err == nil && allowed(uid, os.Geteuid()) {
			return conn, nil
		}
		g.logger.Warn("admin socket: connection refused; only root and the server's own user may use it", "uid", uid, "err", err)
		_ = conn.Close()
	}
}

func allowed(peer uint32, us int) bool { return peer == 0 || int(peer) == us }

// A peer is who is at the other end of a connection: somebody at the socket, or
// the holder of a certificate.
type peer struct {
	socket bool
	uid    string
	shown  []*x509.Certificate
}

type peerKey struct{}

// withPeer notes, once a connection, what the kernel or the handshake says.
func (s *Server) withPeer(ctx context.Context, conn net.Conn) context.Context {
	p := &peer{}
	if t, ok := conn.(*tls.Conn); ok {
		p.shown = t.ConnectionState().PeerCertificates
		if id, err := s.cfg.Admins.Identify(p.shown); err == nil {
			s.conns.add(conn, id.Name)
		}
	} else if uid, err := unixsock.PeerUID(conn); err == nil {
		p.socket, p.uid = true, fmt.Sprintf("uid %d", uid)
	}
	return context.WithValue(ctx, peerKey{}, p)
}

// forget is for connections that end.
func (s *Server) forget(conn net.Conn, state http.ConnState) {
	if state == http.StateClosed || state == http.StateHijacked {
		s.conns.remove(conn)
	}
}

// identify says who sent a request. A certificate is judged anew each time: its
// record may have been revoked, or its dates have passed, on a connection that
// is still open.
func (s *Server) identify(r *http.Request) (*call, error) {
	p, ok := r.Context().Value(peerKey{}).(*peer)
	switch {
	case ok && p.socket:
		by := &keystore.Principal{Client: "admin", User: p.uid, Remote: "admin socket", Admin: true}
		return &call{http: r, by: by, role: admin.RoleOwner}, nil
	case ok && p.shown != nil:
		id, err := s.cfg.Admins.Identify(p.shown)
		if err != nil {
			_, text := whyNot(err)
			s.cfg.Logger.Warn("admin API: request refused", "remote", r.RemoteAddr, "why", text)
			break
		}
		by := &keystore.Principal{Client: "admin", User: id.Name, Remote: r.RemoteAddr, Admin: true}
		return &call{http: r, by: by, role: admin.Role(id.Group), until: id.ValidUntil}, nil
	}
	return nil, &admin.Error{Code: admin.CodeForbidden, Message: "the certificate is no administrator's",
		Hint: "on the server's machine: keyreeve admin list shows who is one"}
}

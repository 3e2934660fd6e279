package adminserver

import (
	"context"
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

type peerKey struct{}

// withPeer makes the connection's Principal, once, from what the kernel says.
func withPeer(ctx context.Context, conn net.Conn) context.Context {
	p := &keystore.Principal{Client: "admin", Remote: "admin socket", Admin: true}
	if uid, err := unixsock.PeerUID(conn); err == nil {
		p.User = fmt.Sprintf("uid %d", uid)
	}
	return context.WithValue(ctx, peerKey{}, p)
}

// identify says who sent a request.
func (s *Server) identify(r *http.Request) (*call, error) {
	p, ok := r.Context().Value(peerKey{}).(*keystore.Principal)
	if !ok {
		return nil, &admin.Error{Code: admin.CodeForbidden, Message: "nobody knows who asks"}
	}
	return &call{http: r, by: p, role: admin.RoleOwner}, nil
}

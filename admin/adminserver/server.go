package adminserver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/users"
)

const (
	maxRequest    = 1 << 20 // bytes of a body; certificates are small
	headerTimeout = 5 * time.Second
	readTimeout   = 30 * time.Second
	idleTimeout   = 2 * time.Minute
)

// Config is what a Server needs. All but Logger and Now are required.
type Config struct {
	Store       *keystore.Store
	Journal     *audit.Journal // the store's
	CA          *certs.CA
	Registry    *certs.Registry // of clients
	Admins      *certs.Registry // of administrators; a group there is a role
	Users       *users.Registry
	Leaf        func() *x509.Certificate // the server certificate in use
	CloseClient func(name string)        // ends a client's connections
	Status      func(context.Context) admin.Status
	Verify      func(context.Context) (admin.VerifyReport, error) // checks store and journal while they are in use
	Backups     Backups
	// Certificates are the server's own.
	Certificates Certificates
	Logger       *slog.Logger     // nil discards
	Now          func() time.Time // nil means time.Now
}

// Server answers the admin API. Its methods may be called from many goroutines.
type Server struct {
	cfg      Config
	http     *http.Server
	stopping context.Context // ends when Shutdown begins
	conns    connections
	uploads  uploads

	// mu is held over a change of a client or a user, so that two changes of one
	// name do not overtake each other between the store and the registry.
	mu sync.Mutex
}

// New returns a Server that serves nobody yet.
func New(cfg Config) *Server {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Server{cfg: cfg}
	s.http = &http.Server{
		Handler:           s.mux(),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelWarn),
		ConnContext:       s.withPeer,
		ConnState:         s.forget,
	}
	stopping, stop := context.WithCancel(context.Background())
	s.stopping = stopping
	s.http.RegisterOnShutdown(stop)
	return s
}

func (s *Server) mux() http.Handler {
	mux := http.NewServeMux()
	for _, r := range routes() {
		mux.Handle(r.method+" "+r.path, s.handle(r))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.problem(w, r, &admin.Error{Code: admin.CodeNotFound, Message: "this server has no " + r.Method + " " + r.URL.Path,
			Hint: "the command may be newer than the server; restart the server with the same version"})
	})
	return mux
}

// Serve answers on l, which Listen of package unixsock made, until Shutdown.
func (s *Server) Serve(l net.Listener) error {
	return s.accept(&guarded{l, s.cfg.Logger})
}

func (s *Server) accept(l net.Listener) error {
	err := s.http.Serve(l)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// ServeTLS answers on l, to administrators whom config lets in, until Shutdown.
// config's VerifyConnection must be that of the registry of administrators.
func (s *Server) ServeTLS(l net.Listener, config *tls.Config) error {
	return s.accept(newGate(l, config, s.cfg.Logger))
}

// Shutdown lets requests under way finish until ctx ends, and then cuts them.
func (s *Server) Shutdown(ctx context.Context) {
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close()
	}
}

func (s *Server) status(c *call, _ none) (admin.Status, error) {
	return s.cfg.Status(c.context()), nil
}

func (s *Server) verify(c *call, _ none) (admin.VerifyReport, error) {
	return s.cfg.Verify(c.context()) // may take long: the server sets no deadline for answers
}

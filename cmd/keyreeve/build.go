package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/admin/adminserver"
	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/kmipserver"
	"github.com/keyreeve/keyreeve/kmip/operations"
	"github.com/keyreeve/keyreeve/users"
)

// build puts the servers together.
func (s *service) build() {
	ops := operations.New(operations.Config{
		Store:             s.vault.store,
		ServerInformation: []string{"keyreeve " + version()},
		LeaseTime:         uint32(s.config.LeaseTime.Seconds()),
		RefuseInactive:    s.config.RefuseInactive,
		MakeFreshKeys:     s.config.MakeFreshKeys,
		Healthy:           s.health.cheap,
	})
	l := s.config.Limits
	var recorder kmipserver.Recorder // an interface that is nil, not one that holds nil
	if s.recorder != nil {
		recorder = s.recorder
	}
	s.kmip = kmipserver.New(kmipserver.Config{
		Recorder:   recorder,
		Operations: ops,
		TLS:        certs.ServerConfig(s.reloader, s.registry, certs.Options{LegacySuites: s.config.LegacySuites, Now: s.app.now}),
		Identify:   s.identify, Authenticate: s.authenticate,
		ClassifyHandshakeError: func(err error) (string, slog.Level, string) {
			kind, message := certs.ClassifyHandshakeError(err)
			return string(kind), kind.Level(), message
		},
		Limits: kmipserver.Limits{
			Handshake: l.Handshake, FirstByte: l.FirstByte, Request: l.Request, Idle: l.Idle, Write: l.Write,
			MessageSize: l.MessageSize, ResponseSize: l.ResponseSize, Depth: l.Depth, Items: l.Items, BatchItems: l.BatchItems,
			Connections: l.Connections, PerAddress: l.PerAddress, Pending: l.Pending,
		},
		Logger: s.logger, Metrics: kmipserver.NewMetrics(s.metrics), Now: s.app.now,
	})
	s.admin = adminserver.New(adminserver.Config{
		Journal: s.vault.journal,
		Store:   s.vault.store, CA: s.ca, Registry: s.registry, Admins: s.admins, Users: s.users, Leaf: s.reloader.Leaf,
		CloseClient: func(name string) { s.kmip.CloseClient(name) },
		Status:      s.status,
		Verify: func(ctx context.Context) (admin.VerifyReport, error) {
			return s.vault.verifyOpen(ctx, s.app, s.logger)
		},
		Backups: s.keeper,
		Certificates: &certificates{
			folder: s.vault.folder, ca: s.ca, reloader: s.reloader, now: s.app.now, logger: s.logger,
		},
		Logger: s.logger, Now: s.app.now,
	})
	s.web = newWeb(s)
}

// adminTLS is the TLS configuration of the admin API: it shows the same
// certificate as KMIP's, and knows administrators only. No legacy suites: what
// speaks to it is of this decade.
func (s *service) adminTLS() *tls.Config {
	return certs.ServerConfig(s.reloader, s.admins, certs.Options{Now: s.app.now})
}

// identify says who a connection belongs to, and for how long.
func (s *service) identify(state tls.ConnectionState) (kmipserver.Peer, error) {
	id, err := s.registry.Identify(state.PeerCertificates)
	if err != nil {
		return kmipserver.Peer{}, err
	}
	use := s.registry.Usage(id.SHA256)
	return kmipserver.Peer{
		Principal: operations.Principal{Client: id.Name, Group: id.Group},
		Current: func() bool {
			now := s.app.now()
			use.Mark(now)
			expired := !id.ValidUntil.IsZero() && now.After(id.ValidUntil)
			return !expired && s.registry.Current(id.Name, id.Generation)
		},
	}, nil
}

// authenticate says which user a request is from; "" for the client itself.
func (s *service) authenticate(ctx context.Context, p *operations.Principal, credentials []kmip.Credential) (string, error) {
	client := users.Client{Name: p.Client, Group: p.Group, RequireUser: s.registry.RequiresUser(p.Client)}
	user, err := s.users.Authenticate(ctx, client, credentials)
	if refused, ok := errors.AsType[*users.Error](err); ok {
		user = refused.User // for the journal: whose password was wrong
	}
	return user, err
}

func (s *service) status(ctx context.Context) admin.Status {
	leaf, info := s.reloader.Leaf(), s.vault.store.Info()
	st := admin.Status{
		Version: version(), Data: s.config.Data, StoreID: hexadecimal(s.vault.id), Listen: s.listener.Addr().String(),
		Certificate: thumbprints(leaf), Expires: leaf.NotAfter, Started: s.started,
		Objects: info.Objects, Clients: len(s.registry.List()), Ready: true, Backup: s.keeper.status(),
		MachineUUID: machineUUID(),
	}
	var err error
	if st.Inventory, err = adminserver.InventoryStatus(ctx, s.vault.store); err != nil {
		st.Ready, st.Problem = false, err.Error()
	}
	st.Seal = admin.Seal{Generation: info.Generation, RootKey: s.vault.keyFrom}
	st.Journal, st.Disk, st.Certificates = s.journalStatus(info), s.diskStatus(), s.certificateEnds(leaf)
	if s.adminListener != nil {
		st.AdminListen = s.adminListener.Addr().String()
	}
	if s.metricsListener != nil {
		st.Metrics = s.metricsListener.Addr().String()
	}
	if err := s.health.check(ctx); err != nil {
		st.Ready, st.Problem = false, err.Error()
	}
	return st
}

// openCertificate loads the server's certificate. One of ours that has expired
// is issued anew for the same hosts: a server that does not start because of its
// own certificate would keep every encrypted machine down.
func (s *service) openCertificate() (*certs.Reloader, error) {
	dir := s.vault.folder.tls()
	reloader, err := certs.NewReloader(dir, s.app.now)
	if !errors.Is(err, certs.ErrOutsideDates) {
		return reloader, badCertificate(dir, err)
	}
	leaf, leafErr := firstCertificate(s.vault.folder.certificate())
	if leafErr != nil || leaf.CheckSignatureFrom(s.ca.Certificate()) != nil || s.app.now().Before(leaf.NotAfter) {
		return nil, badCertificate(dir, err) // not ours to renew, or the clock is wrong
	}
	fresh, err := s.ca.IssueServer(certs.ServerRequest{Hosts: hostsOf(leaf), KeyType: keyTypeOf(leaf)})
	if err != nil {
		return nil, err
	}
	defer fresh.Clear()
	if err := certs.WriteServer(dir, fresh); err != nil {
		return nil, err
	}
	s.logger.Warn("the server's certificate had expired and was issued anew; clients that pinned the old one must be told",
		"expired", leaf.NotAfter, "sha1", certs.SHA1(fresh.Certificate), "sha256", certs.SHA256(fresh.Certificate))
	return certs.NewReloader(dir, s.app.now)
}

func badCertificate(dir string, err error) error {
	if err == nil {
		return nil
	}
	return &failure{Code: exitOther, Err: err, Hint: "put " + certs.ServerCertificateFile + ", " + certs.ServerKeyFile + " and " + certs.ServerCAFile + " back into " + dir +
		", or others in their place; clients that pinned the old certificate must be told"}

}

func hostsOf(leaf *x509.Certificate) []string {
	hosts := append([]string(nil), leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		hosts = append(hosts, ip.String())
	}
	return hosts
}

func keyTypeOf(leaf *x509.Certificate) certs.KeyType {
	if leaf.PublicKeyAlgorithm == x509.ECDSA {
		return certs.P256
	}
	return certs.RSA2048
}

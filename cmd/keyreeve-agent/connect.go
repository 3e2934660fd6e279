package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/internal/program"
	"github.com/keyreeve/keyreeve/vsphere/ovhcloud"
	"github.com/keyreeve/keyreeve/vsphere/policy"
	"github.com/keyreeve/keyreeve/vsphere/provider"
	"github.com/keyreeve/keyreeve/vsphere/session"
)

// reachTime is how long somebody may take to answer at all.
const reachTime = 20 * time.Second

// A link is what a command is connected to. Each part is connected when it is
// first asked for, so that a command about OVHcloud needs no vCenter.
type link struct {
	app    *app
	config *config
	logger *slog.Logger

	ovhMetrics     *ovhcloud.Metrics
	vcenterMetrics *session.Metrics

	providerMetrics *provider.Metrics
	policyMetrics   *policy.Metrics

	prove func(context.Context) error // that keys can be had; nil: vCenter's status is enough

	state      *state // what run and apply hold for their whole life; nil: a command opens its own
	lease      *lease // of the vCenter; nil: it was not claimed
	over       bool   // a person wants it claimed whoever has it
	status     pulse  // of key server and providers
	proof      pulse  // with a real key
	seen       *sight // of the machines, last; nil: nothing yet
	unattended bool   // nobody sits at a terminal
	insist     int    // how often a call of OVHcloud's is tried; 0: as its package does
	server     *admin.Client
	own        *x509.Certificate // that the agent shows to it; nil: over the socket
	ovh        *ovhcloud.Client
	vcenter    *session.Session
	login      refusal // of the session that there is not
}

// connect reads the settings of a command.
func (a *app) connect(o *options) (*link, error) {
	c, err := a.settingsOf(o)
	if err != nil {
		return nil, err
	}
	level := c.Log.level()
	if level == slog.LevelInfo {
		level = slog.LevelWarn // a command says itself what it does
	}
	l := &link{app: a, config: c, logger: a.newLogger(c, level)}
	l.prove = l.proveIfEnrolled
	return l, nil
}

func (a *app) newLogger(c *config, level slog.Leveler) *slog.Logger {
	form := func(w io.Writer, o *slog.HandlerOptions) slog.Handler { return slog.NewTextHandler(w, o) }
	if c.Log.Format == "json" {
		form = func(w io.Writer, o *slog.HandlerOptions) slog.Handler { return slog.NewJSONHandler(w, o) }
	}
	if program.ToJournal(a.err, a.env("JOURNAL_STREAM")) {
		return slog.New(program.NewJournalHandler(a.err, level, form))
	}
	return slog.New(form(a.err, &slog.HandlerOptions{Level: level}))
}

// close ends what was connected, also when the command's context has ended.
func (l *link) close() { l.disconnect(context.Background()) }

// disconnect ends what is connected. Who is asked again is connected again, with
// credentials that are read anew.
func (l *link) disconnect(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	l.release(ctx)
	if l.vcenter != nil {
		if err := l.vcenter.Close(ctx); err != nil {
			l.logger.Debug("ending the session", "err", err)
		}
	}
	if l.ovh != nil {
		l.ovh.Close()
	}
	if l.server != nil {
		l.server.Close()
	}
	l.vcenter, l.ovh, l.server, l.login = nil, nil, nil, refusal{}
}

// A refusal is a password that vCenter did not take. Some tries in a row lock the
// account, and each part of a pass would make one.
type refusal struct {
	err   error
	until time.Time
}

// keyServer is the admin API's client.
func (l *link) keyServer() (*admin.Client, error) {
	if l.server != nil {
		return l.server, nil
	}
	s := l.config.Server
	if s.Socket != "" {
		l.server = admin.NewClient(s.Socket)
		return l.server, nil
	}
	config, err := certs.ClientConfig(s.Bundle)
	if err != nil {
		return nil, &failure{Code: exitUsage, Err: fmt.Errorf("server.bundle: %w", err), Hint: "it is the folder that keyreeve admin add NAME --role agent --out DIR made"}
	}
	l.server = admin.NewTLSClient(strings.TrimSuffix(strings.TrimPrefix(s.URL, "https://"), "/"), config)
	l.own = config.Certificates[0].Leaf
	return l.server, nil
}

// errOtherCertificate says that who answers at server.kmip is not the server.
var errOtherCertificate = errors.New("who answers there is not our key server")

// certificate reads what the live server shows, and compares it with what the
// server says of itself over the admin API: a thumbprint of whoever stands
// between must reach neither OVHcloud nor vCenter.
func (l *link) certificate(ctx context.Context) (*x509.Certificate, error) {
	server, err := l.keyServer()
	if err != nil {
		return nil, err
	}
	status, err := server.Status(ctx)
	if err != nil {
		return nil, err
	}
	leaf, err := l.shown(ctx)
	if err != nil {
		return nil, err
	}
	if got := certs.SHA256(leaf); got != status.Certificate.SHA256 {
		return nil, &failure{Code: exitRefused, Err: fmt.Errorf("%w: %s shows the certificate with SHA-256 %s, the key server has %s", errOtherCertificate, l.config.Server.KMIP, got, status.Certificate.SHA256),
			Hint: "see server.kmip; if it is right, somebody stands between"}
	}
	return leaf, nil
}

// shown is the certificate that the live server shows. Nothing vouches for it.
func (l *link) shown(ctx context.Context) (*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	leaf, err := certs.FetchServerCertificate(ctx, l.config.Server.KMIP)
	if err != nil {
		return nil, &failure{Code: exitNotReached, Err: fmt.Errorf("reading the key server's certificate at %s: %w", l.config.Server.KMIP, err),
			Hint: "see server.kmip, and whether this machine may reach it"}
	}
	return leaf, nil
}

// service is the service at OVHcloud.
func (l *link) service(ctx context.Context) (*ovhcloud.Service, error) {
	c, err := l.ovhcloud()
	if err != nil {
		return nil, err
	}
	return c.Service(ctx, l.config.OVHcloud.Service)
}

func (l *link) ovhcloud() (*ovhcloud.Client, error) {
	if l.ovh != nil {
		return l.ovh, nil
	}
	c := l.config.OVHcloud
	if c == nil {
		return nil, fmt.Errorf("%w: ovhcloud: missing: the settings do not say how to reach OVHcloud", errConfig)
	}
	credentials, err := l.credentials(c)
	if err != nil {
		return nil, err
	}
	l.ovh, err = ovhcloud.New(ovhcloud.Config{
		Endpoint: c.Endpoint, TokenURL: c.TokenURL, Credentials: credentials, TaskTimeout: c.TaskTimeout, Attempts: l.insist, Now: l.app.now,
		UserAgent: "keyreeve-agent", Logger: l.logger, Metrics: l.ovhMetrics,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: ovhcloud: %w", errConfig, err)
	}
	return l.ovh, nil
}

// credentials are of the one way that the settings choose: an application key,
// a client id, or neither for an access token.
func (l *link) credentials(c *ovhcloudConfig) (cr ovhcloud.Credentials, err error) {
	switch {
	case c.ApplicationKey != "" && c.ClientID != "":
		return cr, fmt.Errorf("%w: ovhcloud: application_key and client_id exclude each other", errConfig)
	case c.ApplicationKey != "":
		cr.ApplicationKey = c.ApplicationKey
		if cr.ApplicationSecret, err = l.app.secret(secretName{"ovhcloud.application_secret"}, c.ApplicationSecretFile); err == nil {
			cr.ConsumerKey, err = l.app.secret(secretName{"ovhcloud.consumer_key"}, c.ConsumerKeyFile)
		}
	case c.ClientID != "":
		cr.ClientID = c.ClientID
		cr.ClientSecret, err = l.app.secret(secretName{"ovhcloud.client_secret"}, c.ClientSecretFile)
	default:
		cr.AccessToken, err = l.app.secret(secretName{"ovhcloud.access_token"}, c.AccessTokenFile)
	}
	return cr, err
}

// vCenter is the session, logged in.
func (l *link) vCenter(ctx context.Context) (*session.Session, error) {
	if l.vcenter != nil {
		return l.vcenter, nil
	}
	c := l.config.VCenter
	if c == nil {
		return nil, fmt.Errorf("%w: vcenter: missing: the settings do not say how to reach vCenter", errConfig)
	}
	if l.app.now().Before(l.login.until) {
		return nil, l.login.err
	}
	password, err := l.app.secret(secretName{"vcenter.password"}, c.PasswordFile)
	if err != nil {
		return nil, err
	}
	var ca []byte
	if c.CAFile != "" {
		if ca, err = os.ReadFile(c.CAFile); err != nil {
			return nil, fmt.Errorf("%w: vcenter.ca_file: %w", errConfig, err)
		}
	}
	l.vcenter, err = session.Open(ctx, session.Config{
		URL: c.URL, User: c.User, Password: password, Thumbprint: c.Thumbprint, CA: ca,
		PerSecond: c.RequestsPerSecond, KeepAlive: c.KeepAlive, Logger: l.logger, Metrics: l.vcenterMetrics,
	})
	if err != nil {
		password.Clear()
		if errors.Is(err, session.ErrLogin) {
			l.login = refusal{err, l.app.now().Add(session.LoginAgain)}
		}
		return nil, err
	}
	return l.vcenter, nil
}

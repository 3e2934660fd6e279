package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/kmip/kmipclient"
	"github.com/keyreeve/keyreeve/vsphere/provider"
)

// canaryName is the KMIP client by which the agent proves that keys can be had,
// and the group of its keys: no machine's key is ever in its reach.
const canaryName = "keyreeve-agent-canary"

const (
	canaryRenewal = 30 * 24 * time.Hour // before its certificate ends
	canaryOverlap = time.Hour           // that the old one is taken beside the new
)

// proveKeys has a key made, fetched, compared and destroyed, as vCenter has it done:
// a status that is green says only that the server answers.
func (l *link) proveKeys(ctx context.Context) error {
	s, err := l.vCenter(ctx)
	if err != nil {
		return err
	}
	identity, err := l.canary(ctx)
	if err != nil {
		return fmt.Errorf("the client of the proof with a real key: %w", err)
	}
	_, err = provider.Canary{
		Servers: []string{l.config.Server.KMIP}, KMIP: kmipclient.Config{TLS: identity}, ID: s.InstanceUUID(),
		Now: l.app.now, Metrics: l.providerMetrics,
	}.Prove(ctx)
	return err
}

// proveTrust proves new trust, and says so. Without leave to make the client of
// the proof vCenter's status is all there is: the hint says how to get it.
func (l *link) proveTrust(ctx context.Context) error {
	err := l.proveKeys(ctx)
	if f, ok := errors.AsType[*failure](err); ok && f.Code == exitRefused {
		l.say("not proved with a real key: %v", f.Err)
		l.say("hint: %s", f.Hint)
		return nil
	}
	if err == nil {
		l.say("done: proof: a key was made, read over another connection, and destroyed")
	}
	return err
}

// proveIfEnrolled is for what can do without a proof: an agent that changes no
// machines may never have had such a client.
func (l *link) proveIfEnrolled(ctx context.Context) error {
	if _, err := os.Stat(l.canaryDir()); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return l.proveKeys(ctx)
}

func (l *link) canaryDir() string { return filepath.Join(l.config.StateDir, "canary") }

// canary is the client's identity, which lies in the state folder. It is made
// when it is not there, or is of another key server, and renewed before it ends.
func (l *link) canary(ctx context.Context) (*tls.Config, error) {
	dir := l.canaryDir()
	identity, err := certs.ClientConfig(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err == nil {
		known, err := l.canaryKnown(ctx, identity.Certificates[0].Leaf)
		if known || err != nil {
			return identity, nil // with an error the proof tells better what is wrong
		}
	}
	if err := l.enrolCanary(ctx, dir); err != nil {
		return nil, err
	}
	return certs.ClientConfig(dir)
}

// canaryKnown asks whether the key server lets this certificate in, and for a
// while to come.
func (l *link) canaryKnown(ctx context.Context, leaf *x509.Certificate) (bool, error) {
	if !l.app.now().Before(leaf.NotAfter.Add(-canaryRenewal)) {
		return false, nil
	}
	server, err := l.keyServer()
	if err != nil {
		return false, err
	}
	record, err := server.Client(ctx, canaryName)
	if refusedAs(err, admin.CodeNotFound) {
		return false, nil
	}
	takes := func(c admin.Certificate) bool { return c.SHA256 == certs.SHA256(leaf) }
	return err == nil && record.Revoked == nil && slices.ContainsFunc(record.Certificates, takes), err
}

// enrolCanary gets the client a certificate and puts it into the folder. What a
// kill leaves beside it is made anew: the key server then takes both for a while.
func (l *link) enrolCanary(ctx context.Context, dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	key, csr, err := certs.NewRequest(certs.P256, canaryName)
	if err != nil {
		return err
	}
	defer key.Clear()
	signed, err := l.signCanary(ctx, csr)
	if err != nil {
		return err
	}
	fresh := dir + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	if err := certs.WriteSigned(fresh, canaryName, signed.Certificate, signed.CA, key); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.Rename(fresh, dir)
}

// signCanary renews the client's record, or makes it. Making takes an operator:
// an agent's own certificate may only renew.
func (l *link) signCanary(ctx context.Context, csr []byte) (signed admin.Enrolled, err error) {
	server, err := l.keyServer()
	if err != nil {
		return signed, err
	}
	record, err := server.Client(ctx, canaryName)
	switch {
	case err == nil && record.Revoked == nil:
		signed, err = server.Renew(ctx, canaryName, admin.RenewRequest{Kind: admin.KindIssued, CSR: csr, OldUntil: l.app.now().Add(canaryOverlap)})
	case err == nil || refusedAs(err, admin.CodeNotFound):
		signed, err = server.Enrol(ctx, admin.EnrolRequest{Name: canaryName, Kind: admin.KindIssued, CSR: csr, AgentRenewable: true})
	}
	if refusedAs(err, admin.CodeForbidden) {
		err = &failure{Code: exitRefused, Err: err, Hint: fmt.Sprintf("an operator makes it once, on the key server: keyreeve client add %s --agent-renewable --out DIR (the folder is of no use afterwards)", canaryName)}
	}
	return signed, err
}

func refusedAs(err error, code admin.Code) bool {
	e, ok := errors.AsType[*admin.Error](err)
	return ok && e.Code == code
}

// A pulse asks something no more often than it must, for whoever wants to know:
// it lives as long as the link, over many passes.
type pulse struct {
	mu  sync.Mutex
	at  time.Time
	err error // of the last time
}

// check asks unless that was done within the time. What went wrong is asked for
// anew when soon is over, however long an answer that is good may last.
func (p *pulse) check(ctx context.Context, now time.Time, soon, every time.Duration, ask func(context.Context) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		every = min(every, soon)
	}
	if !p.at.IsZero() && now.Sub(p.at) < every {
		return p.err
	}
	err := ask(ctx)
	if ctx.Err() == nil { // else it says nothing of who was asked
		p.at, p.err = now, err
	}
	return err
}

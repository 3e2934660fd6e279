package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/keyreeve/keyreeve/internal/program"
	"github.com/keyreeve/keyreeve/vsphere/ovhcloud"
	"github.com/keyreeve/keyreeve/vsphere/provider"
	"github.com/keyreeve/keyreeve/vsphere/session"
)

// The key server's certificate is renewed as one move: OVHcloud and vCenter
// have it pinned, and are told before the server shows the new one. A run that
// is killed on the way leaves nothing that has to be remembered: the parts
// ovhcloud and provider follow what the live server shows, and the next renewal
// goes on with the certificate that is staged.

const defaultRenewBefore = "720h" // 30 days

func (c *config) checkRenewal() error {
	text := c.Server.RenewBefore
	if text == "off" {
		return nil
	}
	if d, err := time.ParseDuration(text); err != nil || d < 0 {
		return fmt.Errorf("server.renew_before: %q: want a duration such as 720h, or off", text)
	}
	return nil
}

// renewBefore is how long before its end the certificate is renewed; 0: never.
func (c *config) renewBefore() time.Duration {
	d, _ := time.ParseDuration(c.Server.RenewBefore) // was checked; off is none
	return d
}

// renewFrom is when the certificate is renewed; the zero time is never.
func (c *config) renewFrom(leaf *x509.Certificate) time.Time {
	if c.renewBefore() == 0 {
		return time.Time{}
	}
	return leaf.NotAfter.Add(-c.renewBefore())
}

// renews tells that the agent does it by itself.
func (c *config) renews() bool {
	return c.renewBefore() > 0 && len(c.Providers) > 0 && c.Mode != session.Observe
}

// due returns the live server's certificate when it is time to renew it; else nil.
func (l *link) due(ctx context.Context) (*x509.Certificate, error) {
	c := l.config
	if c.renewBefore() == 0 || len(c.Providers) == 0 && c.OVHcloud == nil {
		return nil, nil // turned off, or nobody has it pinned
	}
	leaf, err := l.certificate(ctx)
	if err != nil || l.app.now().Before(c.renewFrom(leaf)) {
		return nil, err
	}
	return leaf, nil
}

// ours are those of the key providers that have the key server, and the name that
// it has in them. Those of other servers, as server_ca_file and
// server_fingerprints tell, are left out.
func (c *config) ours(list []provider.Provider) (ours []provider.Provider, alias string, err error) {
	for _, p := range list {
		i := slices.IndexFunc(p.Servers, func(s provider.Server) bool { return c.isOurs(s) })
		switch {
		case i >= 0:
		case p.OtherServers:
			continue
		case len(p.Servers) == 1:
			i = 0 // behind a translation of addresses
		default:
			return nil, "", fmt.Errorf("none of the servers of key provider %s is at server.kmip (%s): which one is it?", p.Name, c.Server.KMIP)
		}
		if name := p.Servers[i].Name; alias == "" || name == alias {
			alias, ours = name, append(ours, p)
			continue
		}
		return nil, "", fmt.Errorf("the settings call the key server %s and %s: give it one name", alias, p.Servers[i].Name)
	}
	if len(ours) == 0 {
		return nil, "", errors.New("the settings name no key provider that has it, so that nobody would tell vCenter of the new one")
	}
	return ours, alias, nil
}

// isOurs tells by its address that a server is ours.
func (c *config) isOurs(s provider.Server) bool {
	port := s.Port
	if port == 0 {
		port = provider.KMIPPort
	}
	return slices.Contains(c.addresses(), hostPort(s.Address, port))
}

// mayRenew says why a person has to renew the certificate.
func (l *link) mayRenew(leaf *x509.Certificate) error {
	d, err := l.config.desiredProviders("")
	if err == nil {
		_, _, err = l.config.ours(d.Providers)
	}
	if err == nil && l.app.now().After(leaf.NotAfter) {
		err = errors.New("it has ended, and nobody who checks it is connected")
	}
	if err != nil {
		err = &failure{Code: exitBlocked, Err: fmt.Errorf("the key server's certificate ends at %s, and is not renewed by the agent: %w", program.Date(leaf.NotAfter), err),
			Hint: "keyreeve certificate stage, on the server's machine; tell those who pinned it; keyreeve certificate use SHA256; keyreeve-agent apply"}
	}
	return err
}

// planCertificate adds the key server's certificate to a plan when it is due.
func (l *link) planCertificate(ctx context.Context, p *plan) error {
	const area = "certificate"
	leaf, err := l.due(ctx)
	if err != nil || leaf == nil {
		return err
	}
	if err := l.mayRenew(leaf); err != nil {
		p.add(area, isBlocked, err.Error())
		return nil
	}
	p.add(area, isChange, fmt.Sprintf("renew: the key server's certificate ends at %s", program.Date(leaf.NotAfter)))
	return nil
}

// renewIfDue is apply's part. What a person has to do stands in the plan that
// apply prints.
func (l *link) renewIfDue(ctx context.Context) error {
	if !l.config.renews() {
		return nil
	}
	leaf, err := l.due(ctx)
	if err != nil || leaf == nil {
		return err
	}
	if err := l.mayRenew(leaf); err != nil {
		return nil
	}
	_, err = l.renew(ctx, leaf, func(step string) {
		l.say("done: certificate: %s", program.Printable(step))
	})
	return err
}

// renew changes the key server's certificate, and tells each step once it is done.
func (l *link) renew(ctx context.Context, leaf *x509.Certificate, did func(step string)) (out provider.Rotated, err error) {
	if err := l.mayChange("certificate"); err != nil {
		return out, err
	}
	if err := l.mayRenew(leaf); err != nil {
		return out, err
	}
	if l.state == nil { // an agent that runs would follow the old certificate meanwhile
		folder, err := openState(l.config.StateDir)
		if err != nil {
			return out, err
		}
		defer folder.close()
	}
	if err := l.inSyncAtOVH(ctx); err != nil {
		return out, err
	}
	server, err := l.keyServer()
	if err != nil {
		return out, err
	}
	m, d, err := l.manager(ctx)
	defer func() { d.Clear() }()
	if err != nil {
		return out, err
	}
	ours, alias, err := l.config.ours(d.Providers)
	if err != nil {
		return out, err
	}
	r := provider.Rotation{
		Server:    &provider.AdminStager{API: server, Outlives: l.app.now().Add(l.config.renewBefore())},
		Providers: ours, Alias: alias, Prove: l.prove, Did: did,
		Verify: func(staged *x509.Certificate) error { return sameIssuer(leaf, staged) },
	}
	if l.config.OVHcloud != nil {
		r.Tell = l.tellOVH
	}
	return m.Rotate(ctx, r)
}

// errOtherCA: clients that trust the CA of the certificate in use would be cut off.
var errOtherCA = errors.New("the certificate in use is of another CA than the key server's own, which would sign the next one")

// sameIssuer lets only a certificate through that clients take which trust the
// CA and know nothing of the change. The signature was the key server's to
// check; who answers for it is the admin API.
func sameIssuer(now, next *x509.Certificate) error {
	if !bytes.Equal(now.RawIssuer, next.RawIssuer) || !bytes.Equal(now.AuthorityKeyId, next.AuthorityKeyId) {
		return &failure{Code: exitBlocked, Err: errOtherCA, Hint: "have that CA issue a new one, put it into DIR/tls on the server's machine, and reload keyreeve; keyreeve-agent apply follows"}
	}
	return nil
}

// inSyncAtOVH looks before anything is changed: what OVHcloud cannot do now it
// could not do after the switch either.
func (l *link) inSyncAtOVH(ctx context.Context) error {
	if l.config.OVHcloud == nil {
		return nil
	}
	p := new(plan)
	if err := l.planOVH(ctx, p); err != nil {
		return err
	}
	if p.Changes+p.Blocked > 0 {
		return &failure{Code: exitBlocked, Err: fmt.Errorf("OVHcloud's entry is not as it should be before the change: %s", p.summary()), Hint: "keyreeve-agent apply repairs it, or says what a person has to do"}
	}
	return nil
}

// tellOVH gives OVHcloud's entry another thumbprint, and follows the task. Entries
// of addresses that were replaced are not this move's.
func (l *link) tellOVH(ctx context.Context, sha1 string) error {
	service, err := l.service(ctx)
	if err != nil {
		return err
	}
	c := l.config.OVHcloud
	_, err = service.Reconcile(ctx, ovhcloud.Desired{Address: c.Address, Thumbprint: sha1, Description: c.Description}, l.app.ovhProgress())
	if refusesThumbprint(err) {
		err = fmt.Errorf("%w: %w", provider.ErrThumbprint, err)
	}
	return err
}

// refusesThumbprint tells that OVHcloud has judged what it was told: its task
// failed, or it called the request wrong. Anything else, as that it was not
// reached or does not let us in, says nothing of the thumbprint.
func refusesThumbprint(err error) bool {
	if _, judged := errors.AsType[*ovhcloud.TaskError](err); judged {
		return true
	}
	e, answered := errors.AsType[*ovhcloud.Error](err)
	return answered && (e.Status == http.StatusBadRequest || e.Status == http.StatusConflict || e.Status == http.StatusUnprocessableEntity)
}

// again is when a renewal that had begun and was put back is tried again: each
// one costs tasks of OVHcloud's and a moment without vCenter.
func again(now time.Time, leaf *x509.Certificate) time.Time {
	return now.Add(min(6*time.Hour, leaf.NotAfter.Sub(now)/4))
}

// A renewer is run's part.
type renewer struct {
	link  *link
	again time.Time // not before this
	last  error     // why
}

func (r *renewer) pass(ctx context.Context) error {
	leaf, err := r.link.due(ctx)
	if err != nil || leaf == nil {
		return err
	}
	if r.link.app.now().Before(r.again) {
		return r.last
	}
	out, err := r.link.renew(ctx, leaf, func(step string) { r.link.logger.Info("renewing the key server's certificate", "done", step) })
	if err != nil && out.To != nil {
		r.again = again(r.link.app.now(), leaf)
		err = fmt.Errorf("%w; it is tried again at %s", err, program.Date(r.again))
		r.last = err
	}
	return err
}

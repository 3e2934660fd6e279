package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/internal/program"
	"github.com/keyreeve/keyreeve/vsphere/provider"
)

func (a *app) certificateCommand(o *options) *cobra.Command {
	return noun("certificate", "the key server's certificate, and who has it pinned", a.certificateShowCommand(o), a.certificateRenewCommand(o))
}

// A certificateView is what certificate show prints: what each side has.
type certificateView struct {
	Ends      string            `json:"not_after,omitempty"`
	RenewFrom string            `json:"renew_from,omitempty"` // empty: the agent does not renew it
	Sides     []certificateSide `json:"sides"`
}

// A certificateSide is the certificate as one side has it.
type certificateSide struct {
	Who    string `json:"who"`  // live server, key server, OVHcloud or vCenter
	What   string `json:"what"` // what that side has it for
	SHA1   string `json:"sha1,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
	Ends   string `json:"not_after,omitempty"`
	Same   bool   `json:"same"` // as the live server shows
	State  string `json:"state,omitempty"`
}

func (a *app) certificateShowCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "show", Short: "show the key server's certificate as the live server, its admin API, OVHcloud and vCenter have it", Args: noArgs,
		Long: `Asks everybody who has to do with the key server's certificate which one it is. A
side that does not answer is told at the end, and is the exit code; that two sides
differ is not: plan says what apply would do about it.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, o, func(ctx context.Context, l *link) error {
				v, problem := l.viewCertificate(ctx)
				return errors.Join(a.show(o, v, func(w io.Writer) { v.table(w) }), problem)
			})
		},
	}
	o.outputFlag(cmd)
	return cmd
}

// viewCertificate asks all sides; the error is of those that did not answer.
func (l *link) viewCertificate(ctx context.Context) (v certificateView, err error) {
	v.Sides = []certificateSide{}
	var errs []error
	asks := []func(context.Context, *certificateView) error{l.viewLive, l.viewServer}
	if l.config.OVHcloud != nil {
		asks = append(asks, l.viewOVH)
	}
	if l.config.VCenter != nil {
		asks = append(asks, l.viewVCenter)
	}
	for _, ask := range asks {
		errs = append(errs, ask(ctx, &v))
	}
	return v, errors.Join(errs...)
}

// add adds a side; the first one is the live server's.
func (v *certificateView) add(s certificateSide) {
	s.Same = len(v.Sides) == 0 || s.SHA1 != "" && strings.EqualFold(s.SHA1, v.Sides[0].SHA1)
	v.Sides = append(v.Sides, s)
}

func (l *link) viewLive(ctx context.Context, v *certificateView) error {
	leaf, err := l.shown(ctx)
	if err != nil {
		v.add(certificateSide{Who: "live server", What: l.config.Server.KMIP, State: "does not answer"})
		return err
	}
	v.Ends, v.RenewFrom = program.Date(leaf.NotAfter), program.Date(l.config.renewFrom(leaf))
	v.add(certificateSide{Who: "live server", What: l.config.Server.KMIP, SHA1: certs.SHA1(leaf), SHA256: certs.SHA256(leaf), Ends: v.Ends})
	return nil
}

func (l *link) viewServer(ctx context.Context, v *certificateView) error {
	server, err := l.keyServer()
	if err != nil {
		return err
	}
	all, err := server.ServerCertificates(ctx)
	if err != nil {
		return fmt.Errorf("asking the key server for its certificates: %w", err)
	}
	side := func(what string, c admin.ServerCertificate) {
		v.add(certificateSide{Who: "key server", What: what, SHA1: c.SHA1, SHA256: c.SHA256, Ends: program.Date(c.NotAfter)})
	}
	side("in use", all.Current)
	switch {
	case all.Other != nil && all.Other.Staged:
		side("staged, not in use", *all.Other)
	case all.Other != nil:
		side("from before", *all.Other)
	}
	return nil
}

func (l *link) viewOVH(ctx context.Context, v *certificateView) error {
	state, err := l.atOVH(ctx)
	if err != nil {
		return err
	}
	for _, e := range state.Entries {
		if e.IP.String() == l.config.OVHcloud.Address {
			v.add(certificateSide{Who: "OVHcloud", What: "entry " + strconv.FormatInt(e.ID, 10), SHA1: e.Thumbprint, State: e.State})
		}
	}
	return nil
}

func (l *link) viewVCenter(ctx context.Context, v *certificateView) error {
	m, err := l.watcher(ctx)
	if err != nil {
		return err
	}
	for _, p := range l.config.Providers {
		o, err := m.Look(ctx, p.Name)
		if err != nil {
			return err
		}
		if o == nil {
			v.add(certificateSide{Who: "vCenter", What: "provider " + p.Name, State: "there is none"})
			continue
		}
		for _, s := range o.Servers {
			side := certificateSide{Who: "vCenter", What: "provider " + p.Name + ", server " + s.Name, State: "trusted: " + yesNo(s.TrustsServer) + ", " + s.Status}
			if s.Cert != nil {
				side.SHA1, side.Ends = s.Cert.SHA1, program.Date(s.Cert.NotAfter)
			}
			v.add(side)
		}
	}
	return nil
}

func (v certificateView) table(w io.Writer) {
	program.Line(w, "WHO", "WHAT", "SAME", "SHA-1", "ENDS", "STATE")
	for _, s := range v.Sides {
		program.Line(w, s.Who, s.What, yesNo(&s.Same), program.Dash(s.SHA1), program.Dash(s.Ends), program.Dash(s.State))
	}
	switch {
	case v.Ends == "":
	case v.RenewFrom == "":
		_, _ = fmt.Fprintf(w, "\nit ends at %s; server.renew_before is off: a person renews it\n", v.Ends)
	default:
		_, _ = fmt.Fprintf(w, "\nit ends at %s, and is renewed from %s on\n", v.Ends, v.RenewFrom)
	}
}

func (a *app) certificateRenewCommand(o *options) *cobra.Command {
	var now, dry bool
	cmd := &cobra.Command{
		Use: "renew", Short: "renew the key server's certificate, and tell OVHcloud and vCenter first", Args: noArgs,
		Long: `Renews the certificate when it ends within server.renew_before, or at once with
--now: the key server makes the next one, OVHcloud's entry and vCenter get it, and
only then is it shown. When a step fails, everything is put back. A run that was
broken off is gone on with: run it again.

An agent that runs does this by itself, and has to be stopped for this command
(exit code 7). With --dry-run, exit code 2 says that it would be renewed.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, o, func(ctx context.Context, l *link) error { return a.renewCertificate(ctx, l, now, dry) })
		},
	}
	cmd.Flags().BoolVar(&now, "now", false, "although it does not end soon")
	dryFlag(cmd, &dry)
	return cmd
}

func (a *app) renewCertificate(ctx context.Context, l *link, now, dry bool) error {
	leaf, err := l.certificate(ctx)
	if err != nil {
		return err
	}
	from := l.config.renewFrom(leaf)
	switch ends := program.Date(leaf.NotAfter); {
	case now:
	case from.IsZero():
		a.print("it ends at %s; server.renew_before is off: --now renews it\n", ends)
		return nil
	case a.now().Before(from):
		a.print("it ends at %s, and is renewed from %s on; --now renews it at once\n", ends, program.Date(from))
		return nil
	}
	if dry {
		return l.dryRenewal(ctx, leaf)
	}
	var out provider.Rotated
	err = l.alone(func(ctx context.Context) (err error) {
		out, err = l.renew(ctx, leaf, func(step string) { a.print("done: %s\n", program.Printable(step)) })
		return err
	})(ctx)
	if err != nil {
		return err
	}
	a.print("the key server shows %s, until %s; from the switch until vCenter was connected: %s\n", certs.SHA256(out.To), program.Date(out.To.NotAfter), out.Gap.Round(time.Millisecond))
	return nil
}

// dryRenewal says what would be done, and what is in the way.
func (l *link) dryRenewal(ctx context.Context, leaf *x509.Certificate) error {
	err := l.mayRenew(leaf)
	if err == nil {
		err = l.inSyncAtOVH(ctx)
	}
	if err != nil {
		return err
	}
	a := l.app
	a.print("would stage the next certificate on the key server\n")
	if l.config.OVHcloud != nil {
		a.print("would give OVHcloud's entry of %s its thumbprint\n", l.config.OVHcloud.Address)
	}
	for _, p := range l.config.Providers {
		a.print("would give it to vCenter's key provider %s\n", program.Printable(p.Name))
	}
	a.print("would have the key server show it, and see that vCenter is connected\n")
	return &failure{Code: exitDrift, Err: errors.New("the certificate is to be renewed, and nothing was done")}
}

package provider

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keyreeve/keyreeve/certs"
)

// A Stager is a key server whose certificate can be changed.
type Stager interface {
	// Stage makes the next certificate and returns it, in PEM. The server does
	// not show it yet. Called again, it may return the same one.
	Stage(ctx context.Context) ([]byte, error)
	// Switch has the server show the staged certificate from the next handshake on.
	Switch(ctx context.Context) error
	// Rollback has it show the one from before Switch again, and may forget the
	// staged one. It is called before Switch too, and does no harm then.
	Rollback(ctx context.Context) error
	// Finish forgets the one from before.
	Finish(ctx context.Context) error
}

// A Rotation is the change of one key server's certificate.
type Rotation struct {
	Server    Stager
	Providers []Provider // that have the server, as desired
	Alias     string     // of the server, in the desired state of each
	// Verify judges the staged certificate in place of the providers' Server, but
	// for those with OtherServers: what was given for these has to hold for it.
	// nil: each provider's Server has to trust it.
	Verify func(staged *x509.Certificate) error
	// Tell gives a firewall, as OVHcloud's, the new SHA-1 thumbprint and returns
	// when it is in effect; nil: nobody has to be told. An error that wraps
	// ErrThumbprint says that the firewall was asked and does not take this one;
	// any other, that it is not known.
	Tell func(ctx context.Context, sha1 string) error
	// Prove shows that keys can be had; nil: the status is enough.
	Prove func(ctx context.Context) error
	// UndoTimeout bounds the way back; 0: ten minutes.
	UndoTimeout time.Duration
	// Did is told of each step once it is done; nil: nobody asks.
	Did func(step string)
}

// Rotated is what a Rotation did.
type Rotated struct {
	From, To *x509.Certificate
	// Gap is from the switch until vCenter was connected with each provider.
	Gap time.Duration
	// ToldAfter tells that the firewall took the thumbprint only once the server
	// showed the certificate.
	ToldAfter bool
}

// ErrThumbprint is wrapped when a firewall does not take a thumbprint.
var ErrThumbprint = errors.New("the firewall does not take this thumbprint")

// ErrRolledBack is wrapped when a step has failed and all is as it was.
var ErrRolledBack = errors.New("the server's certificate is as it was before")

// Rotate changes a key server's certificate in one move: staged, compared, told
// to the firewall, uploaded to vCenter, switched, and shown to work. The slow
// step, the firewall's task, comes first; vCenter's upload is last before the
// switch, since it is not known whether every version keeps the old certificate
// beside the new one. When a step fails everything is put back, also when ctx
// has ended, and the error wraps ErrRolledBack if that has worked.
//
// Whether OVHcloud compares the thumbprint with what the server shows is not
// known. If it refuses the new one before the switch, it is told right after.
func (m *Manager) Rotate(ctx context.Context, r Rotation) (out Rotated, err error) {
	move := &rotating{Manager: m, r: r}
	if err := move.begin(ctx, &out); err != nil {
		return out, err // nothing was changed but a staged file
	}
	if err := move.forward(ctx, &out); err != nil {
		return out, move.back(ctx, err)
	}
	m.cfg.Metrics.rotated(out.Gap)
	m.cfg.Logger.Info("the key server's certificate was changed", "server", r.Alias, "sha1", certs.SHA1(out.To), "gap", out.Gap)
	if err := r.Server.Finish(ctx); err != nil {
		return out, fmt.Errorf("the new certificate works; forgetting the old one: %w", err)
	}
	return out, nil
}

type rotating struct {
	*Manager
	r        Rotation
	from, to *x509.Certificate
	told     bool // the firewall may have the new thumbprint
	uploaded []Provider
	aliases  map[string]string // of the server in vCenter, by provider
}

// begin does what changes nothing: it must find everything healthy, since after
// a failure nobody could say what the move has broken.
func (v *rotating) begin(ctx context.Context, out *Rotated) error {
	v.aliases = map[string]string{}
	if len(v.r.Providers) == 0 {
		return errors.New("no key provider is named that has the server")
	}
	for _, p := range v.r.Providers {
		if err := v.healthy(ctx, p); err != nil {
			return err
		}
	}
	return v.stage(ctx, out)
}

// healthy looks at one provider, and which certificate vCenter sees there now.
// All have to show the same one: it is what all are given back if a step fails.
func (v *rotating) healthy(ctx context.Context, p Provider) error {
	o, err := v.Look(ctx, p.Name)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(p.Servers, func(s Server) bool { return s.Name == v.r.Alias })
	if o == nil || i < 0 || o.match(p.Servers[i]) == nil {
		return fmt.Errorf("key provider %s has no server %s", p.Name, v.r.Alias)
	}
	if reasons := o.Reasons(v.cfg.Now()); len(reasons) > 0 {
		return fmt.Errorf("key provider %s is not connected before the change (%q): repair that first", p.Name, reasons)
	}
	alias := o.match(p.Servers[i]).Name
	seen, _, err := v.Sees(ctx, p.Name, alias)
	if err != nil {
		return err
	}
	// Who stands between the two would see his own certificate stay.
	if err := p.Server.Verify(seen, v.cfg.Now()); err != nil {
		return fmt.Errorf("the certificate that vCenter sees for server %s now: %w", alias, err)
	}
	if err := v.itself(ctx, p, v.r.Alias, seen); err != nil {
		return err
	}
	if v.from != nil && !seen.Equal(v.from) {
		return fmt.Errorf("the key provider %s sees another certificate at its server %s (%s) than those before it (%s): they are not the same server, and a change that fails could not be taken back", p.Name, alias, certs.SHA256(seen), certs.SHA256(v.from))
	}
	v.from, v.aliases[p.Name] = seen, alias
	return nil
}

// did tells of a step that is done.
func (v *rotating) did(format string, args ...any) {
	if v.r.Did != nil {
		v.r.Did(fmt.Sprintf(format, args...))
	}
}

func (v *rotating) stage(ctx context.Context, out *Rotated) error {
	text, err := v.r.Server.Stage(ctx)
	if err != nil {
		return fmt.Errorf("staging the next certificate: %w", err)
	}
	if v.to, err = certs.ParseCertificate(text); err != nil {
		return fmt.Errorf("the staged certificate: %w", err)
	}
	out.From, out.To = v.from, v.to
	if err := v.verify(); err != nil {
		return errors.Join(err, v.r.Server.Rollback(context.WithoutCancel(ctx)))
	}
	v.did("the next certificate is staged: SHA-1 %s, until %s", certs.SHA1(v.to), date(v.to.NotAfter))
	return nil
}

func (v *rotating) verify() error {
	if v.r.Verify != nil {
		if err := v.r.Verify(v.to); err != nil {
			return err
		}
	}
	for _, p := range v.r.Providers {
		if v.r.Verify != nil && !p.OtherServers {
			continue
		}
		if err := p.Server.Verify(v.to, v.cfg.Now()); err != nil {
			return fmt.Errorf("the staged certificate is not taken for key provider %s: %w", p.Name, err)
		}
	}
	return nil
}

func (v *rotating) forward(ctx context.Context, out *Rotated) error {
	if v.r.Tell != nil {
		v.told = true
		if err := v.r.Tell(ctx, certs.SHA1(v.to)); err != nil {
			if ctx.Err() != nil || !errors.Is(err, ErrThumbprint) { // after the switch it could not be told either
				return fmt.Errorf("telling the firewall: %w", err)
			}
			out.ToldAfter = true
			v.cfg.Logger.Warn("the firewall did not take the new thumbprint before the switch; it is told again right after", "err", err)
		}
		if !out.ToldAfter {
			v.did("the firewall has the new thumbprint")
		}
	}
	for _, p := range v.r.Providers {
		v.uploaded = append(v.uploaded, p)
		if err := v.upload(ctx, p.Name, v.to.Raw); err != nil {
			return err
		}
		v.did("vCenter's key provider %s has the new certificate", p.Name)
	}
	return v.change(ctx, out)
}

// change is from the switch on.
func (v *rotating) change(ctx context.Context, out *Rotated) error {
	began := v.cfg.Now()
	if err := v.r.Server.Switch(ctx); err != nil {
		return fmt.Errorf("switching to the new certificate: %w", err)
	}
	v.did("the server shows the new certificate")
	if out.ToldAfter {
		if err := v.r.Tell(ctx, certs.SHA1(v.to)); err != nil {
			return fmt.Errorf("telling the firewall after the switch: %w", err)
		}
		v.did("the firewall has the new thumbprint, which it took only now")
	}
	if err := v.arrived(ctx, v.to); err != nil {
		return err
	}
	out.Gap = v.cfg.Now().Sub(began)
	v.did("vCenter is connected, %s after the switch", out.Gap.Round(time.Millisecond))
	if v.r.Prove == nil {
		return nil
	}
	if err := v.r.Prove(ctx); err != nil {
		return err
	}
	v.did("a key could be made and read")
	return nil
}

// arrived waits until vCenter is connected and sees that certificate: green
// alone could be of the moment before.
func (v *rotating) arrived(ctx context.Context, want *x509.Certificate) error {
	for _, p := range v.r.Providers {
		if _, err := v.WaitNormal(ctx, p.Name); err != nil {
			return err
		}
		seen, _, err := v.Sees(ctx, p.Name, v.aliases[p.Name])
		if err != nil {
			return err
		}
		if !seen.Equal(want) {
			return fmt.Errorf("vCenter sees the certificate %s for server %s, want %s", certs.SHA256(seen), v.aliases[p.Name], certs.SHA256(want))
		}
	}
	return nil
}

// back puts everything as it was: the server first, since all others are told
// of what it shows. One that cannot be asked may show either: vCenter sees which,
// and both keep to that. Where it does not see it, they are left as they are.
func (v *rotating) back(ctx context.Context, cause error) error {
	limit := v.r.UndoTimeout
	if limit <= 0 {
		limit = 10 * time.Minute
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	v.did("a step has failed, so that all is put back: %v", cause)
	var errs []error
	shown := v.from
	if err := v.r.Server.Rollback(ctx); err != nil {
		errs = append(errs, fmt.Errorf("having the server show its old certificate: %w", err))
		if shown, err = v.shown(ctx); err != nil {
			errs = append(errs, err)
		}
	}
	if shown != nil {
		errs = append(errs, v.keepTo(ctx, shown))
	}
	if err := errors.Join(errs...); err != nil {
		v.did("going back has failed")
		return fmt.Errorf("changing the server's certificate: %w; and going back has failed too, the server, vCenter and the firewall may disagree: %w", cause, err)
	}
	v.did("all is put back")
	return fmt.Errorf("changing the server's certificate: %w; %w", cause, ErrRolledBack)
}

// shown is which of the two certificates vCenter sees.
func (v *rotating) shown(ctx context.Context) (*x509.Certificate, error) {
	p := v.r.Providers[0]
	seen, _, err := v.Sees(ctx, p.Name, v.aliases[p.Name])
	if err == nil && !seen.Equal(v.from) && !seen.Equal(v.to) {
		err = fmt.Errorf("vCenter sees a third certificate, %s, for server %s", certs.SHA256(seen), v.aliases[p.Name])
	}
	if err != nil {
		return nil, err
	}
	return seen, nil
}

// keepTo has vCenter and the firewall take the certificate, where they were told
// of the other one, and waits until vCenter is connected by it.
func (v *rotating) keepTo(ctx context.Context, c *x509.Certificate) error {
	var errs []error
	for _, p := range v.uploaded {
		errs = append(errs, v.upload(ctx, p.Name, c.Raw))
	}
	if v.told {
		if err := v.r.Tell(ctx, certs.SHA1(c)); err != nil {
			errs = append(errs, fmt.Errorf("telling the firewall the thumbprint %s: %w", certs.SHA1(c), err))
		}
	}
	return errors.Join(append(errs, v.arrived(ctx, c))...)
}

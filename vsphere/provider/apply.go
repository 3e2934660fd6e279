package provider

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/keyreeve/keyreeve/certs"
)

var (
	// ErrBlocked is wrapped when a person has to do something first.
	ErrBlocked = errors.New("blocked")
	// ErrInUse is wrapped when a provider stays because its keys are, or may be, in use.
	ErrInUse = errors.New("keys of the provider are, or may be, in use")
)

// rounds bounds how often Reconcile looks again: trust shows only in the
// status that comes after it was made.
const rounds = 4

// Plan observes and compares. It changes nothing.
func (m *Manager) Plan(ctx context.Context, d Desired) (Plan, error) {
	state, err := m.Observe(ctx, d)
	if err != nil {
		return Plan{}, err
	}
	return Diff(state, d)
}

// Reconcile brings vCenter's providers to what is desired: it observes,
// compares and acts until there is nothing to do. What is blocked, or fails for
// one provider, does not keep it from the others; the error names it all and
// wraps ErrBlocked. It returns what was changed, also with an error.
func (m *Manager) Reconcile(ctx context.Context, d Desired) (changed []Step, err error) {
	var plan Plan
	for range rounds {
		if plan, err = m.Plan(ctx, d); err != nil {
			return changed, err
		}
		if len(plan.Steps) == 0 {
			return changed, plan.problem()
		}
		done, err := m.Apply(ctx, d, plan)
		changed = append(changed, done...)
		if err != nil {
			return changed, errors.Join(err, plan.problem())
		}
		d = passwordsSent(d)
	}
	return changed, errors.Join(fmt.Errorf("key providers are not as desired after %d attempts; next would be %q", rounds, plan.Steps), plan.problem())
}

// passwordsSent is the desired state after an Apply: passwords are with vCenter.
func passwordsSent(d Desired) Desired {
	d.Providers = slices.Clone(d.Providers)
	for i := range d.Providers {
		d.Providers[i].Servers = slices.Clone(d.Providers[i].Servers)
		for j := range d.Providers[i].Servers {
			d.Providers[i].Servers[j].SetPassword = false
		}
	}
	return d
}

func (p Plan) problem() error {
	var list []error
	for _, b := range p.Blocked {
		list = append(list, fmt.Errorf("%w: key provider %s: %s", ErrBlocked, b.Provider, b.Text))
	}
	return errors.Join(list...)
}

// Apply does the steps of a plan in their order. A step that fails ends what is
// to be done for its provider, and not for others. It returns what was changed.
func (m *Manager) Apply(ctx context.Context, d Desired, p Plan) (changed []Step, err error) {
	failed := map[string]bool{}
	var errs []error
	for _, st := range p.Steps {
		if failed[st.Provider] {
			continue
		}
		if ctx.Err() != nil {
			return changed, errors.Join(append(errs, context.Cause(ctx))...)
		}
		err := m.step(ctx, d, st)
		m.cfg.Metrics.step(st.Kind, err)
		if err != nil {
			failed[st.Provider] = true
			errs = append(errs, fmt.Errorf("%s of key provider %s: %w", st.Kind, st.Provider, err))
			continue
		}
		m.cfg.Logger.Info("key provider changed", "step", st.String())
		changed = append(changed, st)
	}
	return changed, errors.Join(errs...)
}

func (m *Manager) step(ctx context.Context, d Desired, st Step) error {
	var w Provider
	if p := d.provider(st.Provider); p != nil {
		w = *p
	}
	switch st.Kind {
	case AddServer:
		return m.keys.RegisterKmipServer(ctx, w.spec(st, true))
	case UpdateServer:
		return m.updateServer(ctx, w, st)
	case TrustServer:
		return m.trustServer(ctx, w, st)
	case TrustClient, RenewClient:
		return m.trustClient(ctx, d, w, st.Kind == RenewClient)
	case RemoveServer:
		return m.removeServer(ctx, st.Provider, st.Server)
	case SetDefault:
		return m.setDefault(ctx, st.Provider, nil)
	case SetEntityDefault:
		return m.setDefault(ctx, st.Provider, &st.Entity)
	case RemoveProvider:
		return m.removeProvider(ctx, st.Provider)
	}
	return fmt.Errorf("unknown step %q", st.Kind)
}

// desired is the server that a step is about.
func (p Provider) desired(st Step) Server {
	name := st.Server
	if st.Desired != "" {
		name = st.Desired
	}
	i := slices.IndexFunc(p.Servers, func(s Server) bool { return s.Name == name })
	if i < 0 {
		return Server{Name: st.Server}
	}
	return p.Servers[i]
}

func (p Provider) spec(st Step, password bool) types.KmipServerSpec {
	s := p.desired(st)
	spec := types.KmipServerSpec{ClusterId: types.KeyProviderId{Id: p.Name}, Info: types.KmipServerInfo{
		Name: st.Server, Address: s.Address, Port: s.port(), ProxyAddress: s.ProxyAddress, ProxyPort: s.ProxyPort, UserName: s.User,
	}}
	if password {
		spec.Password = string(s.Password.Expose())
	}
	return spec
}

// updateServer sends the password along when there is one: after another user
// name the old one would be wrong. It looks whether vCenter has taken all of it:
// an empty proxy or user may be taken as "stays as it is". And where it was
// connected, and nobody answers in the new place, it puts the old one back: a
// typing error would keep hosts from their keys.
func (m *Manager) updateServer(ctx context.Context, w Provider, st Step) error {
	before, err := m.Look(ctx, w.Name)
	if err != nil {
		return err
	}
	if before == nil {
		return errors.New("it is gone")
	}
	spec := w.spec(st, true)
	if spec.Info.ProxyPort == 0 {
		spec.Info.ProxyPort = -1 // "delete the entry"
	}
	if err := m.keys.UpdateKmipServer(ctx, spec); err != nil {
		return err
	}
	o, err := m.Look(ctx, w.Name)
	if err != nil {
		return err
	}
	server := w.desired(st)
	server.Name = st.Server
	if o == nil || o.match(server) == nil {
		return errors.New("it is gone")
	}
	if how := o.match(server).differs(server); len(how) > 0 {
		return fmt.Errorf("vCenter has kept its %q: remove the server there and run this again", how)
	}
	return m.answers(ctx, w, before.match(server), spec)
}

// answers looks whether vCenter reaches a server in its new place. One that had
// another user stays there: nobody knows the password of before.
func (m *Manager) answers(ctx context.Context, w Provider, was *ServerState, spec types.KmipServerSpec) error {
	if was == nil || was.Status != "green" || was.User != spec.Info.UserName {
		return nil
	}
	_, _, problem := m.Sees(ctx, w.Name, was.Name)
	if problem == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	spec.Info.Address, spec.Info.Port, spec.Info.ProxyAddress, spec.Info.ProxyPort = was.Address, was.Port, was.ProxyAddress, was.ProxyPort
	if spec.Info.ProxyPort == 0 {
		spec.Info.ProxyPort = -1
	}
	if err := m.keys.UpdateKmipServer(ctx, spec); err != nil {
		return fmt.Errorf("%w; and putting the old place back has failed: %w", problem, err)
	}
	return fmt.Errorf("%w; it was connected where it was before, and is there again", problem)
}

// undoTime is how long putting a server back may take.
const undoTime = time.Minute

// trustServer uploads a server's certificate to vCenter, once it has been
// compared with what was given and with what the server says of itself.
func (m *Manager) trustServer(ctx context.Context, w Provider, st Step) error {
	leaf, trusted, err := m.Sees(ctx, w.Name, st.Server)
	if err != nil {
		return err
	}
	if err := w.Server.Verify(leaf, m.cfg.Now()); err != nil {
		return fmt.Errorf("server %s: %w", st.Server, err)
	}
	if err := m.itself(ctx, w, st.Server, leaf); err != nil || trusted {
		return err
	}
	return m.upload(ctx, w.Name, leaf.Raw)
}

// itself compares the certificate that vCenter sees with what the server says of
// itself, where its admin API is at hand.
func (m *Manager) itself(ctx context.Context, w Provider, server string, leaf *x509.Certificate) error {
	k := m.kms(server)
	if k == nil || w.OtherServers {
		return nil
	}
	status, err := k.Status(ctx)
	if err != nil {
		return fmt.Errorf("asking server %s for its certificate: %w", server, err)
	}
	if status.Certificate.SHA256 != certs.SHA256(leaf) {
		return fmt.Errorf("server %s: %w: vCenter sees %s, and the server itself says %s: somebody else answers at that address, or the server has several certificates", server, ErrUntrusted, certs.SHA256(leaf), clean(status.Certificate.SHA256))
	}
	return nil
}

func (m *Manager) upload(ctx context.Context, provider string, der []byte) error {
	_, err := methods.UploadKmipServerCert(ctx, m.cfg.VIM, &types.UploadKmipServerCert{
		This: m.keys.Reference(), Cluster: types.KeyProviderId{Id: provider}, Certificate: encode("CERTIFICATE", der),
	})
	if err != nil {
		return fmt.Errorf("uploading the server's certificate to vCenter: %w", err)
	}
	return nil
}

// setDefault makes a provider the default once it is connected: with one that
// is not, all new encryption fails.
func (m *Manager) setDefault(ctx context.Context, provider string, entity *types.ManagedObjectReference) error {
	if _, err := m.WaitNormal(ctx, provider); err != nil {
		return err
	}
	err := m.keys.SetDefaultKmsClusterId(ctx, provider, entity)
	if entity == nil && unknown(err) { // an old vCenter, which has the global one alone
		return m.keys.MarkDefault(ctx, provider)
	}
	return err
}

// unknown tells that this vCenter does not have the method.
func unknown(err error) bool {
	return fault.Is(err, &types.MethodNotFound{}) || fault.Is(err, &types.NotSupported{})
}

// removeServer removes a server while another one is connected, as vCenter says
// at this moment.
func (m *Manager) removeServer(ctx context.Context, provider, server string) error {
	o, err := m.Look(ctx, provider)
	if err != nil || o == nil {
		return err
	}
	if !slices.ContainsFunc(o.Servers, func(s ServerState) bool { return s.Name != server && s.Status == "green" }) {
		return fmt.Errorf("server %s stays: no other one is connected", server)
	}
	return m.keys.RemoveKmipServer(ctx, provider, server)
}

// removeProvider removes the servers one by one, with which the provider goes.
// Who uses its keys, and whether it is a default, is asked again: a machine may
// have been encrypted since, and a step that was to name its successor may have
// failed. What of it vCenter would refuse comes too late: at the last server.
func (m *Manager) removeProvider(ctx context.Context, provider string) error {
	uses, err := m.Uses(ctx, provider)
	if err != nil {
		return err
	}
	if !uses.none() {
		return fmt.Errorf("%w: %s", ErrInUse, uses.text(true))
	}
	infos, err := m.keys.ListKmipServers(ctx, nil)
	if err != nil {
		return fmt.Errorf("listing vCenter's key providers: %w", err)
	}
	i := slices.IndexFunc(infos, func(i types.KmipClusterInfo) bool { return i.ClusterId.Id == provider })
	switch {
	case i < 0:
		return nil
	case infos[i].UseAsDefault:
		return errors.New("it is still the default, and stays until another one is")
	case len(infos[i].UseAsEntityDefault) > 0:
		return fmt.Errorf("it is still the default of %s, and stays until another one is", clean(m.path(ctx, infos[i].UseAsEntityDefault[0])))
	}
	for _, s := range infos[i].Servers {
		if err := m.keys.RemoveKmipServer(ctx, provider, s.Name); err != nil {
			return fmt.Errorf("removing server %s: %w", s.Name, err)
		}
	}
	return nil
}

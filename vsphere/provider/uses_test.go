package provider_test

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vmware/govmomi/crypto"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/keyreeve/keyreeve/kmip/kmiptest"
	"github.com/keyreeve/keyreeve/vsphere/provider"
	"github.com/keyreeve/keyreeve/vsphere/vspheretest"
)

// forgetful is a vCenter that does not list the keys that it uses.
type forgetful struct{ soap.RoundTripper }

func (f forgetful) RoundTrip(ctx context.Context, req, res soap.HasFault) error {
	err := f.RoundTripper.RoundTrip(ctx, req, res)
	if list, ok := res.(*methods.ListKeysBody); ok && list.Res != nil {
		list.Res.Returnval = nil
	}
	return err
}

// A disk's key is in use although the machine's home has one of another provider,
// and although vCenter does not list it.
func TestUsesOfDisks(t *testing.T) {
	r := newRig(t)
	d := r.desired(provider.CSR)
	second := d.Providers[0]
	second.Name, second.Client.Client = "second", "vcenter-2"
	d.Providers = append(d.Providers, second)
	r.reconcile(d)
	r.encrypt("second", name)
	vim := *r.vim.Client
	vim.RoundTripper = forgetful{vim.RoundTripper}
	m, err := provider.New(provider.Config{VIM: &vim})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"second", name} {
		if uses, err := m.Uses(r.Context(), name); err != nil || uses.Keys == 0 || len(uses.Names) == 0 {
			t.Errorf("%s: %+v %v", name, uses, err)
		}
	}
}

// old is a vCenter before 6.7.2, which does not tell who uses a key and knows one
// default alone.
type old struct{ soap.RoundTripper }

func (o old) RoundTrip(ctx context.Context, req, res soap.HasFault) error {
	switch req.(type) {
	case *methods.QueryCryptoKeyStatusBody, *methods.SetDefaultKmsClusterBody:
		return soap.WrapVimFault(&types.MethodNotFound{})
	}
	return o.RoundTripper.RoundTrip(ctx, req, res)
}

// Where vCenter does not tell who uses a key, what machines and hosts name is in
// use, and of the rest it is not known.
func TestOldVCenter(t *testing.T) {
	r := newRig(t)
	vim := *r.vim.Client
	vim.RoundTripper = old{vim.RoundTripper}
	m, err := provider.New(provider.Config{VIM: &vim, KMS: map[string]provider.KMS{"": r.kms}, StatusTimeout: 2 * time.Second, StatusEvery: 20 * time.Millisecond})
	if err == nil {
		_, err = m.Reconcile(r.Context(), r.desired(provider.CSR))
	}
	if err != nil {
		t.Fatal(err)
	}
	if o, err := m.Look(r.Context(), name); err != nil || !o.Default {
		t.Errorf("%+v %v", o, err)
	}
	r.encrypt(name, name)
	uses, err := m.Uses(r.Context(), name)
	if err != nil || uses.Keys == 0 || len(uses.Unseen) != 1 || !strings.Contains(uses.Unseen[0], "does not tell who uses a key") {
		t.Errorf("%+v %v", uses, err)
	}
}

// A machine that is locked names keys that nobody can see: no provider goes
// then. One may be added all the same: it may be what unlocks the machine.
func TestUsesThatAreNotSeen(t *testing.T) {
	r := rigOf(t, 0)
	r.reconcile(r.desired(provider.CSR))
	lost, err := vspheretest.New(vspheretest.Options{VMs: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lost.Close() }()
	vim, err := lost.Client(r.Context())
	if err != nil {
		t.Fatal(err)
	}
	kms, _ := kmiptest.NewServer(t, kmiptest.Options{})
	host, port, _ := net.SplitHostPort(kms.Addr())
	number, _ := strconv.Atoi(port)
	err = vspheretest.Connect(r.Context(), vim.Client, "lost", types.KmipServerInfo{Name: "kms-1", Address: host, Port: int32(number)},
		func(csr []byte) ([]byte, error) { return kms.SignCSR("vcenter", csr) })
	if err == nil {
		err = lost.EncryptAll(r.Context(), "lost")
	}
	if err == nil {
		_, err = r.vc.Adopt(r.Context(), lost, vspheretest.Adoption{HideConfig: true})
	}
	if err != nil {
		t.Fatal(err)
	}
	d := r.desired(provider.CSR)
	d.Providers[0].Name, d.Default, d.Absent = "new", "new", []string{name}
	changed, err := r.m.Reconcile(r.Context(), d)
	if !errors.Is(err, provider.ErrBlocked) || !strings.Contains(err.Error(), "is locked") {
		t.Errorf("a machine is locked: %v", err)
	}
	if got := words(provider.Plan{Steps: changed}); got != "add-server trust-server trust-client set-default" {
		t.Errorf("%q", got)
	}
	plan := provider.Plan{Steps: []provider.Step{{Kind: provider.RemoveProvider, Provider: name}}}
	if _, err := r.m.Apply(r.Context(), d, plan); !errors.Is(err, provider.ErrInUse) {
		t.Errorf("a removal by an old plan: %v", err)
	}
}

// A default whose successor cannot be set stays, and so does one of a cluster.
func TestNoEndWithoutSuccessor(t *testing.T) {
	for _, global := range []bool{true, false} {
		r := newRig(t)
		d := r.desired(provider.CSR)
		ref, err := r.m.Entity(r.Context(), "/DC0/host/DC0_C0")
		if err != nil {
			t.Fatal(err)
		}
		entity := []provider.EntityDefault{{Entity: ref, Path: "/DC0/host/DC0_C0", Provider: name}}
		twin := r.server("kms-2")
		twin.Address = "localhost"
		d.Providers[0].Servers = append(d.Providers[0].Servers, twin)
		if !global {
			d.EntityDefaults = entity
		}
		r.reconcile(d)
		next := r.desired(provider.CSR)
		next.Providers[0].Name, next.Default, next.Absent = "new", "new", []string{name}
		next.Providers[0].Server = provider.ServerTrust{SHA256: []string{strings.Repeat("aa", 32)}} // it will not be connected
		if !global {
			next.EntityDefaults = []provider.EntityDefault{{Entity: ref, Path: entity[0].Path, Provider: "new"}}
			if err := r.setDefault(""); err != nil { // so that only the cluster's is in the way
				t.Fatal(err)
			}
			next.Default = ""
		}
		_, err = r.m.Reconcile(r.Context(), next)
		if !errors.Is(err, provider.ErrUntrusted) || !strings.Contains(err.Error(), "is still the default") {
			t.Errorf("global %v: %v", global, err)
		}
		if o, err := r.m.Look(r.Context(), name); err != nil || o == nil || len(o.Servers) != 2 || o.Default != global {
			t.Errorf("global %v: the provider is %+v, %v", global, o, err)
		}
	}
}

func (r *rig) setDefault(name string) error {
	keys, err := crypto.GetManagerKmip(r.vim.Client)
	if err != nil {
		return err
	}
	return keys.SetDefaultKmsClusterId(r.Context(), name, nil)
}

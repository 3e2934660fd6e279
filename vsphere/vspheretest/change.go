package vspheretest

import (
	"context"
	"fmt"

	"github.com/vmware/govmomi/crypto"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

// Change changes an object of the simulator's in place, for what no call of the
// API does: an address that a guest tells, a configuration that cannot be read
// (a nil Config), a host that is away. fn gets a *mo.VirtualMachine, a
// *mo.HostSystem or a *mo.Datastore, and runs under the object's lock. Watchers
// are told of properties only.
func (v *VCenter) Change(ref types.ManagedObjectReference, fn func(object any), properties ...types.PropertyChange) error {
	ctx := v.own()
	object := ctx.Map.Get(ref)
	var inner any
	switch o := object.(type) {
	case *simulator.VirtualMachine:
		inner = &o.VirtualMachine
	case *simulator.HostSystem:
		inner = &o.HostSystem
	case *simulator.Datastore:
		inner = &o.Datastore
	default:
		return fmt.Errorf("there is no %s to change", ref)
	}
	ctx.WithLock(object, func() { fn(inner) })
	if len(properties) > 0 {
		ctx.Map.AtomicUpdate(ctx, object, properties)
	}
	return nil
}

// Connect makes a key provider with one server the default one, with trust
// both ways; sign has the key server sign a request.
func Connect(ctx context.Context, client *vim25.Client, provider string, server types.KmipServerInfo, sign func(csr []byte) ([]byte, error)) error {
	m, err := crypto.GetManagerKmip(client)
	if err != nil {
		return err
	}
	id := types.KeyProviderId{Id: provider}
	if err := m.RegisterKmipServer(ctx, types.KmipServerSpec{ClusterId: id, Info: server}); err != nil {
		return err
	}
	if err := m.SetDefaultKmsClusterId(ctx, provider, nil); err != nil {
		return err
	}
	seen, err := methods.RetrieveKmipServerCert(ctx, client, &types.RetrieveKmipServerCert{This: m.Reference(), KeyProvider: id, Server: server})
	if err != nil {
		return err
	}
	_, err = methods.UploadKmipServerCert(ctx, client, &types.UploadKmipServerCert{This: m.Reference(), Cluster: id, Certificate: seen.Returnval.Certificate})
	if err != nil {
		return err
	}
	csr, err := methods.GenerateClientCsr(ctx, client, &types.GenerateClientCsr{This: m.Reference(), Cluster: id})
	if err != nil {
		return err
	}
	certificate, err := sign([]byte(csr.Returnval))
	if err != nil {
		return err
	}
	_, err = methods.UpdateKmsSignedCsrClientCert(ctx, client, &types.UpdateKmsSignedCsrClientCert{This: m.Reference(), Cluster: id, Certificate: string(certificate)})
	return err
}

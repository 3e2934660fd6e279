package vspheretest

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ovh/go-ovh/ovh"
	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/crypto"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/pbm"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/internal/ctxtime"
)

// A Step is one of the vendor's guide: what is done, and what shows that it is
// so. Proof is for people.
type Step struct {
	Title string
	Do    func(ctx context.Context) (proof string, err error)
}

// A Guide walks through the vendor's guide to VM encryption with an external
// key server, in one World and with one of its vCenters: by the same calls that
// a person's clicks make. Its steps have to be done in their order.
type Guide struct {
	Provider string // name of the key provider in vCenter

	world *World
	vc    *VCenter
	vim   *govmomi.Client
	keys  *crypto.ManagerKmip
	leaf  *x509.Certificate // the key server's
	vm    *object.VirtualMachine
	key   types.CryptoKeyId
}

// NewGuide logs in to the vCenter.
func NewGuide(ctx context.Context, w *World, vc *VCenter) (*Guide, error) {
	vim, err := vc.Client(ctx)
	if err != nil {
		return nil, fmt.Errorf("logging in to vCenter: %w", err)
	}
	keys, err := crypto.GetManagerKmip(vim.Client)
	return &Guide{Provider: "keyreeve", world: w, vc: vc, vim: vim, keys: keys}, err
}

// Close logs out.
func (g *Guide) Close(ctx context.Context) error { return g.vim.Logout(ctx) }

// Trust are the steps from nothing to a key provider that is connected.
func (g *Guide) Trust() []Step {
	return []Step{
		{"read the key server's thumbprint", g.thumbprint},
		{"OVHcloud lets nothing through yet", g.closed},
		{"register the key server with OVHcloud", g.register},
		{"add the key provider to vCenter", g.addProvider},
		{"make vCenter trust the key server", g.trustServer},
		{"make the key server trust vCenter", g.trustClient},
		{"the connection status is normal", g.normal},
		{"make it the default key provider", g.makeDefault},
	}
}

// Encrypt are the steps that encrypt a machine, after Trust.
func (g *Guide) Encrypt() []Step {
	return []Step{
		{"find the encryption policy", g.policy},
		{"encrypt a machine, its home and every disk", g.encrypt},
		{"the key server holds that key", g.sameKey},
		{"encrypted vMotion is required", g.vMotion},
		{"start it, and restart the key server under it", g.outage},
	}
}

// thumbprint reads the certificate that the server shows, and compares it with
// what the server says of itself.
func (g *Guide) thumbprint(ctx context.Context) (string, error) {
	leaf, err := certs.FetchServerCertificate(ctx, g.world.KMS.Addr())
	if err != nil {
		return "", err
	}
	status, err := g.world.KMS.Admin.Status(ctx)
	if err != nil {
		return "", err
	}
	if status.Certificate.SHA256 != certs.SHA256(leaf) {
		return "", fmt.Errorf("the server at %s is another than the one that says %s of itself", g.world.KMS.Addr(), status.Certificate.SHA256)
	}
	g.leaf = leaf
	return "SHA-1 " + certs.SHA1(leaf) + ", as the server itself says", nil
}

func (g *Guide) host() (host string, port int32) {
	host, text, _ := net.SplitHostPort(g.world.KMS.Addr())
	n, _ := strconv.Atoi(text)
	return host, int32(n)
}

func (g *Guide) closed(ctx context.Context) (string, error) {
	conn, err := g.world.Network.Dial(ctx, "tcp", g.world.KMS.Addr())
	if err == nil {
		return "", errors.Join(errors.New("vCenter reaches the key server already"), conn.Close())
	}
	if !errors.Is(err, ErrFirewall) {
		return "", err
	}
	return err.Error(), nil
}

// register tells OVHcloud of the key server, and waits for the task.
func (g *Guide) register(ctx context.Context) (string, error) {
	c := g.world.OVHcloud
	client, err := ovh.NewClient(g.world.OVHURL, c.ApplicationKey, c.ApplicationSecret, c.ConsumerKey)
	if err != nil {
		return "", err
	}
	host, _ := g.host()
	var task struct {
		TaskID int64  `json:"taskId"`
		State  string `json:"state"`
	}
	base := "/dedicatedCloud/" + ServiceName
	body := map[string]string{"ip": host, "sslThumbprint": certs.SHA1(g.leaf), "description": "keyreeve"}
	if err := client.PostWithContext(ctx, base+"/vmEncryption/kms", body, &task); err != nil {
		return "", err
	}
	for task.State != "done" && task.State != "error" && task.State != "canceled" {
		if err := ctxtime.Sleep(ctx, 10*time.Millisecond); err != nil {
			return "", err
		}
		if err := client.GetWithContext(ctx, fmt.Sprintf("%s/task/%d", base, task.TaskID), &task); err != nil {
			return "", err
		}
	}
	var option struct{ State string }
	if err := client.GetWithContext(ctx, base+"/vmEncryption", &option); err != nil {
		return "", err
	}
	if task.State != "done" || option.State != "enabled" || !c.Open(g.world.KMS.Addr()) {
		return "", fmt.Errorf("task %d is %s, the option %s", task.TaskID, task.State, option.State)
	}
	return fmt.Sprintf("task %d done, option enabled, port %d open to %s", task.TaskID, KMIPPort, host), nil
}

func (g *Guide) addProvider(ctx context.Context) (string, error) {
	host, port := g.host()
	err := g.keys.RegisterKmipServer(ctx, types.KmipServerSpec{
		ClusterId: types.KeyProviderId{Id: g.Provider},
		Info:      types.KmipServerInfo{Name: "kms-1", Address: host, Port: port},
	})
	if err != nil {
		return "", err
	}
	status, err := g.status(ctx)
	if err != nil || status.Status == types.ManagedEntityStatusGreen {
		return "", errors.Join(errors.New("the status is green before there is any trust"), err)
	}
	return fmt.Sprintf("provider %s, status %s: %s", g.Provider, status.Status, status.ConnectionStatus), nil
}

// status is that of the provider's server.
func (g *Guide) status(ctx context.Context) (types.CryptoManagerKmipServerStatus, error) {
	list, err := g.keys.GetStatus(ctx, types.KmipClusterInfo{ClusterId: types.KeyProviderId{Id: g.Provider}})
	if err != nil {
		return types.CryptoManagerKmipServerStatus{}, err
	}
	if len(list) != 1 || len(list[0].Servers) != 1 {
		return types.CryptoManagerKmipServerStatus{}, fmt.Errorf("vCenter has no provider %s with one server", g.Provider)
	}
	return list[0].Servers[0], nil
}

// trustServer uploads the certificate that vCenter sees, once it has been
// compared with the one that was read before.
func (g *Guide) trustServer(ctx context.Context) (string, error) {
	cluster := types.KeyProviderId{Id: g.Provider}
	seen, err := methods.RetrieveKmipServerCert(ctx, g.vim, &types.RetrieveKmipServerCert{
		This: g.keys.Reference(), KeyProvider: cluster, Server: types.KmipServerInfo{Name: "kms-1"},
	})
	if err != nil {
		return "", err
	}
	if got := seen.Returnval.CertInfo.Fingerprint; got != certs.SHA1(g.leaf) {
		return "", fmt.Errorf("vCenter sees the thumbprint %s", got)
	}
	_, err = methods.UploadKmipServerCert(ctx, g.vim, &types.UploadKmipServerCert{
		This: g.keys.Reference(), Cluster: cluster, Certificate: seen.Returnval.Certificate,
	})
	return "vCenter sees the same thumbprint", err
}

// trustClient has the key server sign a request: the private key stays in
// vCenter.
func (g *Guide) trustClient(ctx context.Context) (string, error) {
	cluster := types.KeyProviderId{Id: g.Provider}
	csr, err := methods.GenerateClientCsr(ctx, g.vim, &types.GenerateClientCsr{This: g.keys.Reference(), Cluster: cluster})
	if err != nil {
		return "", err
	}
	enrolled, err := g.world.KMS.Admin.Enrol(ctx, admin.EnrolRequest{Name: g.client(), Kind: admin.KindCSR, CSR: []byte(csr.Returnval)})
	if err != nil {
		return "", err
	}
	_, err = methods.UpdateKmsSignedCsrClientCert(ctx, g.vim, &types.UpdateKmsSignedCsrClientCert{
		This: g.keys.Reference(), Cluster: cluster, Certificate: string(enrolled.Certificate),
	})
	return fmt.Sprintf("client %s enrolled by its signing request", enrolled.Client.Name), err
}

// client is the name of the vCenter's record in the key server.
func (g *Guide) client() string {
	for i, vc := range g.world.VCenters {
		if vc == g.vc && i > 0 {
			return fmt.Sprintf("vcenter-%d", i+1)
		}
	}
	return "vcenter"
}

func (g *Guide) normal(ctx context.Context) (string, error) {
	s, err := g.status(ctx)
	if err != nil {
		return "", err
	}
	if s.Status != types.ManagedEntityStatusGreen || !*s.ClientTrustServer || !*s.ServerTrustClient {
		return "", fmt.Errorf("the status is %s: %s", s.Status, s.ConnectionStatus)
	}
	return fmt.Sprintf("status %s: %s, both sides trust each other", s.Status, s.ConnectionStatus), nil
}

func (g *Guide) makeDefault(ctx context.Context) (string, error) {
	if err := g.keys.SetDefaultKmsClusterId(ctx, g.Provider, nil); err != nil {
		return "", err
	}
	id, err := g.keys.GetDefaultKmsClusterID(ctx, nil, false)
	if err == nil && id != g.Provider {
		err = fmt.Errorf("the default is %q", id)
	}
	return "default provider " + id, err
}

func (g *Guide) policy(ctx context.Context) (string, error) {
	client, err := pbm.NewClient(ctx, g.vim.Client)
	if err != nil {
		return "", err
	}
	id, err := client.ProfileIDByName(ctx, "VM Encryption Policy")
	if err != nil {
		return "", err
	}
	encrypts, err := client.SupportsEncryption(ctx, id)
	if err == nil && !encrypts {
		err = errors.New("the policy does not encrypt")
	}
	return "VM Encryption Policy " + id, err
}

// encrypt makes a key, and has one reconfiguration encrypt home and disks with
// it under the policy.
func (g *Guide) encrypt(ctx context.Context) (string, error) {
	list, err := find.NewFinder(g.vim.Client).VirtualMachineList(ctx, "/...")
	if err != nil {
		return "", err
	}
	g.vm = slices.MinFunc(list, func(a, b *object.VirtualMachine) int { return cmp.Compare(a.InventoryPath, b.InventoryPath) })
	made, err := methods.GenerateKey(ctx, g.vim, &types.GenerateKey{This: g.keys.Reference(), KeyProvider: &types.KeyProviderId{Id: g.Provider}})
	if err != nil {
		return "", err
	}
	if !made.Returnval.Success {
		return "", errors.New(made.Returnval.Reason)
	}
	g.key = made.Returnval.KeyId
	m, err := g.machine(ctx)
	if err != nil {
		return "", err
	}
	task, err := g.vm.Reconfigure(ctx, EncryptSpec(m.Config, EncryptionPolicyID, g.key))
	if err != nil {
		return "", err
	}
	if err := task.Wait(ctx); err != nil {
		return "", err
	}
	return g.encrypted(ctx)
}

// encrypted looks for the key on the home and every disk.
func (g *Guide) encrypted(ctx context.Context) (string, error) {
	m, err := g.machine(ctx)
	if err != nil {
		return "", err
	}
	if m.Config.KeyId == nil || m.Config.KeyId.KeyId != g.key.KeyId {
		return "", fmt.Errorf("the home of %s has the key %v", m.Name, m.Config.KeyId)
	}
	n := 0
	for _, d := range m.Config.Hardware.Device {
		v, ok := d.(*types.VirtualDisk)
		if !ok {
			continue
		}
		n++
		if key := diskKey(v); key == nil || key.KeyId != g.key.KeyId {
			return "", fmt.Errorf("disk %d of %s has the key %v", v.Key, m.Name, key)
		}
	}
	return fmt.Sprintf("%s: home and disks (%d) have key %s", m.Name, n, g.key.KeyId), nil
}

func (g *Guide) machine(ctx context.Context) (m mo.VirtualMachine, err error) {
	err = property.DefaultCollector(g.vim.Client).RetrieveOne(ctx, g.vm.Reference(), []string{"name", "config", "runtime"}, &m)
	return m, err
}

// EncryptSpec spells out an encryption as vCenter wants it: policy and key, for
// the home and for every disk.
func EncryptSpec(config *types.VirtualMachineConfigInfo, policy string, key types.CryptoKeyId) types.VirtualMachineConfigSpec {
	profile := []types.BaseVirtualMachineProfileSpec{&types.VirtualMachineDefinedProfileSpec{ProfileId: policy}}
	spec := types.VirtualMachineConfigSpec{
		ChangeVersion: config.ChangeVersion, VmProfile: profile, Crypto: &types.CryptoSpecEncrypt{CryptoKeyId: key},
	}
	for _, d := range config.Hardware.Device {
		if v, ok := d.(*types.VirtualDisk); ok {
			spec.DeviceChange = append(spec.DeviceChange, &types.VirtualDeviceConfigSpec{
				Operation: types.VirtualDeviceConfigSpecOperationEdit, Device: v, Profile: profile,
				Backing: &types.VirtualDeviceConfigSpecBackingSpec{Crypto: &types.CryptoSpecEncrypt{CryptoKeyId: key}},
			})
		}
	}
	return spec
}

// sameKey finds the key in the key server's list.
func (g *Guide) sameKey(ctx context.Context) (string, error) {
	key, err := g.world.KMS.Admin.Key(ctx, g.key.KeyId)
	if err != nil {
		return "", err
	}
	if key.State != "Active" || key.Client != g.client() {
		return "", fmt.Errorf("the key is %s, made by %s", key.State, key.Client)
	}
	return fmt.Sprintf("%s %d, %s, made by client %s", key.Algorithm, key.LengthBits, strings.ToLower(key.State), key.Client), nil
}

func (g *Guide) vMotion(ctx context.Context) (string, error) {
	m, err := g.machine(ctx)
	if err == nil && m.Config.MigrateEncryption != migrateRequired {
		err = fmt.Errorf("it is %q", m.Config.MigrateEncryption)
	}
	return "encrypted vMotion " + m.Config.MigrateEncryption, err
}

// outage starts the machine, has the key server die and come back, and shows
// that the status follows and the key is still there.
func (g *Guide) outage(ctx context.Context) (string, error) {
	task, err := g.vm.PowerOn(ctx)
	if err == nil {
		err = task.Wait(ctx)
	}
	if err == nil {
		err = g.world.KMS.Kill()
	}
	if err != nil {
		return "", err
	}
	down, err := g.status(ctx)
	if err == nil && down.Status != types.ManagedEntityStatusRed {
		err = fmt.Errorf("the status of a dead server is %s", down.Status)
	}
	if err == nil {
		err = g.world.KMS.Start(ctx)
	}
	if err != nil {
		return "", err
	}
	began := time.Now()
	if _, err := g.normal(ctx); err != nil {
		return "", err
	}
	if _, err := g.sameKey(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("killed: status %s; started again: status green after %d ms, the key is there", down.Status, time.Since(began).Milliseconds()), nil
}

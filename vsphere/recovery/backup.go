package recovery

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vmware/govmomi/crypto"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25"

	"github.com/keyreeve/keyreeve/vsphere/inventory"
	"github.com/keyreeve/keyreeve/vsphere/provider"
)

const (
	format  = "keyreeve-agent backup"
	version = 1
	purpose = "What a new vCenter has to be told after this one was lost, for keyreeve-agent recover. It holds no secret and no key: keys are in the key server and in its backups."
)

// A Backup is what a vCenter knew that its machines need. It is plain data.
type Backup struct {
	Format  string    `json:"format"`
	Version int       `json:"version"`
	Purpose string    `json:"purpose"`
	Time    time.Time `json:"time"`              // when the vCenter was read
	Partial []string  `json:"partial,omitempty"` // why not all of it was seen

	VCenter        string          `json:"vcenter"` // its instance UUID
	Address        string          `json:"address"` // of its API
	Providers      []Provider      `json:"providers"`
	EntityDefaults []EntityDefault `json:"entity_defaults"`
	Clients        []Client        `json:"clients"`
	Machines       []Used          `json:"machines"` // that use keys
	Hosts          []Used          `json:"hosts"`

	Instance string            `json:"instance,omitempty"` // of the agent, in its reports
	Reports  map[string]uint64 `json:"reports,omitempty"`  // number of the last one, by vCenter
	Settings string            `json:"settings"`           // the text of the agent's settings
}

// A Provider is a key provider. Its name can never change: machines name it.
type Provider struct {
	Name    string   `json:"name"`
	Type    string   `json:"type,omitempty"` // vCenter, nativeProvider, trustAuthority
	Default bool     `json:"default,omitempty"`
	Servers []Server `json:"servers"`
}

// A Server is a key server of a provider. Its password, if it has one, is in
// vCenter alone.
type Server struct {
	Name         string `json:"name"` // the alias in vCenter
	Address      string `json:"address"`
	Port         int32  `json:"port"`
	ProxyAddress string `json:"proxy_address,omitempty"`
	ProxyPort    int32  `json:"proxy_port,omitempty"`
	User         string `json:"user,omitempty"`
}

// An EntityDefault is a cluster or folder with a default provider of its own.
type EntityDefault struct {
	Path     string `json:"path"`
	Provider string `json:"provider"`
}

// A Client is the record by which the key server knew vCenter. Keys belong to
// its group, so that the next vCenter has to be in the same one.
type Client struct {
	Provider string `json:"provider"`
	Name     string `json:"name"`
	Group    string `json:"group"`
	Kind     string `json:"kind"`
	Renew    bool   `json:"agent_renewable"` // the agent may renew it by itself
}

// A Used is a machine or host with the keys that it names.
type Used struct {
	Name     string          `json:"name"`
	Path     string          `json:"path,omitempty"`
	File     string          `json:"file,omitempty"`
	BIOS     string          `json:"bios_uuid,omitempty"`
	Instance string          `json:"uuid,omitempty"` // instance UUID; of a host, its hardware's
	Keys     []inventory.Key `json:"keys"`
	Seen     time.Time       `json:"seen"` // when they were read
}

// Make makes a backup of what was read. before is the last one of the same
// vCenter, for what cannot be read now; nil: there is none. The caller adds
// what it alone knows: clients, reports and settings.
func Make(ctx context.Context, client *vim25.Client, s *inventory.Snapshot, before *Backup) (*Backup, error) {
	b := &Backup{
		Format: format, Version: version, Purpose: purpose, Time: s.Time.UTC(), Partial: s.Partial,
		VCenter: s.VCenter, Address: client.URL().Host,
		Providers: []Provider{}, EntityDefaults: []EntityDefault{}, Clients: []Client{}, Machines: machinesOf(s, before), Hosts: hostsOf(s),
	}
	if err := b.readProviders(ctx, client); err != nil {
		return nil, fmt.Errorf("reading vCenter's key providers: %w", err)
	}
	return b, nil
}

func (b *Backup) readProviders(ctx context.Context, client *vim25.Client) error {
	m, err := crypto.GetManagerKmip(client)
	if err != nil {
		return err
	}
	list, err := m.ListKmipServers(ctx, nil)
	if err != nil {
		return err
	}
	for _, info := range list {
		p := Provider{Name: info.ClusterId.Id, Type: info.ManagementType, Default: info.UseAsDefault, Servers: []Server{}}
		for _, s := range info.Servers {
			p.Servers = append(p.Servers, Server{s.Name, s.Address, s.Port, s.ProxyAddress, s.ProxyPort, s.UserName})
		}
		b.Providers = append(b.Providers, p)
		for _, entity := range info.UseAsEntityDefault {
			path, err := find.InventoryPath(ctx, client, entity)
			if err != nil {
				return fmt.Errorf("asking where %s is: %w", entity, err)
			}
			b.EntityDefaults = append(b.EntityDefaults, EntityDefault{path, p.Name})
		}
	}
	return nil
}

func machinesOf(s *inventory.Snapshot, before *Backup) []Used {
	list, known := []Used{}, before.index()
	for i := range s.VMs {
		v := &s.VMs[i]
		u := Used{Name: v.Name, Path: v.Path, File: v.File, BIOS: v.BIOS, Instance: v.Instance, Keys: v.Keys(), Seen: s.Time.UTC()}
		if len(u.Keys) == 0 && !v.Readable {
			if was := known.machine(v); was != nil {
				u.Keys, u.Seen = was.Keys, was.Seen
			}
		}
		if len(u.Keys) > 0 {
			list = append(list, u)
		}
	}
	return append(list, gone(s, before)...)
}

// keepGone is how long a machine that is not there any more stays in backups.
const keepGone = 30 * 24 * time.Hour

// gone are the machines of the last backup that are not there any more. They
// stay for a while: a vCenter that is being lost, or an account that has lost
// its rights, shows fewer and fewer machines and says that these are all.
func gone(s *inventory.Snapshot, before *Backup) (list []Used) {
	if before == nil {
		return nil
	}
	there := map[string]bool{}
	for i := range s.VMs {
		v := &s.VMs[i]
		there[v.Instance], there[v.File], there[v.Path] = true, true, true
	}
	delete(there, "")
	for _, u := range before.Machines {
		if !there[u.Instance] && !there[u.File] && !there[u.Path] && s.Time.Sub(u.Seen) < keepGone {
			list = append(list, u)
		}
	}
	return list
}

func hostsOf(s *inventory.Snapshot) []Used {
	list := []Used{}
	for _, h := range s.Hosts {
		if h.Key != (inventory.Key{}) {
			list = append(list, Used{Name: h.Name, Instance: h.UUID, Keys: []inventory.Key{h.Key}, Seen: s.Time.UTC()})
		}
	}
	return list
}

// machinesBy are a backup's machines by what they may be found by, from the surest:
// files stay where they are; names are given twice. nil is for several of one.
type machinesBy [5]map[string]*Used

// index is made once for all machines that are looked for; a nil Backup has none.
func (b *Backup) index() (x machinesBy) {
	if b == nil {
		return x
	}
	for i := range x {
		x[i] = make(map[string]*Used, len(b.Machines))
	}
	for i := range b.Machines {
		u := &b.Machines[i]
		for j, text := range [len(x)]string{u.Instance, u.File, u.BIOS, u.Path, u.Name} {
			text = strings.ToLower(text)
			if _, twice := x[j][text]; twice {
				x[j][text] = nil
			} else {
				x[j][text] = u
			}
		}
	}
	return x
}

// machine finds what is known of a machine that is called otherwise by another
// vCenter. Where several fit, none does: a wrong key would send people after it.
func (x *machinesBy) machine(v *inventory.VM) *Used {
	for j, text := range [len(x)]string{v.Instance, v.File, v.BIOS, v.Path, v.Name} {
		if text == "" {
			continue
		}
		if u := x[j][strings.ToLower(text)]; u != nil {
			return u
		}
	}
	return nil
}

func (b *Backup) provider(name string) *Provider {
	i := slices.IndexFunc(b.Providers, func(p Provider) bool { return p.Name == name })
	if i < 0 {
		return nil
	}
	return &b.Providers[i]
}

// Default is the name of the default provider; "" if there was none.
func (b *Backup) Default() string {
	for _, p := range b.Providers {
		if p.Default {
			return p.Name
		}
	}
	return ""
}

// Entities finds the clusters and folders that had a provider of the wanted
// ones as their default, and names those that are not there.
func (b *Backup) Entities(ctx context.Context, client *vim25.Client, wanted []provider.Provider) (list []provider.EntityDefault, missing []string, err error) {
	for _, e := range b.EntityDefaults {
		if !slices.ContainsFunc(wanted, func(p provider.Provider) bool { return p.Name == e.Provider }) {
			continue
		}
		found, err := object.NewSearchIndex(client).FindByInventoryPath(ctx, e.Path) // a Finder would take names for patterns
		if err != nil {
			return nil, nil, fmt.Errorf("finding %s: %w", e.Path, err)
		}
		if found == nil {
			missing = append(missing, e.Path)
			continue
		}
		list = append(list, provider.EntityDefault{Entity: found.Reference(), Path: e.Path, Provider: e.Provider})
	}
	return list, missing, nil
}

// Marshal is the file's text.
func (b *Backup) Marshal() ([]byte, error) {
	text, err := json.MarshalIndent(b, "", "  ")
	return append(text, '\n'), err
}

// ErrNoBackup is wrapped when a file is no backup of an agent's.
var ErrNoBackup = errors.New("this is no backup that keyreeve-agent made")

// Parse reads the file's text.
func Parse(text []byte) (*Backup, error) {
	b := new(Backup)
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(b); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoBackup, err)
	}
	switch {
	case b.Format != format:
		return nil, fmt.Errorf("%w: its format is %q", ErrNoBackup, b.Format)
	case b.VCenter == "" || strings.Trim(b.VCenter, "0123456789abcdefABCDEF-") != "":
		return nil, fmt.Errorf("%w: %q is no vCenter's instance UUID", ErrNoBackup, b.VCenter) // it gets into commands that people copy
	case b.Version != version:
		return nil, fmt.Errorf("%w: its version is %d, and this program reads version %d", ErrNoBackup, b.Version, version)
	}
	return b, nil
}

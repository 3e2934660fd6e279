package session

import (
	"context"
	"fmt"
	"slices"

	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

// A Mode says how much an agent may do. Each has what the one before has.
type Mode string

// The modes, from the least.
const (
	Observe  Mode = "observe"  // read: inventory, plan, report
	Register Mode = "register" // and key providers, and trust
	Enforce  Mode = "enforce"  // and machines
)

// Modes returns all, from the least.
func Modes() []Mode { return []Mode{Observe, Register, Enforce} }

// A Privilege of vCenter's, and what for.
type Privilege struct {
	ID  string `json:"id"`
	Why string `json:"why"`
}

// added are what each mode needs beyond the one before. Never among them:
// Cryptographer.Decrypt, which would let a stolen password undo all
// encryption, and Access and Clone, which open encrypted disks.
var added = map[Mode][]Privilege{
	Observe: {
		{"System.Anonymous", "every role has it"},
		{"System.Read", "see machines, hosts and their keys"},
		{"System.View", "every role has it"},
		{"StorageProfile.View", "see which storage policies encrypt"},
		{"Cryptographer.ReadKeyServersInfo", "see key providers"},
	},
	Register: {
		{"Cryptographer.ManageKeyServers", "add key providers, make trust, read their status"},
		{"Cryptographer.ManageKeys", "make a key to prove a provider, ask for the status of keys"},
		{"Cryptographer.RegisterVM", "unlock machines whose keys are there again"},
		{"Global.ManageCustomFields", "make the attribute that says which agent is active"},
		{"Global.SetCustomField", "write into it"},
	},
	Enforce: {
		{"Cryptographer.Encrypt", "encrypt machines"},
		{"Cryptographer.EncryptNew", "and give them a first key"},
		{"Cryptographer.Recrypt", "give encrypted machines new keys"},
		{"Cryptographer.RegisterHost", "put hosts into encryption mode"},
		{"VirtualMachine.Config.Settings", "encrypted vMotion"},
		{"VirtualMachine.Config.EditDevice", "disks and their storage policies"},
		{"VirtualMachine.Interact.PowerOff", "only when the policy lets machines be shut down"},
		{"VirtualMachine.Interact.PowerOn", "the same"},
	},
}

// Privileges returns what a mode needs; nil for one that there is not.
func Privileges(mode Mode) (list []Privilege) {
	i := slices.Index(Modes(), mode)
	for _, m := range Modes()[:i+1] {
		list = append(list, added[m]...)
	}
	return list
}

// Missing names the privileges that the mode needs and this session's user does
// not have at the root of the vCenter, where the role belongs.
func (s *Session) Missing(ctx context.Context, mode Mode) (missing []string, err error) {
	manager := s.client.ServiceContent.AuthorizationManager
	if manager == nil {
		return nil, fmt.Errorf("this vCenter does not tell privileges")
	}
	user, err := session.NewManager(s.client).UserSession(ctx)
	if err != nil {
		return nil, fmt.Errorf("asking who we are: %w", err)
	}
	if user == nil {
		return nil, fmt.Errorf("asking who we are: the session has ended; try again")
	}
	req := types.HasPrivilegeOnEntities{This: *manager, Entity: []types.ManagedObjectReference{s.client.ServiceContent.RootFolder}, SessionId: user.Key}
	for _, p := range Privileges(mode) {
		req.PrivId = append(req.PrivId, p.ID)
	}
	res, err := methods.HasPrivilegeOnEntities(ctx, s.client, &req)
	if err != nil {
		return nil, fmt.Errorf("asking for our privileges: %w", err)
	}
	granted := map[string]bool{}
	for _, e := range res.Returnval {
		for _, p := range e.PrivAvailability {
			granted[p.PrivId] = p.IsGranted
		}
	}
	for _, id := range req.PrivId {
		if !granted[id] {
			missing = append(missing, id)
		}
	}
	return missing, nil
}

package policy

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"
)

// An Op is what is done to a machine. There is none that decrypts.
type Op string

// The operations.
const (
	EncryptOp Op = "encrypt" // the home, disks, or both
	ShallowOp Op = "rekey"   // another key for the keys that the data is encrypted with
	DeepOp    Op = "rekey-deep"
	VMotionOp Op = "vmotion"
)

// usesKeys tells whether a new key is made.
func (o Op) usesKeys() bool { return o != VMotionOp }

// rewrites tells whether the data is written anew.
func (o Op) rewrites() bool { return o == EncryptOp || o == DeepOp }

// An Action is one change of one machine.
type Action struct {
	Ref           string   `json:"ref"`
	Path          string   `json:"path"`
	Instance      string   `json:"instance_uuid,omitempty"`
	Op            Op       `json:"op"`
	Why           string   `json:"why"`
	Rule          string   `json:"rule"`
	Line          int      `json:"line,omitempty"`           // of the rule's facet; 0: none asked for it
	ChangeVersion string   `json:"change_version,omitempty"` // makes it fail when somebody changed the machine meanwhile
	Home          bool     `json:"home,omitempty"`
	Disks         []int32  `json:"disks,omitempty"` // device keys
	Provider      string   `json:"provider,omitempty"`
	StoragePolicy string   `json:"storage_policy,omitempty"` // id; empty: stays
	VMotion       string   `json:"vmotion,omitempty"`
	ShutDown      bool     `json:"shut_down,omitempty"` // before, and started again after
	Host          string   `json:"host,omitempty"`      // Ref
	Datastores    []string `json:"datastores,omitempty"`
}

// A Because is one reason, and what it is about.
type Because struct {
	Reason Reason `json:"reason"`
	Detail string `json:"detail,omitempty"`
}

// Held is an Action that is not done now.
type Held struct {
	Action
	Because []Because `json:"because"`
	Blocked bool      `json:"blocked"` // it waits for a person; else it is waiting
}

// An Alarm is something that is wrong with a machine, or a host.
type Alarm struct {
	Path string `json:"path"`
	Because
}

// A Plan is what is to be done, what is not, and why. Its order depends on
// nothing but what is in it.
type Plan struct {
	VCenter   string    `json:"vcenter"`
	Time      time.Time `json:"time"`
	Partial   []string  `json:"partial,omitempty"` // of the snapshot
	Machines  int       `json:"machines"`
	InSync    int       `json:"in_sync"`   // machines of which a rule wants nothing more
	Unruled   int       `json:"unruled"`   // of which none wants anything
	Actions   []Action  `json:"actions"`   // in the order in which they are to be done
	Held      []Held    `json:"held"`      // by path
	Alarms    []Alarm   `json:"alarms"`    // by path
	Selection Selection `json:"selection"` // what rules want encrypted

	jumped bool               // or what it is judged by was not read: it is no measure for the next one
	keys   map[string]KeyFact // by which it was made
}

// A Selection is the machines that rules want encrypted, by Ref.
type Selection struct {
	Refs   []string `json:"refs"`
	Digest string   `json:"digest"` // what a person confirms
}

func (s *Selection) close() {
	slices.Sort(s.Refs)
	sum := sha256.Sum256([]byte(strings.Join(s.Refs, "\n")))
	s.Digest = hex.EncodeToString(sum[:8])
}

// A State is a plan in one word.
type State string

// States of a plan, in the order in which they outweigh each other.
const (
	InSync  State = "in sync"
	Drift   State = "drift"   // something can be done now
	Blocked State = "blocked" // something is left, and none of it can be done now; or there is an alarm
)

// State tells how far the vCenter is from the policy.
func (p *Plan) State() State {
	switch {
	case len(p.Actions) > 0:
		return Drift
	case len(p.Held)+len(p.Alarms) > 0:
		return Blocked
	}
	return InSync
}

func (p *Plan) hold(a Action, because []Because) {
	h := Held{Action: a, Because: because}
	for _, b := range because {
		h.Blocked = h.Blocked || b.Reason.NeedsPerson()
	}
	p.Held = append(p.Held, h)
}

func (p *Plan) alarm(path string, r Reason, detail string) {
	p.Alarms = append(p.Alarms, Alarm{path, Because{r, detail}})
}

// close puts everything in its order.
func (p *Plan) close() {
	before := func(a, b Action) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.Ref, b.Ref), strings.Compare(string(a.Op), string(b.Op)))
	}
	slices.SortFunc(p.Actions, before)
	slices.SortFunc(p.Held, func(a, b Held) int { return before(a.Action, b.Action) })
	slices.SortFunc(p.Alarms, func(a, b Alarm) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(string(a.Reason), string(b.Reason)), strings.Compare(a.Detail, b.Detail))
	})
	p.Selection.close()
}

// Facts are what else is known when a plan is made. The zero value knows
// nothing, and lets no key be made.
type Facts struct {
	Now time.Time

	// Keys are what the key server has, by identifier, of the providers that it
	// answers for. A nil map: it was not asked.
	Keys      map[string]KeyFact
	Providers []string

	// Server and VCenter are how the machines of both can be known: addresses,
	// with names resolved, and BIOS UUIDs. Each entry is one machine.
	Server, VCenter []Machine

	Backup    Backup
	Ready     string          // why the key server is not ready; empty: it is
	Probe     string          // why a key could not be made, fetched and compared; empty: it could
	Paused    string          // what the pause file says, or that there is one; empty: there is none
	Another   string          // the agent that acts on this vCenter; empty: none
	Missing   map[Op][]string // privileges that the account lacks
	Last      *Selection      // of the plan before; nil: this is the first
	Confirmed string          // the Digest of a Selection that a person confirmed
	Proven    int             // machines that were changed under this policy, and verified
	Changes   int             // that a person allows for this run; 0: as the policy says
	Changed   int             // machines, in this run so far
	// Failed are machines, by Ref, at which something failed in this run, and why.
	Failed map[string]string

	// Demand are machines, by Ref, whose keys are to be exchanged now.
	Demand     []string
	DemandDeep bool
}

// A KeyFact is what the key server says of a key.
type KeyFact struct {
	State    string // as KMIP spells it
	Made     time.Time
	BackedUp bool // the last verified backup has it
}

// A Machine is one that keys depend on.
type Machine struct {
	Name      string // for people
	Addresses []string
	BIOS      string
}

// Backup is what the key server says of its last backup that was verified.
type Backup struct {
	Verified bool
	Problem  string // what has to be done something about
}

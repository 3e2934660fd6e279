package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// Section is the key of the file below which the policy stands.
const Section = "policy"

// DefaultStoragePolicy is the one that vCenter brings along.
const DefaultStoragePolicy = "VM Encryption Policy"

// A Policy is what the file says. Nobody changes it once it is read.
type Policy struct {
	Digest string // of its text: what was proven under another one is proven no more

	Rules   []Rule
	Protect []Match // machines that nothing is done to

	Server, VCenter Place // where the key server's and vCenter's machines are

	MinimumHardware int  // 13 is vmx-13
	ShutDown        bool // what has to be off may be shut down, in a window
	BackupWaived    bool // encrypt though no backup of the key server was ever verified
	Windows         []Window
	Zone            *time.Location
	PauseFile       string // while it exists nothing is done; empty: there is none
	Limits          Limits
}

// Limits bound what one run does.
type Limits struct {
	Changes      int // of machines in a run
	Canary       int // machines that must have been changed and verified before the others follow; 0: none
	Jump         int // percent by which the selection may grow or shrink between two plans without a person
	Failures     int // in a row, after which a run ends
	Workers      int // at once
	PerDatastore int // encryptions at once
	PerHost      int // encryptions at once
}

// A Place says where something is that keys depend on.
type Place struct {
	Line    int
	Outside bool     // of this vCenter
	At      []string // BIOS UUIDs, addresses or paths of its machines; empty: to be found
}

// A Rule is about the machines that match. For each of its three facets the
// first rule that has the facet and matches decides.
type Rule struct {
	Name    string
	Line    int
	Match   Match
	Encrypt *Encrypt
	Rekey   *Rekey
	VMotion *VMotion
}

// Encrypt says what of a machine is to be encrypted. Leave ends the search for
// a rule: the machine stays as it is.
type Encrypt struct {
	Line          int
	Leave         bool
	Provider      string
	StoragePolicy string
	NoDisks       bool     // only the home, as a vTPM has it
	Disks         []string // by label; empty: all
}

// Rekey says how old a key may get.
type Rekey struct {
	Line   int
	Leave  bool
	MaxAge time.Duration // 0: any; then only what must be is recrypted
	Deep   bool          // the data too: the machine has to be off
}

// VMotion is the encrypted vMotion that plain machines are to have.
type VMotion struct {
	Line int
	Mode string // disabled, opportunistic, required; empty: leave
}

// Values of VMotion's Mode.
const (
	Disabled      = "disabled"
	Opportunistic = "opportunistic"
	Required      = "required"
)

func defaults() *Policy {
	return &Policy{
		MinimumHardware: 13, Zone: time.UTC,
		Limits: Limits{Changes: 10, Canary: 1, Jump: 20, Failures: 3, Workers: 4, PerDatastore: 1, PerHost: 1},
	}
}

// Read reads the section of the policy in a file. Other sections are not its
// business. Every mistake is told, each with its line.
func Read(file []byte) (*Policy, error) {
	n, err := section(file, Section)
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	return FromNode(n)
}

// Providers are the key providers that rules name.
func (p *Policy) Providers() (names []string) {
	for _, r := range p.Rules {
		if e := r.Encrypt; e != nil && !e.Leave && !slices.Contains(names, e.Provider) {
			names = append(names, e.Provider)
		}
	}
	return names
}

// FromNode reads a policy that stands in a file that was parsed already.
func FromNode(n ast.Node) (*Policy, error) {
	p := defaults()
	err := mapping(n, "the policy", fields{
		"rules": each(p.addRule), "protect": each(p.addProtect),
		"keyPath": func(n ast.Node) error {
			return mapping(n, "keyPath", fields{"server": p.Server.read, "vcenter": p.VCenter.read})
		},
		"minimumHardware": number(&p.MinimumHardware, 1, 99),
		"onPoweredOn":     choice("report", "shutdown", &p.ShutDown),
		"backup":          choice("required", "waived", &p.BackupWaived),
		"windows":         each(p.addWindow), "timezone": p.readZone, "pauseFile": text(&p.PauseFile),
		"limits": func(n ast.Node) error {
			l := &p.Limits
			return mapping(n, "limits", fields{
				"changes": number(&l.Changes, 1, 100_000), "canary": number(&l.Canary, 0, 1000), "jump": number(&l.Jump, 0, 100),
				"failures": number(&l.Failures, 1, 1000), "workers": number(&l.Workers, 1, 64),
				"perDatastore": number(&l.PerDatastore, 1, 64), "perHost": number(&l.PerHost, 1, 64),
			})
		},
	})
	if n != nil {
		sum := sha256.Sum256([]byte(n.String()))
		p.Digest = hex.EncodeToString(sum[:8])
	}
	if err = errors.Join(err, p.check(n)); err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	return p, nil
}

// check is what no key can be refused for by itself.
func (p *Policy) check(n ast.Node) error {
	var problems []error
	if len(p.Rules) == 0 {
		problems = append(problems, at(n, "there is no rule"))
	}
	if p.ShutDown && len(p.Windows) == 0 {
		problems = append(problems, at(n, "onPoweredOn: shutdown needs windows in which machines may be shut down"))
	}
	names := map[string]int{}
	for _, r := range p.Rules {
		if line, ok := names[r.Name]; ok {
			problems = append(problems, fmt.Errorf("line %d: the rule of line %d is called %q too", r.Line, line, r.Name))
		}
		names[r.Name] = r.Line
	}
	return errors.Join(problems...)
}

func (p *Policy) addProtect(n ast.Node) error {
	m, err := readMatch(n)
	p.Protect = append(p.Protect, m)
	return err
}

func (p *Policy) addRule(n ast.Node) error {
	r := Rule{Line: line(n)}
	var matched bool
	err := mapping(n, "a rule", fields{
		"name": text(&r.Name),
		"match": func(n ast.Node) (err error) {
			r.Match, err = readMatch(n)
			matched = true
			return err
		},
		"encrypt": r.readEncrypt, "rekey": r.readRekey, "vMotion": r.readVMotion,
	})
	switch {
	case r.Name == "":
		err = errors.Join(err, at(n, "the rule has no name"))
	case !matched:
		err = errors.Join(err, at(n, "the rule %q matches nothing: it has no match", r.Name))
	case err == nil && r.Encrypt == nil && r.Rekey == nil && r.VMotion == nil:
		err = at(n, "the rule %q says nothing: want encrypt, rekey or vMotion", r.Name)
	}
	if e, v := r.Encrypt, r.VMotion; e != nil && !e.Leave && v != nil && v.Mode != "" && v.Mode != Required {
		err = errors.Join(err, fmt.Errorf("line %d: vMotion: %s cannot be: vSphere fixes the encrypted vMotion of what is encrypted to %s; leave it out", v.Line, v.Mode, Required))
	}
	p.Rules = append(p.Rules, r)
	return err
}

func (r *Rule) readEncrypt(n ast.Node) error {
	e := &Encrypt{Line: line(n), StoragePolicy: DefaultStoragePolicy}
	r.Encrypt = e
	if word, ok := scalar(n); ok {
		e.Leave = word == "leave"
		if !e.Leave {
			return at(n, "encrypt: want leave, or provider, storagePolicy and disks below it, not %q; nothing here decrypts", word)
		}
		return nil
	}
	err := mapping(n, "encrypt", fields{"provider": text(&e.Provider), "storagePolicy": text(&e.StoragePolicy), "disks": e.readDisks})
	if err == nil && e.Provider == "" {
		err = at(n, "encrypt: want a provider: the key provider's name in vCenter")
	}
	return err
}

func (e *Encrypt) readDisks(n ast.Node) error {
	if word, ok := scalar(n); ok {
		e.NoDisks = word == "none"
		if !e.NoDisks && word != "all" {
			return at(n, "disks: want all, none or a list of labels, not %q", word)
		}
		return nil
	}
	list, err := texts(n)
	e.Disks = list
	return err
}

func (r *Rule) readRekey(n ast.Node) error {
	k := &Rekey{Line: line(n)}
	r.Rekey = k
	if word, ok := scalar(n); ok {
		k.Leave = word == "leave"
		if !k.Leave {
			return at(n, "rekey: want leave, or maxAge and mode below it, not %q", word)
		}
		return nil
	}
	return mapping(n, "rekey", fields{"maxAge": duration(&k.MaxAge), "mode": choice("shallow", "deep", &k.Deep)})
}

func (r *Rule) readVMotion(n ast.Node) error {
	v := &VMotion{Line: line(n)}
	r.VMotion = v
	word, _ := scalar(n)
	if word == "leave" {
		return nil
	}
	if !slices.Contains([]string{Disabled, Opportunistic, Required}, word) {
		return at(n, "vMotion: want %s, %s, %s or leave", Disabled, Opportunistic, Required)
	}
	v.Mode = word
	return nil
}

func (p *Place) read(n ast.Node) (err error) {
	p.Line = line(n)
	word, ok := scalar(n)
	switch {
	case ok && word == "outside":
		p.Outside = true
	case ok && word == "find":
	case ok:
		return at(n, "want find, outside, or a list of BIOS UUIDs, addresses or paths, not %q", word)
	default:
		p.At, err = texts(n)
	}
	return err
}

func (p *Policy) readZone(n ast.Node) error {
	name, ok := scalar(n)
	if !ok {
		return at(n, "timezone: want a name such as Europe/Paris")
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return at(n, "timezone: there is no %q on this machine", name)
	}
	p.Zone = zone
	return nil
}

func (p *Policy) addWindow(n ast.Node) error {
	word, ok := scalar(n)
	w, err := parseWindow(word)
	if !ok || err != nil {
		return at(n, "windows: want days and times such as sat,sun 22:00-04:00 or daily 01:00-05:00")
	}
	p.Windows = append(p.Windows, w)
	return nil
}

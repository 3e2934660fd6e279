package policy

import (
	"errors"
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/keyreeve/keyreeve/vsphere/inventory"
)

// A Match selects machines. All that it says must hold; of the values of one
// term any may. One that says nothing does not exist.
type Match struct {
	Line  int
	Terms []Term
	Any   []Match // one of them must hold; empty: nothing is asked
	Not   *Match  // must not hold; nil: nothing is asked
}

// A Term is one thing that a machine must have. Values are globs, in which *
// stands for any part of a name and, in paths, ** for any number of folders;
// UUIDs and addresses are compared as they are.
type Term struct {
	Kind      string
	Attribute string // its name, if that is the Kind
	Values    []string
}

// Kinds of terms.
const (
	Folder    = "folder"
	Name      = "name"
	Tag       = "tag" // category:name
	Cluster   = "cluster"
	Pool      = "pool" // path
	Datastore = "datastore"
	Attribute = "attribute"
	UUID      = "uuid" // BIOS or instance
	Address   = "address"
)

func readMatch(n ast.Node) (m Match, err error) { return readLevel(n, 0) }

func readLevel(n ast.Node, level int) (m Match, err error) {
	m.Line = line(n)
	if level > maxLevels {
		return m, at(n, "matches nest too deep")
	}
	f := fields{
		"any": each(func(n ast.Node) error {
			sub, err := readLevel(n, level+1)
			m.Any = append(m.Any, sub)
			return err
		}),
		"not": func(n ast.Node) error {
			sub, err := readLevel(n, level+1)
			m.Not = &sub
			return err
		},
		Attribute: m.readAttributes,
	}
	for _, kind := range []string{Folder, Name, Tag, Cluster, Pool, Datastore, UUID, Address} {
		f[kind] = func(n ast.Node) error { return m.addTerm(n, kind, "") }
	}
	if err = mapping(n, "a match", f); err == nil && len(m.Terms) == 0 && len(m.Any) == 0 && m.Not == nil {
		err = at(n, `the match says nothing; for every machine write name: "*"`)
	}
	return m, err
}

func (m *Match) readAttributes(n ast.Node) error {
	var problems []error
	for _, pair := range pairs(n) {
		problems = append(problems, m.addTerm(pair.Value, Attribute, pair.Key.GetToken().Value))
	}
	if len(problems) == 0 {
		return at(n, "attribute: want name: value below it")
	}
	return errors.Join(problems...)
}

func (m *Match) addTerm(n ast.Node, kind, attribute string) error {
	values, err := texts(n)
	if err != nil {
		return err
	}
	for _, v := range values {
		if err := checkValue(kind, v); err != nil {
			return at(n, "%s: %q: %w", kind, v, err)
		}
	}
	m.Terms = append(m.Terms, Term{kind, attribute, values})
	return nil
}

var (
	errPath    = errors.New("want a path from the root on, such as /DC0/vm/finance/**")
	errTag     = errors.New("want category:name")
	errAddress = errors.New("want an address, or a network such as 10.0.0.0/24")
)

func checkValue(kind, v string) error {
	switch kind {
	case Folder, Pool:
		if !strings.HasPrefix(v, "/") {
			return errPath
		}
	case Tag:
		if !strings.Contains(v, ":") {
			return errTag
		}
	case Address:
		if _, err := prefix(v); err != nil {
			return errAddress
		}
		return nil
	}
	_, err := path.Match(v, "")
	return err
}

// prefix reads an address or a network.
func prefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		a = a.Unmap().WithZone("")
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	return netip.ParsePrefix(s)
}

// Fits tells whether a machine is one of those.
func (m *Match) Fits(v *inventory.VM) bool { return m.fits(v, false, false) }

// unsure tells whether that hangs on what is not known of the machine.
func (m *Match) unsure(v *inventory.VM) bool {
	return m.fits(v, true, false) && !m.fits(v, false, true)
}

// fits takes what is not known of a machine as unknown says, and below a not as
// denied says.
func (m *Match) fits(v *inventory.VM, unknown, denied bool) bool {
	for _, t := range m.Terms {
		if is := t.known(v) && t.fits(v) || !t.known(v) && unknown; !is {
			return false
		}
	}
	if m.Not != nil && m.Not.fits(v, denied, unknown) {
		return false
	}
	return len(m.Any) == 0 || slices.ContainsFunc(m.Any, func(sub Match) bool { return sub.fits(v, unknown, denied) })
}

// known tells whether it is known what a machine has of a term's kind. One that is
// off has no addresses, and the account may not see its pool.
func (t *Term) known(v *inventory.VM) bool {
	switch t.Kind {
	case Address:
		return len(v.Addresses) > 0
	case Pool:
		return v.Pool != "" || v.Template
	}
	return true
}

func (t *Term) fits(v *inventory.VM) bool {
	return slices.ContainsFunc(t.Values, func(value string) bool { return t.fitsValue(v, value) })
}

func (t *Term) fitsValue(v *inventory.VM, value string) bool {
	glob := func(s string) bool {
		ok, _ := path.Match(whole(value), whole(s)) // it was checked
		return ok && s != ""
	}
	switch t.Kind {
	case Folder:
		return v.Path != "" && globPath(value, path.Dir(v.Path))
	case Name:
		return glob(v.Name)
	case Tag:
		return slices.ContainsFunc(v.Tags, glob)
	case Cluster:
		return glob(v.Cluster)
	case Pool:
		return v.Pool != "" && globPath(value, v.Pool)
	case Datastore:
		return glob(v.Datastore) || slices.ContainsFunc(v.Disks, func(d inventory.Disk) bool { return glob(d.Datastore) })
	case Attribute:
		return glob(v.Attributes[t.Attribute])
	case UUID:
		return isUUID(v, value)
	case Address:
		return hasAddress(v, value)
	}
	return false
}

// whole has no slash, at which path.Match would end what * stands for: one in a tag
// or an attribute divides nothing.
func whole(s string) string { return strings.ReplaceAll(s, "/", "\x00") }

// hasAddress tells whether the guest has an address, or one in a network.
func hasAddress(v *inventory.VM, want string) bool {
	p, err := prefix(want)
	return err == nil && slices.ContainsFunc(v.Addresses, func(s string) bool {
		a, err := netip.ParseAddr(s)
		return err == nil && p.Contains(a.Unmap().WithZone(""))
	})
}

// globPath matches paths part by part; ** stands for any number of parts.
func globPath(pattern, name string) bool {
	return globParts(split(pattern), split(name))
}

func split(p string) []string { return strings.Split(strings.Trim(p, "/"), "/") }

func globParts(pattern, name []string) bool {
	for i, part := range pattern {
		if part == "**" {
			for skip := i; skip <= len(name); skip++ {
				if globParts(pattern[i+1:], name[skip:]) {
					return true
				}
			}
			return false
		}
		if i >= len(name) {
			return false
		}
		if ok, _ := path.Match(part, name[i]); !ok {
			return false
		}
	}
	return len(pattern) == len(name)
}

// uses tells whether a match judges by terms of a kind.
func (m *Match) uses(kind string) bool {
	if slices.ContainsFunc(m.Terms, func(t Term) bool { return t.Kind == kind }) || m.Not != nil && m.Not.uses(kind) {
		return true
	}
	return slices.ContainsFunc(m.Any, func(sub Match) bool { return sub.uses(kind) })
}

// uses tells whether anything in the policy judges by terms of a kind.
func (p *Policy) uses(kind string) bool {
	return slices.ContainsFunc(p.Protect, func(m Match) bool { return m.uses(kind) }) ||
		slices.ContainsFunc(p.Rules, func(r Rule) bool { return r.Match.uses(kind) })
}

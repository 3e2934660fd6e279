package ovhcloud

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// States of the option and of entries, as the API spells them.
const (
	optionDisabling = "disabling"
	optionMigrating = "migrating"
	optionEnabling  = "enabling"
	optionEnabled   = "enabled"
	optionDisabled  = "disabled"
	optionError     = "error"

	entryDelivered = "delivered"
	entryError     = "error"
)

// An Entry is a key server that is registered.
type Entry struct {
	ID          int64
	IP          netip.Addr
	Port        int
	Thumbprint  string // upper case, with colons
	Description string
	State       string // delivered, error, creating, …

	raw string // the description as OVHcloud has it, to be given back with a change
}

// Delivered tells whether the firewall is open for it, as OVHcloud says.
func (e Entry) Delivered() bool { return e.State == entryDelivered }

// moving tells that a task of OVHcloud's works on the entry.
func (e Entry) moving() bool {
	switch e.State {
	case "creating", "toCreate", "updating", "toUpdate":
		return true
	}
	return e.leaving()
}

func (e Entry) leaving() bool { return e.State == "deleting" || e.State == "toDelete" }

// State is what OVHcloud has.
type State struct {
	Service string
	Option  string  // disabled, enabling, enabled, …
	Entries []Entry // by ID
}

// at are the entries of the address, the delivered ones first.
func (s State) at(ip netip.Addr) (list []Entry) {
	for _, e := range s.Entries {
		if e.IP == ip {
			list = append(list, e)
		}
	}
	slices.SortStableFunc(list, func(a, b Entry) int { return cmp.Compare(rank(a), rank(b)) })
	return list
}

func rank(e Entry) int {
	switch {
	case e.Delivered():
		return 0
	case e.leaving():
		return 2
	}
	return 1
}

// A Service is one Hosted Private Cloud.
type Service struct {
	client *Client
	Name   string // pcc-…
}

// Services lists the names of those that the credentials see, sorted.
func (c *Client) Services(ctx context.Context) ([]string, error) {
	var names []string
	err := c.call(ctx, "listing OVHcloud's services", http.MethodGet, "/dedicatedCloud", nil, &names)
	slices.Sort(names)
	return names, err
}

// Service finds the service of that name, or with an empty name the only one.
func (c *Client) Service(ctx context.Context, name string) (*Service, error) {
	names, err := c.Services(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case len(names) == 0:
		return nil, errors.New("these credentials see no Hosted Private Cloud: are they of the right account and endpoint?")
	case name == "" && len(names) == 1:
		name = names[0]
	case name == "":
		return nil, fmt.Errorf("there are %d services: name one of %s", len(names), clean(strings.Join(names, ", ")))
	case !slices.Contains(names, name):
		return nil, fmt.Errorf("these credentials do not see a service %q; they see %s", name, clean(strings.Join(names, ", ")))
	}
	return &Service{client: c, Name: name}, nil
}

func (s *Service) path(format string, args ...any) string {
	return "/dedicatedCloud/" + url.PathEscape(s.Name) + fmt.Sprintf(format, args...)
}

// wireEntry is a VMEncryptionAccessNetwork.
type wireEntry struct {
	KmsID         int64  `json:"kmsId"`
	IP            string `json:"ip"`
	KmsTCPPort    int    `json:"kmsTcpPort"`
	SSLThumbprint string `json:"sslThumbprint"`
	Description   string `json:"description"`
	State         string `json:"state"`
}

func (w wireEntry) entry() Entry {
	ip, _ := netip.ParseAddr(w.IP) // the zero Addr equals none that is wanted
	return Entry{ID: w.KmsID, IP: ip, Port: w.KmsTCPPort, Thumbprint: strings.ToUpper(w.SSLThumbprint), Description: clean(w.Description), raw: w.Description, State: clean(w.State)}
}

// Observe reads the option and all entries.
func (s *Service) Observe(ctx context.Context) (State, error) {
	out := State{Service: s.Name}
	var option struct {
		State string `json:"state"`
	}
	if err := s.client.call(ctx, "reading the state of VM encryption of "+s.Name, http.MethodGet, s.path("/vmEncryption"), nil, &option); err != nil {
		return out, err
	}
	out.Option = clean(option.State)
	var ids []int64
	if err := s.client.call(ctx, "listing the key servers of "+s.Name, http.MethodGet, s.path("/vmEncryption/kms"), nil, &ids); err != nil {
		return out, err
	}
	slices.Sort(ids)
	for _, id := range ids {
		e, err := s.entry(ctx, id)
		if isGone(err) {
			continue // between the list and now
		}
		if err != nil {
			return out, err
		}
		out.Entries = append(out.Entries, e)
	}
	return out, nil
}

func (s *Service) entry(ctx context.Context, id int64) (Entry, error) {
	var w wireEntry
	err := s.client.call(ctx, fmt.Sprintf("reading entry %d of %s", id, s.Name), http.MethodGet, s.path("/vmEncryption/kms/%d", id), nil, &w)
	return w.entry(), err
}

func isGone(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Status == http.StatusNotFound
}

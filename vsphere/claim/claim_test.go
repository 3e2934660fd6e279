package claim_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/keyreeve/keyreeve/vsphere/claim"
	"github.com/keyreeve/keyreeve/vsphere/vspheretest"
)

func newVCenter(t *testing.T) *vspheretest.VCenter {
	t.Helper()
	vc, err := vspheretest.New(vspheretest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := vc.Close(); err != nil {
			t.Error(err)
		}
	})
	return vc
}

func login(t *testing.T, vc *vspheretest.VCenter) *govmomi.Client {
	t.Helper()
	c, err := vc.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newClaim(t *testing.T, vc *vspheretest.VCenter, agent string, lease time.Duration) *claim.Claim {
	t.Helper()
	return claim.New(claim.Config{Client: login(t, vc).Client, Agent: agent, Host: "host-" + agent, Lease: lease})
}

// Many agents that start at the same moment: one of them gets the vCenter, the
// others hear who; when it is released, another gets it.
func TestContenders(t *testing.T) {
	vc := newVCenter(t)
	list := make([]*claim.Claim, 12)
	for i := range list {
		list[i] = newClaim(t, vc, fmt.Sprint(i), time.Minute)
	}
	for range 3 {
		start := make(chan struct{})
		won := make(chan *claim.Claim, len(list))
		others := make(chan claim.Holder, len(list))
		var wg sync.WaitGroup
		for _, c := range list {
			wg.Go(func() {
				<-start
				held, other, err := c.Acquire(t.Context())
				switch {
				case err != nil:
					t.Error(err)
				case held:
					won <- c
				default:
					others <- other
				}
			})
		}
		close(start)
		wg.Wait()
		close(others)
		if len(won) != 1 {
			t.Fatalf("%d agents hold the vCenter", len(won))
		}
		winner := <-won
		for h := range others {
			if !winner.Is(h) {
				t.Errorf("somebody heard of %s", h)
			}
		}
		if err := winner.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		if h, err := winner.Look(t.Context()); err != nil || h != nil {
			t.Fatalf("after the release: %v, %v", h, err)
		}
	}
}

// An agent that was killed and started again goes on at once, and what is left
// of its first life finds the vCenter lost.
func TestSameAgentAgain(t *testing.T) {
	vc := newVCenter(t)
	first, second := newClaim(t, vc, "a", time.Hour), newClaim(t, vc, "a", time.Hour)
	for _, c := range []*claim.Claim{first, second} {
		if held, other, err := c.Acquire(t.Context()); !held || err != nil {
			t.Fatal(other, err)
		}
	}
	if err := first.Renew(t.Context()); !errors.Is(err, claim.ErrLost) || !strings.Contains(err.Error(), "host-a (agent a)") {
		t.Errorf("the first: %v", err)
	}
	if err := second.Renew(t.Context()); err != nil {
		t.Errorf("the second: %v", err)
	}
}

// A person who removes the attribute ends the lease.
func TestAttributeRemoved(t *testing.T) {
	vc := newVCenter(t)
	c := newClaim(t, vc, "a", time.Hour)
	if held, _, err := c.Acquire(t.Context()); !held || err != nil {
		t.Fatal(held, err)
	}
	fields, err := object.GetCustomFieldsManager(login(t, vc).Client)
	if err != nil {
		t.Fatal(err)
	}
	key, err := fields.FindKey(t.Context(), claim.Attribute)
	if err != nil {
		t.Fatal(err)
	}
	if err := fields.Remove(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if err := c.Renew(t.Context()); !errors.Is(err, claim.ErrLost) || !strings.Contains(err.Error(), "somebody removed its mark") {
		t.Error(err)
	}
	if !c.Until().IsZero() {
		t.Error("it still counts on its lease")
	}
}

// A lease that is near its end is written anew, by a number that no other has.
func TestRenew(t *testing.T) {
	vc := newVCenter(t)
	now := time.Now()
	c := claim.New(claim.Config{Client: login(t, vc).Client, Agent: "a", Host: "h", Lease: time.Hour, Now: func() time.Time { return now }})
	if held, _, err := c.Acquire(t.Context()); !held || err != nil {
		t.Fatal(held, err)
	}
	was, err := c.Look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(25 * time.Minute)
	if err := c.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	if is, err := c.Look(t.Context()); err != nil || !is.Until.After(was.Until) {
		t.Errorf("until %v, was %v, %v", is, was, err)
	}
	if want := now.Add(54 * time.Minute); !c.Until().Equal(want) {
		t.Errorf("it counts on %v, want %v", c.Until(), want)
	}
}

// A denied is a vCenter whose account may not make some calls.
type denied struct {
	soap.RoundTripper
	call      func(req soap.HasFault) bool
	privilege string
}

func (d *denied) RoundTrip(ctx context.Context, req, res soap.HasFault) error {
	if !d.call(req) {
		return d.RoundTripper.RoundTrip(ctx, req, res)
	}
	f := &soap.Fault{Code: "ServerFaultCode", String: "Permission to perform this operation was denied."}
	f.Detail.Fault = types.NoPermission{PrivilegeId: d.privilege}
	return soap.WrapSoapFault(f)
}

// Without a privilege there is an error that names it, and reading goes on.
func TestPrivileges(t *testing.T) {
	for want, call := range map[string]func(soap.HasFault) bool{
		"Global.ManageCustomFields": func(req soap.HasFault) bool { _, is := req.(*methods.AddCustomFieldDefBody); return is },
		"Global.SetCustomField":     func(req soap.HasFault) bool { _, is := req.(*methods.SetFieldBody); return is },
	} {
		for _, said := range []string{want, ""} { // vCenter mostly says which
			vc := newVCenter(t)
			client := login(t, vc).Client
			client.RoundTripper = &denied{client.RoundTripper, call, said}
			c := claim.New(claim.Config{Client: client, Agent: "a", Host: "h"})
			if held, _, err := c.Acquire(t.Context()); held || !errors.Is(err, claim.ErrPrivilege) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, %v", want, held, err)
			}
			if h, err := c.Look(t.Context()); err != nil || h != nil {
				t.Errorf("reading: %v, %v", h, err)
			}
		}
	}
}

// An attribute whose value is hidden from the account is not one without a
// value: that one could be taken.
func TestHiddenValue(t *testing.T) {
	vc := newVCenter(t)
	if held, _, err := newClaim(t, vc, "a", time.Hour).Acquire(t.Context()); !held || err != nil {
		t.Fatal(held, err)
	}
	client := login(t, vc).Client
	client.RoundTripper = &hidden{client.RoundTripper}
	c := claim.New(claim.Config{Client: client, Agent: "b", Host: "h"})
	if held, _, err := c.Acquire(t.Context()); held || !errors.Is(err, claim.ErrPrivilege) {
		t.Errorf("%v, %v", held, err)
	}
}

// A hidden vCenter does not tell values of the root folder.
type hidden struct{ soap.RoundTripper }

func (h *hidden) RoundTrip(ctx context.Context, req, res soap.HasFault) error {
	err := h.RoundTripper.RoundTrip(ctx, req, res)
	if body, ok := res.(*methods.RetrievePropertiesExBody); ok && err == nil {
		for i := range body.Res.Returnval.Objects {
			if o := &body.Res.Returnval.Objects[i]; o.Obj.Type == "Folder" {
				o.PropSet, o.MissingSet = nil, []types.MissingProperty{{Path: "customValue"}}
			}
		}
	}
	return err
}

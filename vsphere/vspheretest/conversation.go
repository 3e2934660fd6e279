package vspheretest

import (
	"context"
	"errors"
	"fmt"

	"github.com/keyreeve/keyreeve/internal/secret"
)

// What vCenter says to a key server, in its order: for each purpose a
// connection of its own, which begins with Discover Versions and says nothing
// that it does not need (captured with 7.0.3; docs/testing.md has the source).

// errNoServer: the provider has no server, or there is no such provider.
var errNoServer = errors.New("the key provider has no server")

// talk has one conversation on one connection. It ends with Timeout.
func (v *VCenter) talk(ctx context.Context, t target, say func(ctx context.Context, c Connection) error) error {
	ctx, cancel := context.WithTimeout(ctx, v.options.Timeout)
	defer cancel()
	c, err := v.options.Connector.Connect(ctx, t.endpoint)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := c.DiscoverVersions(ctx); err != nil {
		return err
	}
	return say(ctx, c)
}

// talkToAny tries the provider's servers in turn until one takes part. One
// that answers that it has no such key has taken part: all hold the same.
func (v *VCenter) talkToAny(ctx context.Context, provider string, say func(ctx context.Context, c Connection) error) error {
	targets, _ := v.targets(provider)
	defer clearTargets(targets)
	if len(targets) == 0 {
		return errNoServer
	}
	var failed []error
	for _, t := range targets {
		err := v.talk(ctx, t, say)
		if err == nil || errors.Is(err, ErrNoKey) {
			return err
		}
		failed = append(failed, fmt.Errorf("%s: %w", t.name, err))
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(failed...)
}

func clearTargets(targets []target) {
	for _, t := range targets {
		t.endpoint.Password.Clear()
	}
}

// createKey makes a key, and marks it with the product on another connection.
// That marking fails is logged and no more, as with vCenter.
func (v *VCenter) createKey(ctx context.Context, provider string) (keyID string, err error) {
	err = v.talkToAny(ctx, provider, func(ctx context.Context, c Connection) (err error) {
		keyID, err = c.Create(ctx)
		return err
	})
	if err != nil {
		return "", err
	}
	v.tag(ctx, provider, keyID, []Attribute{
		{"x-Product_Version", v.options.Build}, {"x-Vendor", "VMware, Inc."}, {"x-Product", "VMware vSphere"},
	})
	return keyID, nil
}

// tag looks for each attribute, and adds them all in one message if one is not
// there.
func (v *VCenter) tag(ctx context.Context, provider, keyID string, attributes []Attribute) {
	err := v.talkToAny(ctx, provider, func(ctx context.Context, c Connection) error {
		var missing []Attribute
		for _, a := range attributes {
			has, err := c.Attribute(ctx, keyID, a.Name)
			if err != nil {
				return err
			}
			if !has {
				missing = append(missing, a)
			}
		}
		if len(missing) == 0 {
			return nil
		}
		return c.AddAttributes(ctx, keyID, missing)
	})
	if err != nil {
		v.options.Logger.Warn("a key was not marked", "key", keyID, "err", err)
	}
}

// errNotActive: the key is in a state in which vCenter does not use it.
var errNotActive = errors.New("the key is not active or enabled")

// fetchKey gets a key for use, and activates it if it never was. who is marked
// on it then. The caller clears the key.
func (v *VCenter) fetchKey(ctx context.Context, provider, keyID string, who user) (key *secret.Bytes, err error) {
	err = v.talkToAny(ctx, provider, func(ctx context.Context, c Connection) error {
		key.Clear() // of a server before that failed later
		if key, err = c.Get(ctx, keyID); err != nil {
			return err
		}
		state, err := c.State(ctx, keyID)
		switch {
		case err != nil:
			return err
		case state == PreActive:
			return c.Activate(ctx, keyID)
		case state != Active:
			return errNotActive
		}
		return nil
	})
	if err == nil && key.Len() != 32 {
		err = fmt.Errorf("the key server answered with a key of %d bytes, not 32", key.Len())
	}
	if err != nil {
		key.Clear()
		return nil, err
	}
	v.tag(ctx, provider, keyID, []Attribute{
		{"x-Identifier", who.id}, {"x-Component", who.component}, {"x-Name", who.name},
	})
	return key, nil
}

// A user of a key, as vCenter marks it on the key.
type user struct{ id, component, name string }

// Components that vCenter names.
const (
	componentVM   = "Virtual Machine"
	componentHost = "ESXi Server"
)

// keyState asks for the state alone.
func (v *VCenter) keyState(ctx context.Context, provider, keyID string) (state KeyState, err error) {
	err = v.talkToAny(ctx, provider, func(ctx context.Context, c Connection) error {
		state, err = c.State(ctx, keyID)
		return err
	})
	return state, err
}

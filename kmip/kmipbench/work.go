package kmipbench

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/kmipclient"
)

// version is what vCenter speaks.
var version = kmip.V1_1

// A worker does one operation. Between calls the hand keeps its connection.
type worker func(context.Context, *hand) error

type hand struct {
	run    *run
	number int
	count  int
	client *kmipclient.Client
}

func (h *hand) close() {
	if h.client != nil {
		_ = h.client.Close()
		h.client = nil
	}
}

// connected returns the hand's connection.
func (h *hand) connected(ctx context.Context) (*kmipclient.Client, error) {
	if h.client != nil {
		return h.client, nil
	}
	var err error
	h.client, err = h.run.dial(ctx)
	return h.client, err
}

// uid is the next of the keys that are read.
func (h *hand) uid() string {
	h.count++
	return h.run.uids[(h.count+h.number*7)%len(h.run.uids)]
}

var works = map[string]worker{
	"handshake": func(ctx context.Context, h *hand) error {
		defer h.close()
		c, err := h.connected(ctx)
		if err != nil {
			return err
		}
		_, err = c.DiscoverVersions(ctx)
		return err
	},
	"get": func(ctx context.Context, h *hand) error {
		c, err := h.connected(ctx)
		if err != nil {
			return err
		}
		return get(ctx, c, h.uid())
	},
	"getattrs": func(ctx context.Context, h *hand) error {
		c, err := h.connected(ctx)
		if err != nil {
			return err
		}
		attrs, err := c.GetAttributes(ctx, h.uid(), "State", "Cryptographic Length")
		if err == nil && len(attrs) != 2 {
			err = fmt.Errorf("got %d attributes, asked for 2", len(attrs))
		}
		return err
	},
	"locate": func(ctx context.Context, h *hand) error {
		c, err := h.connected(ctx)
		if err != nil {
			return err
		}
		uid := h.uid()
		found, err := c.Locate(ctx, kmip.NameAttribute(nameOf(uid, h.run.uids)))
		if err == nil && (len(found) != 1 || found[0] != uid) {
			err = fmt.Errorf("located %d keys by name, want one", len(found))
		}
		return err
	},
	"create": func(ctx context.Context, h *hand) error {
		c, err := h.connected(ctx)
		if err != nil {
			return err
		}
		_, err = h.run.create(ctx, c, "")
		return err
	},
	"vcenter": vcenter,
}

func get(ctx context.Context, c *kmipclient.Client, uid string) error {
	key, err := c.Get(ctx, uid)
	if err != nil {
		return err
	}
	defer key.Clear()
	if key.Len() != 32 {
		return fmt.Errorf("got a key of %d bytes, want 32", key.Len())
	}
	return nil
}

// vcenter is what vCenter 7 does for one encrypted virtual machine: a key is
// made, tagged and fetched, each on a short connection that asks for the versions
// first.
func vcenter(ctx context.Context, h *hand) error {
	uid := ""
	for _, step := range []func(*kmipclient.Client) error{
		func(c *kmipclient.Client) (err error) {
			uid, err = h.run.create(ctx, c, "")
			return err
		},
		func(c *kmipclient.Client) error {
			_, err := c.AddAttribute(ctx, uid, kmip.TextAttribute("x-Product", "VMware vSphere"))
			return err
		},
		func(c *kmipclient.Client) error { return get(ctx, c, uid) },
	} {
		if err := h.short(ctx, step); err != nil {
			return err
		}
	}
	return nil
}

func (h *hand) short(ctx context.Context, step func(*kmipclient.Client) error) error {
	defer h.close()
	c, err := h.connected(ctx)
	if err != nil {
		return err
	}
	if _, err := c.DiscoverVersions(ctx); err != nil {
		return err
	}
	return step(c)
}

// create makes a key and remembers it.
func (r *run) create(ctx context.Context, c *kmipclient.Client, name string) (string, error) {
	uid, err := c.Create(ctx, kmipclient.CreateOptions{Name: name})
	if err != nil {
		return "", err
	}
	r.mu.Lock()
	r.made = append(r.made, uid)
	r.mu.Unlock()
	return uid, nil
}

func nameOf(uid string, uids []string) string {
	for i, u := range uids {
		if u == uid {
			return fmt.Sprintf("keyreeve-bench-%d", i)
		}
	}
	return ""
}

// prepare makes the keys that are read.
func (r *run) prepare(ctx context.Context) error {
	c, err := r.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	for i := range keysRead {
		uid, err := r.create(ctx, c, fmt.Sprintf("keyreeve-bench-%d", i))
		if err != nil {
			return err
		}
		r.uids = append(r.uids, uid)
	}
	return nil
}

// emptyGroup refuses to work beside keys that somebody needs.
func (r *run) emptyGroup(ctx context.Context) error {
	c, err := r.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	for _, state := range []kmip14.State{kmip14.StatePreActive, kmip14.StateActive, kmip14.StateDeactivated, kmip14.StateCompromised} {
		found, err := c.Locate(ctx, kmip.EnumerationAttribute("State", state))
		if err != nil {
			return fmt.Errorf("looking for keys in the client's group: %w", err)
		}
		if len(found) > 0 {
			return ErrNotEmpty
		}
	}
	return nil
}

// destroyers is how many connections destroy at once.
const destroyers = 16

// destroyAll destroys all that was made; none was ever activated.
func (r *run) destroyAll(ctx context.Context) error {
	uids := make(chan string)
	errs := make([]error, destroyers)
	var wg sync.WaitGroup
	for i := range destroyers {
		wg.Go(func() {
			c, err := r.dial(ctx)
			for uid := range uids {
				if err == nil {
					err = c.Destroy(ctx, uid)
				}
			}
			if c != nil {
				_ = c.Close()
			}
			errs[i] = err
		})
	}
	for _, uid := range r.made {
		uids <- uid
	}
	close(uids)
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("keys are left behind in the client's group: %w", err)
	}
	return nil
}

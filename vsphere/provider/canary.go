package provider

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/kmipclient"
)

// A Stage of a proof with a real key.
type Stage string

// The stages, in their order.
const (
	StageDial      Stage = "dial"      // TCP
	StageHandshake Stage = "handshake" // TLS, and the first words of KMIP
	StageCreate    Stage = "create"
	StageGet       Stage = "get"
	StageCompare   Stage = "compare" // over another connection, and from each other server
	StageActivate  Stage = "activate"
	StageRevoke    Stage = "revoke"
	StageDestroy   Stage = "destroy"
	StageDone      Stage = "done"
)

// Numbers of the KMIP specification 1.4, sections 9.1.3.2.18 and 9.1.3.2.19.
const (
	stateActive             = 2
	stateDestroyed          = 5
	stateDestroyedAndMore   = 6
	reasonCessation         = 6
	canaryAttribute         = "x-Keyreeve-Canary"
	canaryBytes             = 32
	cleanUp                 = 10 * time.Second
	defaultCanaryTimeout    = 15 * time.Second
	revocationOfCanary      = "a proof that keys can be had is over"
	destroyedByTheSameProof = "the key of the proof is left in the key server and goes with the next proof"
)

// A ProofError says at which stage a proof ended.
type ProofError struct {
	Stage  Stage
	Server string // host:port
	Err    error
}

// Error names the stage and the server.
func (e *ProofError) Error() string {
	return fmt.Sprintf("proof with a real key: %s at %s: %v", e.Stage, e.Server, e.Err)
}

// Unwrap returns what went wrong.
func (e *ProofError) Unwrap() error { return e.Err }

func stageOf(err error) Stage {
	if e, ok := errors.AsType[*ProofError](err); ok {
		return e.Stage
	}
	return ""
}

// A Canary proves that keys can be made and read: a status that is green says
// only that the server answers, as it still does when its store cannot be
// opened. It has a client of its own with a group of its own, so that no
// machine's key is ever in reach of it.
type Canary struct {
	Servers []string          // host:port; the key is made at the first and read at all
	KMIP    kmipclient.Config // of the canary's client; Timeout 0: 15 seconds
	// ID tells the keys of this canary from others' of the same group, such as
	// vCenter's instance UUID.
	ID      string
	Now     func() time.Time
	Metrics *Metrics
}

// Proof is what a proof found.
type Proof struct {
	Key      string // its Unique Identifier; it is destroyed by now
	Took     time.Duration
	Leftover int // keys of earlier proofs that were broken off, destroyed now
}

// Prove makes a key, reads it, reads it again over other connections and
// compares, activates it, reads it as an active one, revokes and destroys it.
// The error is a *ProofError. Each proof leaves a record of a destroyed key in
// the server for its time of grace: once in some minutes is often enough.
func (c Canary) Prove(ctx context.Context) (p Proof, err error) {
	now := c.Now
	if now == nil {
		now = time.Now
	}
	began := now()
	if len(c.Servers) == 0 || c.ID == "" {
		return p, errors.New("a canary needs a server and an ID")
	}
	run := &proving{canary: c, server: c.Servers[0]}
	err = run.prove(ctx, &p)
	p.Took = now().Sub(began)
	stage := StageDone
	if err != nil {
		stage = run.stage
		err = &ProofError{Stage: stage, Server: run.server, Err: err}
	}
	c.Metrics.proof(stage, p.Took)
	return p, err
}

// proving is one proof; stage and server say where it is.
type proving struct {
	canary Canary
	stage  Stage
	server string
}

func (r *proving) dial(ctx context.Context, server string) (*kmipclient.Client, error) {
	r.stage, r.server = StageDial, server
	cfg := r.canary.KMIP
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultCanaryTimeout
	}
	dial := cfg.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err == nil {
			r.stage = StageHandshake
		}
		return conn, err
	}
	return kmipclient.Dial(ctx, server, cfg)
}

func (r *proving) prove(ctx context.Context, p *Proof) error {
	c, err := r.dial(ctx, r.canary.Servers[0])
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	r.stage = StageCreate
	if p.Leftover, err = r.sweep(ctx, c); err != nil {
		return fmt.Errorf("destroying keys of earlier proofs: %w", err)
	}
	p.Key, err = c.Create(ctx, kmipclient.CreateOptions{Attributes: []kmip.Attribute{kmip.TextAttribute(canaryAttribute, r.canary.ID)}})
	if err != nil {
		return err
	}
	if err := r.use(ctx, c, p.Key); err != nil {
		return errors.Join(err, r.abandon(ctx))
	}
	return nil
}

// abandon destroys what a broken proof has made, over a connection of its own
// and although the context may have ended.
func (r *proving) abandon(ctx context.Context) error {
	stage, server := r.stage, r.server
	defer func() { r.stage, r.server = stage, server }()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUp)
	defer cancel()
	c, err := r.dial(ctx, r.canary.Servers[0])
	if err == nil {
		defer func() { _ = c.Close() }()
		_, err = r.sweep(ctx, c)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", destroyedByTheSameProof, err)
	}
	return nil
}

func (r *proving) use(ctx context.Context, c *kmipclient.Client, key string) error {
	r.stage = StageGet
	first, err := c.Get(ctx, key)
	if err != nil {
		return err
	}
	defer first.Clear()
	if first.Len() != canaryBytes {
		return fmt.Errorf("the key has %d bytes, want %d", first.Len(), canaryBytes)
	}
	for _, server := range r.canary.Servers {
		if err := r.compare(ctx, server, key, first); err != nil {
			return err
		}
	}
	r.stage, r.server = StageActivate, r.canary.Servers[0]
	if err := c.Activate(ctx, key); err != nil {
		return err
	}
	if state, err := c.State(ctx, key); err != nil || state != stateActive {
		return errors.Join(fmt.Errorf("the key is in state %d after Activate", state), err)
	}
	for _, server := range r.canary.Servers {
		if err := r.compare(ctx, server, key, first); err != nil {
			return err
		}
	}
	return r.end(ctx, c, key)
}

// compare reads the key over a new connection, as vCenter would.
func (r *proving) compare(ctx context.Context, server, key string, want *secret.Bytes) error {
	c, err := r.dial(ctx, server)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	r.stage = StageGet
	got, err := c.Get(ctx, key)
	if err != nil {
		return err
	}
	defer got.Clear()
	if r.stage = StageCompare; !got.Equal(want) {
		return errors.New("another connection gets another key")
	}
	return nil
}

// end revokes and destroys the key, and looks whether it is gone: a Destroy
// that does nothing would fill the server with our keys.
func (r *proving) end(ctx context.Context, c *kmipclient.Client, key string) error {
	r.stage, r.server = StageRevoke, r.canary.Servers[0]
	if err := c.Revoke(ctx, key, reasonCessation, revocationOfCanary, 0); err != nil {
		return err
	}
	r.stage = StageDestroy
	if err := c.Destroy(ctx, key); err != nil {
		return err
	}
	if left, err := c.Get(ctx, key); err == nil {
		left.Clear()
		return errors.New("the key can be read after Destroy")
	}
	return nil
}

// sweep destroys this canary's keys that earlier proofs have left.
func (r *proving) sweep(ctx context.Context, c *kmipclient.Client) (n int, err error) {
	ids, err := c.Locate(ctx, kmip.TextAttribute(canaryAttribute, r.canary.ID))
	if err != nil {
		return 0, err
	}
	for _, id := range ids {
		gone, err := r.canary.sweepOne(ctx, c, id)
		if err != nil {
			return n, err
		}
		if gone {
			n++
		}
	}
	return n, nil
}

// sweepOne destroys a key that the server named as this canary's, unless it is
// destroyed already.
func (c Canary) sweepOne(ctx context.Context, peer *kmipclient.Client, id string) (gone bool, err error) {
	state, err := peer.State(ctx, id)
	if err != nil || state == stateDestroyed || state == stateDestroyedAndMore {
		return false, err
	}
	if err := c.owns(ctx, peer, id); err != nil {
		return false, err
	}
	if state == stateActive {
		if err := peer.Revoke(ctx, id, reasonCessation, revocationOfCanary, 0); err != nil {
			return false, err
		}
	}
	return true, peer.Destroy(ctx, id)
}

// owns refuses a key that does not say itself that it is this canary's: a server
// that takes a filter of Locate's for a wish, and a client in a group with
// machines' keys, would have these destroyed.
func (c Canary) owns(ctx context.Context, peer *kmipclient.Client, id string) error {
	attrs, err := peer.GetAttributes(ctx, id, canaryAttribute)
	if err != nil {
		return err
	}
	for _, a := range attrs {
		if text, err := a.Value.Text(); err == nil && string(a.Name) == canaryAttribute && string(text) == c.ID {
			return nil
		}
	}
	return fmt.Errorf("the server names the key %s as one of a proof, and it is none: nothing of it is destroyed", clean(id))
}

package vspheretest

import (
	"context"
	"crypto/tls"
	"errors"
	"net"

	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/kmipclient"
)

// A Connector opens connections to key servers. The one by default is
// kmipclient's; tests have a second one, of a client that is not ours, so that
// not both ends of a conversation are of one mind.
type Connector interface {
	Connect(ctx context.Context, to Endpoint) (Connection, error)
}

// An Endpoint is a key server, and how it is to be reached.
type Endpoint struct {
	Address  string      // host:port
	TLS      *tls.Config // with our certificate and the check of the server's
	Username string      // "": no credential
	Password *secret.Bytes
	Dial     func(ctx context.Context, network, address string) (net.Conn, error)
	ItemID   func() []byte // see kmipclient.Config
}

// A Connection is one TLS connection to a key server. It is used by one
// goroutine. Errors are what the server or the network said; one that means
// that the server has no such key wraps ErrNoKey.
type Connection interface {
	DiscoverVersions(ctx context.Context) error
	// QueryVendor asks for Query Server Information and nothing else.
	QueryVendor(ctx context.Context) (vendor string, err error)
	// Create makes an AES-256 key for encryption, without a name.
	Create(ctx context.Context) (keyID string, err error)
	Get(ctx context.Context, keyID string) (*secret.Bytes, error)
	State(ctx context.Context, keyID string) (KeyState, error)
	// Attribute tells whether the key has the custom attribute.
	Attribute(ctx context.Context, keyID, name string) (has bool, err error)
	// AddAttributes adds text attributes in one message, an item each.
	AddAttributes(ctx context.Context, keyID string, attributes []Attribute) error
	Activate(ctx context.Context, keyID string) error
	Close() error
}

// An Attribute is a custom attribute of a key (x-…).
type Attribute struct{ Name, Value string }

// KeyState is KMIP's State, by its number.
type KeyState uint32

// The states that matter here.
const (
	PreActive KeyState = 1
	Active    KeyState = 2
)

// ErrNoKey: the server says that it has no such key.
var ErrNoKey = errors.New("the key server has no such key")

// Keyreeve is the Connector of this project's own client. The zero value is
// ready to use.
type Keyreeve struct{}

// Connect connects and completes the handshake. It speaks KMIP 1.1, as every
// vCenter that was captured does.
func (Keyreeve) Connect(ctx context.Context, to Endpoint) (Connection, error) {
	c, err := kmipclient.Dial(ctx, to.Address, kmipclient.Config{
		TLS: to.TLS, Version: kmip.V1_1, Username: to.Username, Password: to.Password, Dial: to.Dial, ItemID: to.ItemID,
	})
	if err != nil {
		return nil, err
	}
	return &ours{c}, nil
}

type ours struct{ client *kmipclient.Client }

// Numbers of KMIP 1.1's section 9.1.3.2.
const (
	queryServerInformation = 3
	reasonItemNotFound     = 1
)

func (o *ours) DiscoverVersions(ctx context.Context) error {
	_, err := o.client.DiscoverVersions(ctx)
	return err
}

func (o *ours) QueryVendor(ctx context.Context) (string, error) {
	answer, err := o.client.Query(ctx, queryServerInformation)
	if err != nil {
		return "", err
	}
	return string(answer.VendorIdentification), nil
}

func (o *ours) Create(ctx context.Context) (string, error) {
	return o.client.Create(ctx, kmipclient.CreateOptions{})
}

func (o *ours) Get(ctx context.Context, keyID string) (*secret.Bytes, error) {
	key, err := o.client.Get(ctx, keyID)
	return key, noKey(err)
}

func (o *ours) State(ctx context.Context, keyID string) (KeyState, error) {
	state, err := o.client.State(ctx, keyID)
	return KeyState(state), noKey(err)
}

func (o *ours) Attribute(ctx context.Context, keyID, name string) (bool, error) {
	found, err := o.client.GetAttributes(ctx, keyID, name)
	return len(found) > 0, noKey(err)
}

func (o *ours) AddAttributes(ctx context.Context, keyID string, attributes []Attribute) error {
	list := make([]kmip.Attribute, len(attributes))
	for i, a := range attributes {
		list[i] = kmip.TextAttribute(a.Name, a.Value)
	}
	return noKey(o.client.AddAttributes(ctx, keyID, list...))
}

func (o *ours) Activate(ctx context.Context, keyID string) error {
	return noKey(o.client.Activate(ctx, keyID))
}

func (o *ours) Close() error { return o.client.Close() }

// noKey marks the server's Item Not Found.
func noKey(err error) error {
	if refused, ok := errors.AsType[*kmipclient.ResultError](err); ok && refused.Reason == reasonItemNotFound {
		return errors.Join(ErrNoKey, err)
	}
	return err
}

package vspheretest_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"

	kmip "github.com/ovh/kmip-go"
	"github.com/ovh/kmip-go/kmipclient"
	"github.com/ovh/kmip-go/payloads"
	"github.com/vmware/govmomi/crypto"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/vsphere/vspheretest"
)

// ovhKMIP is a Connector of a client that is not ours: a second opinion on
// everything that the simulator does with a key server.
type ovhKMIP struct{}

func (ovhKMIP) Connect(ctx context.Context, to vspheretest.Endpoint) (vspheretest.Connection, error) {
	c, err := kmipclient.DialContext(ctx, to.Address,
		kmipclient.WithTlsConfig(to.TLS),
		kmipclient.EnforceVersion(kmip.V1_1),
		kmipclient.WithDialerUnsafe(func(ctx context.Context) (net.Conn, error) {
			plain, err := to.Dial(ctx, "tcp", to.Address)
			if err != nil {
				return nil, err
			}
			conn := tls.Client(plain, to.TLS)
			if err := conn.HandshakeContext(ctx); err != nil {
				return nil, errors.Join(err, plain.Close())
			}
			return conn, nil
		}))
	if err != nil {
		return nil, err
	}
	return &theirs{c}, nil
}

type theirs struct{ *kmipclient.Client }

func (c *theirs) DiscoverVersions(ctx context.Context) error {
	_, err := c.Request(ctx, &payloads.DiscoverVersionsRequestPayload{})
	return err
}

func (c *theirs) QueryVendor(ctx context.Context) (string, error) {
	resp, err := c.Request(ctx, &payloads.QueryRequestPayload{QueryFunction: []kmip.QueryFunction{kmip.QueryFunctionServerInformation}})
	if err != nil {
		return "", err
	}
	return resp.(*payloads.QueryResponsePayload).VendorIdentification, nil
}

func (c *theirs) Create(ctx context.Context) (string, error) {
	resp, err := c.Client.Create().AES(256, kmip.CryptographicUsageEncrypt|kmip.CryptographicUsageDecrypt).ExecContext(ctx)
	if err != nil {
		return "", err
	}
	return resp.UniqueIdentifier, nil
}

func (c *theirs) Get(ctx context.Context, keyID string) (*secret.Bytes, error) {
	resp, err := c.Client.Get(keyID).ExecContext(ctx)
	if err != nil {
		return nil, missing(err)
	}
	material, err := resp.Object.(*kmip.SymmetricKey).KeyMaterial()
	if err != nil {
		return nil, err
	}
	return secret.Own(material), nil
}

func (c *theirs) State(ctx context.Context, keyID string) (vspheretest.KeyState, error) {
	resp, err := c.GetAttributes(keyID, kmip.AttributeNameState).ExecContext(ctx)
	if err != nil {
		return 0, missing(err)
	}
	return vspheretest.KeyState(resp.Attribute[0].AttributeValue.(kmip.State)), nil
}

func (c *theirs) Attribute(ctx context.Context, keyID, name string) (bool, error) {
	resp, err := c.GetAttributes(keyID, kmip.AttributeName(name)).ExecContext(ctx)
	if err != nil {
		return false, missing(err)
	}
	return len(resp.Attribute) > 0, nil
}

func (c *theirs) AddAttributes(ctx context.Context, keyID string, attributes []vspheretest.Attribute) error {
	for _, a := range attributes {
		if _, err := c.AddAttribute(keyID, kmip.AttributeName(a.Name), a.Value).ExecContext(ctx); err != nil {
			return missing(err)
		}
	}
	return nil
}

func (c *theirs) Activate(ctx context.Context, keyID string) error {
	_, err := c.Client.Activate(keyID).ExecContext(ctx)
	return missing(err)
}

// missing marks Item Not Found. The client's errors have no type, only a text.
func missing(err error) error {
	if err != nil && strings.Contains(err.Error(), `reason="ItemNotFound"`) {
		return errors.Join(vspheretest.ErrNoKey, err)
	}
	return err
}

// The same world by another client: what the simulator shows does not hang on
// ours.
func TestSecondOpinion(t *testing.T) {
	r := newRig(t, vspheretest.Options{Connector: ovhKMIP{}}).ready()
	r.expectGreen()
	vm := r.vm(0)
	key := r.encrypt(vm)
	held, err := r.kmip().Get(t.Context(), key.KeyId)
	r.must(err)
	if !r.vc.HostKey(*r.look(vm).Runtime.Host, providerID, key.KeyId).Equal(held) {
		t.Error("the host's key is not the key server's")
	}
	if got := r.attribute(key.KeyId, "x-Component"); got != "Virtual Machine" {
		t.Errorf("x-Component %q", got)
	}
	status, err := r.keys.QueryCryptoKeyStatus(t.Context(), []types.CryptoKeyId{{KeyId: "gone", ProviderId: &cluster}}, crypto.CheckKeyAvailable)
	r.must(err)
	if status[0].Reason != "KeyStateMissingInKMS" {
		t.Errorf("reason %q of a key that is not there", status[0].Reason)
	}
}

package kmipclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// negotiate asks for the server's versions (section 4.26) in a message of 1.1,
// the first that can. A server that does not know the operation speaks 1.0.
func (c *Client) negotiate(ctx context.Context) error {
	c.version = kmip.V1_1
	offered, err := c.DiscoverVersions(ctx, kmip.Versions()...)
	var refusal *ResultError
	if errors.As(err, &refusal) && refusal.Reason != kmip14.ResultReasonAuthenticationNotSuccessful {
		c.version = kmip.V1_0
		return nil
	}
	if err != nil {
		return err
	}
	for _, ours := range kmip.Versions() {
		for _, theirs := range offered {
			if ours == theirs {
				c.version = ours
				return nil
			}
		}
	}
	return errors.New("the server speaks none of KMIP 1.0 to 1.4")
}

// DiscoverVersions returns the versions that the server speaks, best first; of
// those given, or all if none are.
func (c *Client) DiscoverVersions(ctx context.Context, of ...kmip.Version) ([]kmip.Version, error) {
	var resp kmip.DiscoverVersionsResponse
	if _, err := c.do(ctx, kmip14.OperationDiscoverVersions, &kmip.DiscoverVersionsRequest{Versions: of}, &resp); err != nil {
		return nil, err
	}
	return resp.Versions, nil
}

// Query asks the server about itself. The answer keeps its memory.
func (c *Client) Query(ctx context.Context, functions ...kmip14.QueryFunction) (*kmip.QueryResponse, error) {
	var resp kmip.QueryResponse
	if _, err := c.do(ctx, kmip14.OperationQuery, &kmip.QueryRequest{Functions: functions}, &resp); err != nil {
		return nil, err
	}
	return &resp, nil
}

// CreateOptions describe a key for the server to make.
type CreateOptions struct {
	ObjectType kmip14.ObjectType             // 0: Symmetric Key
	Algorithm  kmip14.CryptographicAlgorithm // 0: AES
	Length     int32                         // bits; 0: 256
	UsageMask  kmip14.CryptographicUsageMask // 0: Encrypt and Decrypt
	Name       string                        // "": none
	Attributes []kmip.Attribute              // more of them, as they are
}

func (o *CreateOptions) attributes() []kmip.Attribute {
	alg, length, mask := o.Algorithm, o.Length, o.UsageMask
	if alg == 0 {
		alg = kmip14.CryptographicAlgorithmAES
	}
	if length == 0 {
		length = 256
	}
	if mask == 0 {
		mask = kmip14.CryptographicUsageMaskEncrypt | kmip14.CryptographicUsageMaskDecrypt
	}
	out := []kmip.Attribute{
		kmip.EnumerationAttribute("Cryptographic Algorithm", alg),
		kmip.IntegerAttribute("Cryptographic Usage Mask", int32(mask)), // in this order in every capture of a vCenter
		kmip.IntegerAttribute("Cryptographic Length", length),
	}
	if o.Name != "" {
		out = append(out, kmip.NameAttribute(o.Name))
	}
	return append(out, o.Attributes...)
}

// Create has the server make a key (section 4.1) and returns its Unique
// Identifier.
func (c *Client) Create(ctx context.Context, o CreateOptions) (string, error) {
	req := kmip.CreateRequest{ObjectType: o.ObjectType, Template: kmip.TemplateAttribute{Attributes: o.attributes()}}
	if req.ObjectType == 0 {
		req.ObjectType = kmip14.ObjectTypeSymmetricKey
	}
	var resp kmip.CreateResponse
	if _, err := c.do(ctx, kmip14.OperationCreate, &req, &resp); err != nil {
		return "", err
	}
	return string(resp.UniqueIdentifier), nil
}

// RegisterOptions describe a key or Secret Data that we bring. Length 0 is
// taken from the material.
type RegisterOptions struct {
	CreateOptions
	Material *secret.Bytes // the caller's to clear
	// SecretType, when not 0, makes it Secret Data, which has no algorithm.
	SecretType kmip14.SecretDataType
}

// Register stores what we bring (section 4.3) and returns its Unique
// Identifier.
func (c *Client) Register(ctx context.Context, o RegisterOptions) (string, error) {
	var w ttlv.Writer
	defer func() { secret.Clear(w.Bytes()) }()
	req, err := o.request(&w)
	if err != nil {
		return "", err
	}
	var resp kmip.RegisterResponse
	if _, err := c.do(ctx, kmip14.OperationRegister, req, &resp); err != nil {
		return "", err
	}
	return string(resp.UniqueIdentifier), nil
}

func (o *RegisterOptions) request(w *ttlv.Writer) (*kmip.RegisterRequest, error) {
	material := o.Material.Expose()
	if len(material) == 0 {
		return nil, errors.New("register: there is no key material")
	}
	if o.Length == 0 {
		o.Length = int32(8 * len(material))
	}
	req := &kmip.RegisterRequest{ObjectType: kmip14.ObjectTypeSymmetricKey}
	if o.SecretType != 0 {
		req.ObjectType = kmip14.ObjectTypeSecretData
		req.Template.Attributes = o.secretAttributes()
		kmip.WriteSecretData(w, o.SecretType, kmip14.KeyFormatTypeOpaque, material)
	} else {
		if o.Algorithm == 0 {
			o.Algorithm = kmip14.CryptographicAlgorithmAES
		}
		req.Template.Attributes = o.attributes()
		kmip.WriteSymmetricKey(w, material, o.Algorithm, o.Length)
	}
	var err error
	req.Object, err = ttlv.Parse(w.Bytes())
	return req, err
}

func (o *RegisterOptions) secretAttributes() []kmip.Attribute {
	out := []kmip.Attribute{kmip.IntegerAttribute("Cryptographic Usage Mask", int32(o.UsageMask))}
	if o.Name != "" {
		out = append(out, kmip.NameAttribute(o.Name))
	}
	return append(out, o.Attributes...)
}

// Get returns the key material of an object (section 4.11) in the server's
// default format. The caller clears it.
func (c *Client) Get(ctx context.Context, uid string) (*secret.Bytes, error) {
	o, err := c.GetObject(ctx, kmip.GetRequest{UniqueIdentifier: []byte(uid)})
	if err != nil {
		return nil, err
	}
	return o.Material, nil
}

// An Object is a Managed Object as Get returned it. An Opaque Object has no
// format.
type Object struct {
	Type                   kmip14.ObjectType
	UniqueIdentifier       string
	KeyFormatType          kmip14.KeyFormatType
	CryptographicAlgorithm kmip14.CryptographicAlgorithm // 0: not said
	CryptographicLength    int32                         // 0: not said
	Material               *secret.Bytes                 // the caller's to clear
}

// GetObject is Get with all options of the request.
func (c *Client) GetObject(ctx context.Context, req kmip.GetRequest) (*Object, error) {
	var resp kmip.GetResponse
	r, err := c.do(ctx, kmip14.OperationGet, &req, &resp)
	if err != nil {
		return nil, err
	}
	defer r.Clear()
	if resp.ObjectType == kmip14.ObjectTypeOpaqueObject {
		return opaqueObject(&resp)
	}
	var block kmip.KeyBlock
	if err := block.Decode(resp.Object, r.Header.Version); err != nil {
		return nil, fmt.Errorf("reading the object: %w", err)
	}
	material := block.Bytes()
	if material == nil {
		return nil, fmt.Errorf("reading the object: its key format %v is not one of plain bytes", block.KeyFormatType)
	}
	return &Object{
		Type: resp.ObjectType, UniqueIdentifier: string(resp.UniqueIdentifier), KeyFormatType: block.KeyFormatType,
		CryptographicAlgorithm: block.CryptographicAlgorithm, CryptographicLength: block.CryptographicLength,
		Material: secret.Own(bytes.Clone(material)),
	}, nil
}

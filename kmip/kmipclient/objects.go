package kmipclient

import (
	"bytes"
	"context"
	"errors"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// RegisterObject is Register with the object as the wire has it, for types that
// RegisterOptions does not know, such as Templates. If there is key material in
// it, that is the caller's to clear.
func (c *Client) RegisterObject(ctx context.Context, req kmip.RegisterRequest) (string, error) {
	var resp kmip.RegisterResponse
	if _, err := c.do(ctx, kmip14.OperationRegister, &req, &resp); err != nil {
		return "", err
	}
	return string(resp.UniqueIdentifier), nil
}

// RegisterOpaque stores an Opaque Object (section 2.2.8). kind is a number that
// the application made up, 0x80000000 or higher.
func (c *Client) RegisterOpaque(ctx context.Context, kind uint32, data *secret.Bytes, attrs ...kmip.Attribute) (string, error) {
	var w ttlv.Writer
	defer func() { secret.Clear(w.Bytes()) }()
	m := w.Begin(kmip14.TagOpaqueObject)
	w.Enumeration(kmip14.TagOpaqueDataType, kind)
	w.ByteString(kmip14.TagOpaqueDataValue, data.Expose())
	w.End(m)
	object, err := ttlv.Parse(w.Bytes())
	if err != nil {
		return "", err
	}
	return c.RegisterObject(ctx, kmip.RegisterRequest{ObjectType: kmip14.ObjectTypeOpaqueObject, Object: object,
		Template: kmip.TemplateAttribute{Attributes: attrs}})
}

// ReKey has the server replace a key (section 4.4) and returns the Unique
// Identifier of the new one, which has the old one's Names.
func (c *Client) ReKey(ctx context.Context, req kmip.ReKeyRequest) (string, error) {
	var resp kmip.ReKeyResponse
	if _, err := c.do(ctx, kmip14.OperationReKey, &req, &resp); err != nil {
		return "", err
	}
	return string(resp.UniqueIdentifier), nil
}

// opaqueObject reads an Opaque Object that Get returned.
func opaqueObject(resp *kmip.GetResponse) (*Object, error) {
	data, err := resp.Object.Find(kmip14.TagOpaqueDataValue).Bytes()
	if err != nil {
		return nil, errors.New("reading the object: it has no Opaque Data Value")
	}
	return &Object{Type: resp.ObjectType, UniqueIdentifier: string(resp.UniqueIdentifier), Material: secret.Own(bytes.Clone(data))}, nil
}

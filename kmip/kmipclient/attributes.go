package kmipclient

import (
	"context"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip"
)

// GetAttributes returns the object's attributes of those names (section 4.12),
// all if none are given. What is not set is not there. The attributes keep
// their memory.
func (c *Client) GetAttributes(ctx context.Context, uid string, names ...string) ([]kmip.Attribute, error) {
	req := kmip.GetAttributesRequest{UniqueIdentifier: []byte(uid)}
	for _, n := range names {
		req.Names = append(req.Names, []byte(n))
	}
	var resp kmip.GetAttributesResponse
	if _, err := c.do(ctx, kmip14.OperationGetAttributes, &req, &resp); err != nil {
		return nil, err
	}
	return resp.Attributes, nil
}

// GetAttributeList returns the names of the attributes that the object has
// (section 4.13).
func (c *Client) GetAttributeList(ctx context.Context, uid string) ([]string, error) {
	var resp kmip.GetAttributeListResponse
	req := kmip.GetAttributeListRequest{UniqueIdentifier: []byte(uid)}
	if _, err := c.do(ctx, kmip14.OperationGetAttributeList, &req, &resp); err != nil {
		return nil, err
	}
	return texts(resp.Names), nil
}

func texts(from [][]byte) []string {
	out := make([]string, len(from))
	for i := range from {
		out[i] = string(from[i])
	}
	return out
}

// AddAttribute adds an attribute to the object (section 4.14) and returns it as
// the server has it now.
func (c *Client) AddAttribute(ctx context.Context, uid string, a kmip.Attribute) (kmip.Attribute, error) {
	var resp kmip.AddAttributeResponse
	req := kmip.AddAttributeRequest{UniqueIdentifier: []byte(uid), Attribute: a}
	if _, err := c.do(ctx, kmip14.OperationAddAttribute, &req, &resp); err != nil {
		return kmip.Attribute{}, err
	}
	return resp.Attribute, nil
}

// AddAttributes adds attributes to the object in one message, an item each. It
// returns the first item's error; the batch stops there.
func (c *Client) AddAttributes(ctx context.Context, uid string, attrs ...kmip.Attribute) error {
	items := make([]Item, len(attrs))
	for i := range attrs {
		items[i] = Item{Operation: kmip14.OperationAddAttribute,
			Request: &kmip.AddAttributeRequest{UniqueIdentifier: []byte(uid), Attribute: attrs[i]}}
	}
	r, err := c.Batch(ctx, Options{}, items...)
	if err != nil {
		return err
	}
	for i := range r.Results {
		if err := r.Results[i].Err(); err != nil {
			return err
		}
	}
	return nil
}

// State returns the object's State (section 3.22); 0 if the server names none.
func (c *Client) State(ctx context.Context, uid string) (kmip14.State, error) {
	attrs, err := c.GetAttributes(ctx, uid, "State")
	if err != nil || len(attrs) == 0 {
		return 0, err
	}
	n, err := attrs[0].Value.Enumeration()
	return kmip14.State(n), err
}

// Activate activates the object (section 4.19).
func (c *Client) Activate(ctx context.Context, uid string) error {
	return c.identified(ctx, kmip14.OperationActivate, &kmip.ActivateRequest{UniqueIdentifier: []byte(uid)})
}

// Destroy destroys the object (section 4.21).
func (c *Client) Destroy(ctx context.Context, uid string) error {
	return c.identified(ctx, kmip14.OperationDestroy, &kmip.DestroyRequest{UniqueIdentifier: []byte(uid)})
}

// Revoke revokes the object for a reason (section 4.20). occurred is when it
// was compromised, in seconds since 1970; 0: not said. The specification asks
// for it with the two compromise reasons.
func (c *Client) Revoke(ctx context.Context, uid string, code kmip14.RevocationReasonCode, message string, occurred int64) error {
	req := kmip.RevokeRequest{
		UniqueIdentifier:            []byte(uid),
		Reason:                      kmip.RevocationReason{Code: code},
		CompromiseOccurrenceDate:    occurred,
		HasCompromiseOccurrenceDate: occurred != 0,
	}
	if message != "" {
		req.Reason.Message = []byte(message)
	}
	return c.identified(ctx, kmip14.OperationRevoke, &req)
}

func (c *Client) identified(ctx context.Context, op kmip14.Operation, req kmip.Payload) error {
	_, err := c.do(ctx, op, req, &kmip.IdentifierResponse{})
	return err
}

// Locate returns the Unique Identifiers of the objects that have all the
// attributes given (section 4.9).
func (c *Client) Locate(ctx context.Context, attrs ...kmip.Attribute) ([]string, error) {
	ids, _, err := c.LocatePage(ctx, kmip.LocateRequest{Attributes: attrs})
	return ids, err
}

// LocatePage is Locate with all options of the request. total is the number of
// objects that there are in all, -1 if the server does not say (before 1.3).
func (c *Client) LocatePage(ctx context.Context, req kmip.LocateRequest) (ids []string, total int, err error) {
	var resp kmip.LocateResponse
	if _, err := c.do(ctx, kmip14.OperationLocate, &req, &resp); err != nil {
		return nil, -1, err
	}
	total = -1
	if resp.HasLocatedItems {
		total = int(resp.LocatedItems)
	}
	return texts(resp.UniqueIdentifiers), total, nil
}

package kmipclient

import (
	"context"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip"
)

// ModifyAttribute gives an instance of an attribute another value (section
// 4.15) and returns it as the server has it now. Without an index instance 0 is
// meant.
func (c *Client) ModifyAttribute(ctx context.Context, uid string, a kmip.Attribute) (kmip.Attribute, error) {
	var resp kmip.ModifyAttributeResponse
	req := kmip.ModifyAttributeRequest{UniqueIdentifier: []byte(uid), Attribute: a}
	if _, err := c.do(ctx, kmip14.OperationModifyAttribute, &req, &resp); err != nil {
		return kmip.Attribute{}, err
	}
	return resp.Attribute, nil
}

// DeleteAttribute deletes an instance of an attribute (section 4.16) and
// returns it as it was.
func (c *Client) DeleteAttribute(ctx context.Context, uid, name string, index int32) (kmip.Attribute, error) {
	var resp kmip.DeleteAttributeResponse
	req := kmip.DeleteAttributeRequest{UniqueIdentifier: []byte(uid), Name: []byte(name), Index: index, HasIndex: true}
	if _, err := c.do(ctx, kmip14.OperationDeleteAttribute, &req, &resp); err != nil {
		return kmip.Attribute{}, err
	}
	return resp.Attribute, nil
}

// Check asks whether an object may be used as the request says (section 4.10).
// If it may not, the error is the server's refusal, and denied holds those
// fields of the request that it was refused for.
func (c *Client) Check(ctx context.Context, req kmip.CheckRequest) (denied kmip.CheckResponse, err error) {
	r, err := c.Batch(ctx, Options{}, Item{Operation: kmip14.OperationCheck, Request: &req})
	if err != nil {
		return denied, err
	}
	result := &r.Results[0]
	err = result.Err()
	if err == nil || result.Payload.IsZero() {
		return denied, err
	}
	if bad := denied.Decode(result.Payload, result.version); bad != nil {
		return kmip.CheckResponse{}, bad
	}
	return denied, err
}

// A Lease is the answer to Obtain Lease.
type Lease struct {
	Seconds    uint32 // 0: without limit
	LastChange int64  // of the object, in seconds since 1970
}

// ObtainLease asks for how long the object may be used on (section 4.17).
func (c *Client) ObtainLease(ctx context.Context, uid string) (Lease, error) {
	var resp kmip.ObtainLeaseResponse
	if _, err := c.do(ctx, kmip14.OperationObtainLease, &kmip.ObtainLeaseRequest{UniqueIdentifier: []byte(uid)}, &resp); err != nil {
		return Lease{}, err
	}
	return Lease{Seconds: resp.LeaseTime, LastChange: resp.LastChangeDate}, nil
}

// GetUsageAllocation takes that many units from the object's Usage Limits
// (section 4.18).
func (c *Client) GetUsageAllocation(ctx context.Context, uid string, units int64) error {
	return c.identified(ctx, kmip14.OperationGetUsageAllocation, &kmip.GetUsageAllocationRequest{UniqueIdentifier: []byte(uid), UsageLimitsCount: units})
}

// Archive puts the object into the archive (section 4.22).
func (c *Client) Archive(ctx context.Context, uid string) error {
	return c.identified(ctx, kmip14.OperationArchive, &kmip.ArchiveRequest{UniqueIdentifier: []byte(uid)})
}

// Recover brings the object back from the archive (section 4.23).
func (c *Client) Recover(ctx context.Context, uid string) error {
	return c.identified(ctx, kmip14.OperationRecover, &kmip.RecoverRequest{UniqueIdentifier: []byte(uid)})
}

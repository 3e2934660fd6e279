//go:build interop

package interop

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ovh "github.com/ovh/kmip-go"
	"github.com/ovh/kmip-go/kmipclient"
	"github.com/ovh/kmip-go/payloads"
	"github.com/ovh/kmip-go/ttlv"
)

// TestOVHClientChanges changes keys, meters their use and archives them at
// every version with a client that we did not write.
func TestOVHClientChanges(t *testing.T) {
	s := start(t)
	for _, v := range ovhVersions {
		t.Run(fmt.Sprint(v), func(t *testing.T) {
			c := dialOVH(t, s, v)
			name := fmt.Sprintf("schlüssel 鍵 🔑 %v", v)
			made := c.Create().AES(256, ovh.CryptographicUsageEncrypt|ovh.CryptographicUsageDecrypt).WithName(name).
				WithAttribute(ovh.AttributeNameActivationDate, time.Now().Add(-time.Hour)).
				WithAttribute("x-größe", "klein").WithAttribute("x-größe", "mittel").MustExec()
			uid := made.UniqueIdentifier
			ovhChangedAttributes(t, c, uid, name)
			ovhMetered(t, s, v, uid)
			ovhArchived(t, c, uid, name+" neu")
			ovhAsynchronous(t, c, v)
		})
	}
}

func ovhChangedAttributes(t *testing.T, c *kmipclient.Client, uid, name string) {
	t.Helper()
	if found := c.Locate().WithName(name).MustExec().UniqueIdentifier; !slices.Equal(found, []string{uid}) {
		t.Errorf("located %v by %q, want %v", found, name, uid)
	}
	changed := c.ModifyAttribute(uid, ovh.AttributeNameName, ovh.Name{NameValue: name + " neu", NameType: ovh.NameTypeUninterpretedTextString}).MustExec()
	if got, ok := changed.Attribute.AttributeValue.(ovh.Name); !ok || got.NameValue != name+" neu" || changed.UniqueIdentifier != uid {
		t.Errorf("Modify Attribute answered %+v", changed)
	}
	c.ModifyAttribute(uid, "x-größe", "groß").WithIndex(1).MustExec()
	gone := c.DeleteAttribute(uid, "x-größe").WithIndex(0).MustExec()
	if !strings.Contains(fmt.Sprint(gone.Attribute.AttributeValue), "klein") {
		t.Errorf("Delete Attribute answered %+v", gone)
	}
	left := c.GetAttributes(uid, "x-größe").MustExec().Attribute
	if len(left) != 1 || !strings.Contains(fmt.Sprint(left[0].AttributeValue), "groß") || left[0].AttributeIndex == nil || *left[0].AttributeIndex != 1 {
		t.Errorf("x-größe is %+v, want groß at index 1", left)
	}
	_, err := c.ModifyAttribute(uid, ovh.AttributeNameState, ovh.StateCompromised).Exec()
	ovhReason(t, "modifying the State", err, ovh.ResultReasonPermissionDenied)
	_, err = c.DeleteAttribute(uid, "x-none").Exec()
	ovhReason(t, "deleting what is not there", err, ovh.ResultReasonItemNotFound)
}

// ovhMetered lets four clients race for 100 units.
func ovhMetered(t *testing.T, s *server, v ovh.ProtocolVersion, uid string) {
	t.Helper()
	c := dialOVH(t, s, v)
	c.AddAttribute(uid, ovh.AttributeNameUsageLimits, ovh.UsageLimits{UsageLimitsTotal: 100, UsageLimitsUnit: ovh.UsageLimitsUnitObject}).MustExec()
	var granted atomic.Int64
	var all sync.WaitGroup
	for range 4 {
		racer := dialOVH(t, s, v)
		all.Go(func() {
			for range 20 {
				if _, err := racer.GetUsageAllocation(uid, 3).Exec(); err == nil {
					granted.Add(3)
				}
			}
		})
	}
	all.Wait()
	if granted.Load() != 99 {
		t.Errorf("%d units of 100 were granted in threes", granted.Load())
	}
	_, err := c.GetUsageAllocation(uid, 2).Exec()
	ovhReason(t, "more than is left", err, ovh.ResultReasonPermissionDenied)
	lease := c.ObtainLease(uid).MustExec()
	if lease.LeaseTime <= 0 || time.Since(lease.LastChangeDate) > time.Hour {
		t.Errorf("the lease is %+v", lease)
	}
}

func ovhArchived(t *testing.T, c *kmipclient.Client, uid, name string) {
	t.Helper()
	c.Archive(uid).MustExec()
	_, err := c.Get(uid).Exec()
	ovhReason(t, "getting what is archived", err, ovh.ResultReasonObjectArchived)
	if found := c.Locate().WithName(name).MustExec().UniqueIdentifier; len(found) != 0 {
		t.Errorf("located %v on-line, which is archived", found)
	}
	if found := c.Locate().WithName(name).WithStorageStatusMask(ovh.StorageStatusArchivalStorage).MustExec().UniqueIdentifier; !slices.Equal(found, []string{uid}) {
		t.Errorf("located %v in the archive", found)
	}
	c.Recover(uid).MustExec()
	ovhKey(t, c, uid)
}

// ovhAsynchronous says that it can wait. The client has no Poll; it reads the
// answer that it would poll for.
func ovhAsynchronous(t *testing.T, c *kmipclient.Client, v ovh.ProtocolVersion) {
	t.Helper()
	wait := true
	m := ovh.NewRequestMessage(v, &payloads.LocateRequestPayload{})
	m.Header.AsynchronousIndicator = &wait
	answer, err := c.Roundtrip(t.Context(), &m)
	if err != nil {
		t.Fatal(err)
	}
	it := answer.BatchItem[0]
	if it.ResultStatus != ovh.ResultStatusOperationPending || len(it.AsynchronousCorrelationValue) == 0 {
		t.Errorf("the answer is %v with the value %x", it.ResultStatus, it.AsynchronousCorrelationValue)
	}
}

// ovhReason wants a refusal for that reason.
func ovhReason(t *testing.T, what string, err error, want ovh.ResultReason) {
	t.Helper()
	if err == nil {
		t.Errorf("%s succeeded", what)
		return
	}
	if reason := ttlv.EnumStr(want); !strings.Contains(err.Error(), reason) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

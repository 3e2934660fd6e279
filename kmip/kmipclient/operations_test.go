package kmipclient_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/gemalto/kmip-go/kmip14"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/kmipclient"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

const key = "planted-key-material-0123456789a"

var sameValue = cmp.Options{
	cmp.Comparer(func(a, b ttlv.Item) bool { return bytes.Equal(a.Raw(), b.Raw()) }),
	cmpopts.EquateEmpty(),
	cmpopts.IgnoreFields(kmip.TemplateAttribute{}, "Present"),
}

// Each method: what it asks, and what it makes of the answer.
func TestOperations(t *testing.T) {
	u := []byte("u")
	state := kmip.EnumerationAttribute("State", kmip14.StateActive)
	aes := []kmip.Attribute{
		kmip.EnumerationAttribute("Cryptographic Algorithm", kmip14.CryptographicAlgorithmAES),
		kmip.IntegerAttribute("Cryptographic Usage Mask", 0x0C),
		kmip.IntegerAttribute("Cryptographic Length", 256),
	}
	named := append(append([]kmip.Attribute{}, aes...), kmip.NameAttribute("n"), kmip.TextAttribute("x-a", "v"))
	var secretData ttlv.Writer
	kmip.WriteSecretData(&secretData, kmip14.SecretDataTypePassword, kmip14.KeyFormatTypeOpaque, []byte(key))
	secretObject, _ := ttlv.Parse(secretData.Bytes())
	var opaqueObject ttlv.Writer
	m := opaqueObject.Begin(kmip14.TagOpaqueObject)
	opaqueObject.Enumeration(kmip14.TagOpaqueDataType, 0x80000001)
	opaqueObject.ByteString(kmip14.TagOpaqueDataValue, []byte(key))
	opaqueObject.End(m)
	opaque, _ := ttlv.Parse(opaqueObject.Bytes())
	for _, tc := range []struct {
		name   string
		call   func(ctx context.Context, c *kmipclient.Client) (any, error)
		op     kmip14.Operation
		asks   kmip.Payload
		answer kmip.Payload
		want   any
	}{
		{"discover versions", func(ctx context.Context, c *kmipclient.Client) (any, error) { return c.DiscoverVersions(ctx) },
			kmip14.OperationDiscoverVersions, &kmip.DiscoverVersionsRequest{}, &kmip.DiscoverVersionsResponse{Versions: []kmip.Version{{Major: 2}, kmip.V1_4}}, []kmip.Version{{Major: 2}, kmip.V1_4}},
		{"query", func(ctx context.Context, c *kmipclient.Client) (any, error) {
			q, err := c.Query(ctx, kmip14.QueryFunctionQueryServerInformation)
			return string(q.VendorIdentification), err
		}, kmip14.OperationQuery, &kmip.QueryRequest{Functions: []kmip14.QueryFunction{3}}, &kmip.QueryResponse{VendorIdentification: []byte("v")}, "v"},
		{"create", func(ctx context.Context, c *kmipclient.Client) (any, error) {
			return c.Create(ctx, kmipclient.CreateOptions{})
		}, kmip14.OperationCreate, &kmip.CreateRequest{ObjectType: 2, Template: kmip.TemplateAttribute{Attributes: aes}}, &kmip.CreateResponse{ObjectType: 2, UniqueIdentifier: u}, "u"},
		{"create with more", func(ctx context.Context, c *kmipclient.Client) (any, error) {
			return c.Create(ctx, kmipclient.CreateOptions{Name: "n", Attributes: []kmip.Attribute{kmip.TextAttribute("x-a", "v")}})
		}, kmip14.OperationCreate, &kmip.CreateRequest{ObjectType: 2, Template: kmip.TemplateAttribute{Attributes: named}}, &kmip.CreateResponse{ObjectType: 2, UniqueIdentifier: u}, "u"},
		{"register", func(ctx context.Context, c *kmipclient.Client) (any, error) {
			return c.Register(ctx, kmipclient.RegisterOptions{Material: secret.Own([]byte(key))})
		}, kmip14.OperationRegister, &kmip.RegisterRequest{ObjectType: 2, Template: kmip.TemplateAttribute{Attributes: aes}, Object: object(t, key)}, &kmip.RegisterResponse{UniqueIdentifier: u}, "u"},
		{"register secret data", func(ctx context.Context, c *kmipclient.Client) (any, error) {
			return c.Register(ctx, kmipclient.RegisterOptions{Material: secret.Own([]byte(key)), SecretType: kmip14.SecretDataTypePassword, CreateOptions: kmipclient.CreateOptions{Name: "n"}})
		}, kmip14.OperationRegister, &kmip.RegisterRequest{ObjectType: kmip14.ObjectTypeSecretData, Object: secretObject,
			Template: kmip.TemplateAttribute{Attributes: []kmip.Attribute{kmip.IntegerAttribute("Cryptographic Usage Mask", 0), kmip.NameAttribute("n")}}}, &kmip.RegisterResponse{UniqueIdentifier: u}, "u"},
		{"register opaque", func(ctx context.Context, c *kmipclient.Client) (any, error) {
			return c.RegisterOpaque(ctx, 0x80000001, secret.Own([]byte(key)), kmip.NameAttribute("n"))
		}, kmip14.OperationRegister, &kmip.RegisterRequest{ObjectType: kmip14.ObjectTypeOpaqueObject, Object: opaque,
			Template: kmip.TemplateAttribute{Attributes: []kmip.Attribute{kmip.NameAttribute("n")}}}, &kmip.RegisterResponse{UniqueIdentifier: u}, "u"},
		{"get opaque", func(ctx context.Context, c *kmipclient.Client) (any, error) {
			k, err := c.Get(ctx, "u")
			return string(k.Expose()), err
		}, kmip14.OperationGet, &kmip.GetRequest{UniqueIdentifier: u}, &kmip.GetResponse{ObjectType: kmip14.ObjectTypeOpaqueObject, UniqueIdentifier: u, Object: opaque}, key},
		{"re-key", func(ctx context.Context, c *kmipclient.Client) (any, error) {
			return c.ReKey(ctx, kmip.ReKeyRequest{UniqueIdentifier: u, HasOffset: true})
		}, kmip14.OperationReKey, &kmip.ReKeyRequest{UniqueIdentifier: u, HasOffset: true}, &kmip.ReKeyResponse{UniqueIdentifier: []byte("v")}, "v"},
		{"get", func(ctx context.Context, c *kmipclient.Client) (any, error) {
			k, err := c.Get(ctx, "u")
			return string(k.Expose()), err
		}, kmip14.OperationGet, &kmip.GetRequest{UniqueIdentifier: u}, &kmip.GetResponse{ObjectType: 2, UniqueIdentifier: u, Object: object(t, key)}, key},
		{"get in a format", func(ctx context.Context, c *kmipclient.Client) (any, error) {
			o, err := c.GetObject(ctx, kmip.GetRequest{KeyFormatType: kmip14.KeyFormatTypeRaw})
			return fmt.Sprintln(o.Type, o.UniqueIdentifier, o.KeyFormatType, o.CryptographicAlgorithm, o.CryptographicLength, o.Material.Len(), o), err
		}, kmip14.OperationGet, &kmip.GetRequest{KeyFormatType: 1}, &kmip.GetResponse{ObjectType: 2, UniqueIdentifier: u, Object: object(t, key)},
			"SymmetricKey u Raw AES 256 32 &{SymmetricKey u Raw AES 256 [redacted]}\n"},
		{"get attributes", func(ctx context.Context, c *kmipclient.Client) (any, error) {
			return c.GetAttributes(ctx, "u", "State", "x-a")
		}, kmip14.OperationGetAttributes, &kmip.GetAttributesRequest{UniqueIdentifier: u, Names: [][]byte{[]byte("State"), []byte("x-a")}}, &kmip.GetAttributesResponse{UniqueIdentifier: u, Attributes: []kmip.Attribute{state}}, []kmip.Attribute{state}},
		{"state", func(ctx context.Context, c *kmipclient.Client) (any, error) { return c.State(ctx, "u") },
			kmip14.OperationGetAttributes, &kmip.GetAttributesRequest{UniqueIdentifier: u, Names: [][]byte{[]byte("State")}}, &kmip.GetAttributesResponse{UniqueIdentifier: u, Attributes: []kmip.Attribute{state}}, kmip14.StateActive},
		{"state of an object without", func(ctx context.Context, c *kmipclient.Client) (any, error) { return c.State(ctx, "u") },
			kmip14.OperationGetAttributes, &kmip.GetAttributesRequest{UniqueIdentifier: u, Names: [][]byte{[]byte("State")}}, &kmip.GetAttributesResponse{UniqueIdentifier: u}, kmip14.State(0)},
		{"get attribute list", func(ctx context.Context, c *kmipclient.Client) (any, error) { return c.GetAttributeList(ctx, "u") },
			kmip14.OperationGetAttributeList, &kmip.GetAttributeListRequest{UniqueIdentifier: u}, &kmip.GetAttributeListResponse{UniqueIdentifier: u, Names: [][]byte{[]byte("State")}}, []string{"State"}},
		{"add attribute", func(ctx context.Context, c *kmipclient.Client) (any, error) {
			return c.AddAttribute(ctx, "u", kmip.TextAttribute("x-a", "v"))
		}, kmip14.OperationAddAttribute, &kmip.AddAttributeRequest{UniqueIdentifier: u, Attribute: kmip.TextAttribute("x-a", "v")},
			&kmip.AddAttributeResponse{UniqueIdentifier: u, Attribute: kmip.TextAttribute("x-a", "v")}, kmip.TextAttribute("x-a", "v")},
		{"modify attribute", func(ctx context.Context, c *kmipclient.Client) (any, error) {
			return c.ModifyAttribute(ctx, "u", kmip.TextAttribute("x-a", "w"))
		}, kmip14.OperationModifyAttribute, &kmip.ModifyAttributeRequest{UniqueIdentifier: u, Attribute: kmip.TextAttribute("x-a", "w")},
			&kmip.ModifyAttributeResponse{UniqueIdentifier: u, Attribute: kmip.TextAttribute("x-a", "w")}, kmip.TextAttribute("x-a", "w")},
		{"delete attribute", func(ctx context.Context, c *kmipclient.Client) (any, error) {
			return c.DeleteAttribute(ctx, "u", "x-a", 2)
		},
			kmip14.OperationDeleteAttribute, &kmip.DeleteAttributeRequest{UniqueIdentifier: u, Name: []byte("x-a"), Index: 2, HasIndex: true},
			&kmip.DeleteAttributeResponse{UniqueIdentifier: u, Attribute: kmip.TextAttribute("x-a", "w")}, kmip.TextAttribute("x-a", "w")},
		{"check", func(ctx context.Context, c *kmipclient.Client) (any, error) {
			denied, err := c.Check(ctx, kmip.CheckRequest{UniqueIdentifier: u, UsageLimitsCount: 7, HasUsageLimitsCount: true})
			return denied.Denied(), err
		}, kmip14.OperationCheck, &kmip.CheckRequest{UniqueIdentifier: u, UsageLimitsCount: 7, HasUsageLimitsCount: true}, &kmip.CheckResponse{UniqueIdentifier: u}, false},
		{"obtain lease", func(ctx context.Context, c *kmipclient.Client) (any, error) { return c.ObtainLease(ctx, "u") },
			kmip14.OperationObtainLease, &kmip.ObtainLeaseRequest{UniqueIdentifier: u}, &kmip.ObtainLeaseResponse{UniqueIdentifier: u, LeaseTime: 5, LastChangeDate: 6}, kmipclient.Lease{Seconds: 5, LastChange: 6}},
		{"get usage allocation", func(ctx context.Context, c *kmipclient.Client) (any, error) {
			return nil, c.GetUsageAllocation(ctx, "u", 5)
		},
			kmip14.OperationGetUsageAllocation, &kmip.GetUsageAllocationRequest{UniqueIdentifier: u, UsageLimitsCount: 5}, &kmip.GetUsageAllocationResponse{UniqueIdentifier: u}, nil},
		{"archive", func(ctx context.Context, c *kmipclient.Client) (any, error) { return nil, c.Archive(ctx, "u") },
			kmip14.OperationArchive, &kmip.ArchiveRequest{UniqueIdentifier: u}, &kmip.ArchiveResponse{UniqueIdentifier: u}, nil},
		{"recover", func(ctx context.Context, c *kmipclient.Client) (any, error) { return nil, c.Recover(ctx, "u") },
			kmip14.OperationRecover, &kmip.RecoverRequest{UniqueIdentifier: u}, &kmip.RecoverResponse{UniqueIdentifier: u}, nil},
		{"cancel", func(ctx context.Context, c *kmipclient.Client) (any, error) { return c.Cancel(ctx, u) },
			kmip14.OperationCancel, &kmip.CancelRequest{AsynchronousCorrelationValue: u}, &kmip.CancelResponse{AsynchronousCorrelationValue: u, Result: 1}, kmip14.CancellationResultCanceled},
		{"activate", func(ctx context.Context, c *kmipclient.Client) (any, error) { return nil, c.Activate(ctx, "u") },
			kmip14.OperationActivate, &kmip.ActivateRequest{UniqueIdentifier: u}, &kmip.ActivateResponse{UniqueIdentifier: u}, nil},
		{"destroy", func(ctx context.Context, c *kmipclient.Client) (any, error) { return nil, c.Destroy(ctx, "u") },
			kmip14.OperationDestroy, &kmip.DestroyRequest{UniqueIdentifier: u}, &kmip.DestroyResponse{UniqueIdentifier: u}, nil},
		{"revoke", func(ctx context.Context, c *kmipclient.Client) (any, error) {
			return nil, c.Revoke(ctx, "u", kmip14.RevocationReasonCodeKeyCompromise, "lost", 7)
		}, kmip14.OperationRevoke, &kmip.RevokeRequest{UniqueIdentifier: u, Reason: kmip.RevocationReason{Code: 2, Message: []byte("lost")}, CompromiseOccurrenceDate: 7, HasCompromiseOccurrenceDate: true}, &kmip.RevokeResponse{UniqueIdentifier: u}, nil},
		{"revoke for no compromise", func(ctx context.Context, c *kmipclient.Client) (any, error) {
			return nil, c.Revoke(ctx, "u", kmip14.RevocationReasonCodeSuperseded, "", 0)
		}, kmip14.OperationRevoke, &kmip.RevokeRequest{UniqueIdentifier: u, Reason: kmip.RevocationReason{Code: 5}}, &kmip.RevokeResponse{UniqueIdentifier: u}, nil},
		{"locate", func(ctx context.Context, c *kmipclient.Client) (any, error) {
			return c.Locate(ctx, kmip.NameAttribute("n"))
		},
			kmip14.OperationLocate, &kmip.LocateRequest{Attributes: []kmip.Attribute{kmip.NameAttribute("n")}}, &kmip.LocateResponse{UniqueIdentifiers: [][]byte{u, []byte("v")}}, []string{"u", "v"}},
		{"locate a page", func(ctx context.Context, c *kmipclient.Client) (any, error) {
			ids, total, err := c.LocatePage(ctx, kmip.LocateRequest{MaximumItems: 1, HasMaximumItems: true})
			return fmt.Sprint(ids, total), err
		}, kmip14.OperationLocate, &kmip.LocateRequest{MaximumItems: 1, HasMaximumItems: true}, &kmip.LocateResponse{LocatedItems: 9, HasLocatedItems: true, UniqueIdentifiers: [][]byte{u}}, "[u] 9"},
		{"locate without total", func(ctx context.Context, c *kmipclient.Client) (any, error) {
			_, total, err := c.LocatePage(ctx, kmip.LocateRequest{})
			return total, err
		}, kmip14.OperationLocate, &kmip.LocateRequest{}, &kmip.LocateResponse{}, -1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := dial(t, operations(t, func(m *kmip.RequestMessage, it *kmip.RequestItem, w *kmip.ResponseWriter) {
				asked := reflect.New(reflect.TypeOf(tc.asks).Elem()).Interface().(kmip.Payload)
				if err := asked.Decode(it.Payload, m.Header.Version); err != nil || it.Operation != tc.op || it.ID != nil {
					t.Errorf("asked for %v with id %x: %v", it.Operation, it.ID, err)
				}
				if diff := cmp.Diff(tc.asks, asked, sameValue); diff != "" {
					t.Errorf("asked (-want +got):\n%s", diff)
				}
				succeed(w, m, it, tc.answer)
			}))
			got, err := tc.call(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got, sameValue); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestOperationsReportTheServersRefusal(t *testing.T) {
	c := dial(t, operations(t, func(_ *kmip.RequestMessage, it *kmip.RequestItem, w *kmip.ResponseWriter) {
		w.FailItem(it.Operation, it.ID, kmip.NewError(kmip14.ResultReasonItemNotFound, "no such object"))
	}))
	ctx := t.Context()
	_, e1 := c.Create(ctx, kmipclient.CreateOptions{})
	_, e2 := c.Register(ctx, kmipclient.RegisterOptions{Material: secret.Own([]byte("k"))})
	_, e3 := c.Get(ctx, "u")
	_, e4 := c.GetAttributes(ctx, "u")
	_, e5 := c.GetAttributeList(ctx, "u")
	_, e6 := c.AddAttribute(ctx, "u", kmip.TextAttribute("x-a", ""))
	_, e7 := c.Locate(ctx)
	_, e8 := c.DiscoverVersions(ctx)
	_, e9 := c.Query(ctx, 1)
	_, e10 := c.State(ctx, "u")
	_, e11 := c.ModifyAttribute(ctx, "u", kmip.TextAttribute("x-a", ""))
	_, e12 := c.DeleteAttribute(ctx, "u", "x-a", 0)
	_, e13 := c.Check(ctx, kmip.CheckRequest{})
	_, e14 := c.ObtainLease(ctx, "u")
	for i, err := range []error{e1, e2, e3, e4, e5, e6, e7, e8, e9, e10, e11, e12, e13, e14, c.GetUsageAllocation(ctx, "u", 1), c.Archive(ctx, "u"), c.Recover(ctx, "u"), c.Activate(ctx, "u"), c.Destroy(ctx, "u"), c.Revoke(ctx, "u", 1, "", 0)} {
		var re *kmipclient.ResultError
		if !errors.As(err, &re) || re.Reason != kmip14.ResultReasonItemNotFound || re.Status != kmip14.ResultStatusOperationFailed || re.Operation == 0 {
			t.Errorf("call %d: %v", i, err)
		}
	}
	if want := `Get: OperationFailed, ItemNotFound: "no such object"`; e3.Error() != want {
		t.Errorf("%q, want %q", e3, want)
	}
}

// What a use was denied for comes with the refusal.
func TestCheckSaysWhatWasDenied(t *testing.T) {
	c := dial(t, operations(t, func(_ *kmip.RequestMessage, it *kmip.RequestItem, w *kmip.ResponseWriter) {
		denial := kmip.NewError(kmip14.ResultReasonPermissionDenied, "not so long")
		denial.Payload = &kmip.CheckResponse{LeaseTime: 9, HasLeaseTime: true}
		w.FailItem(it.Operation, it.ID, denial)
	}))
	denied, err := c.Check(t.Context(), kmip.CheckRequest{UniqueIdentifier: []byte("u"), LeaseTime: 9, HasLeaseTime: true, CryptographicUsageMask: 4, HasCryptographicUsageMask: true})
	var refusal *kmipclient.ResultError
	if !errors.As(err, &refusal) || refusal.Reason != kmip14.ResultReasonPermissionDenied {
		t.Errorf("error %v", err)
	}
	if !denied.HasLeaseTime || denied.LeaseTime != 9 || denied.HasCryptographicUsageMask {
		t.Errorf("denied because of %+v", denied)
	}
}

// A pending operation, and the answer to its Poll, which is about another
// operation than was asked for.
func TestPoll(t *testing.T) {
	c := dial(t, operations(t, func(m *kmip.RequestMessage, it *kmip.RequestItem, w *kmip.ResponseWriter) {
		switch it.Operation {
		case kmip14.OperationArchive:
			if !m.Header.Asynchronous {
				t.Error("the request does not say that the client can wait")
			}
			w.PendingItem(it.Operation, it.ID, []byte("value"))
		case kmip14.OperationPoll:
			w.BeginItem(kmip14.OperationArchive, it.ID).TextString(kmip14.TagUniqueIdentifier, "u")
			w.EndItem()
		}
	}))
	asked := kmipclient.Item{Operation: kmip14.OperationArchive, Request: &kmip.ArchiveRequest{UniqueIdentifier: []byte("u")}}
	r, err := c.Batch(t.Context(), kmipclient.Options{Asynchronous: true}, asked)
	if err != nil || !r.Results[0].Pending() || string(r.Results[0].AsynchronousCorrelationValue) != "value" {
		t.Fatalf("got %+v, %v", r, err)
	}
	r, err = c.Poll(t.Context(), r.Results[0].AsynchronousCorrelationValue)
	var out kmip.ArchiveResponse
	if err != nil || r.Results[0].Pending() || r.Results[0].Decode(&out) != nil || string(out.UniqueIdentifier) != "u" {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestRegisterNeedsMaterial(t *testing.T) {
	c := dial(t, func([]byte) []byte { t.Error("a request was sent"); return nil })
	if _, err := c.Register(t.Context(), kmipclient.RegisterOptions{}); err == nil {
		t.Error("nothing was registered, and no error said so")
	}
}

// A key that is no plain bytes is an error and not an empty key.
func TestGetRefusesWhatIsNoPlainKey(t *testing.T) {
	wrapped := func() ttlv.Item {
		var w ttlv.Writer
		o := w.Begin(kmip14.TagSymmetricKey)
		b := w.Begin(kmip14.TagKeyBlock)
		w.Enumeration(kmip14.TagKeyFormatType, 1)
		w.ByteString(kmip14.TagKeyValue, []byte(key))
		d := w.Begin(kmip14.TagKeyWrappingData)
		w.Enumeration(kmip14.TagWrappingMethod, 1)
		w.End(d)
		w.End(b)
		w.End(o)
		it, _ := ttlv.Parse(w.Bytes())
		return it
	}()
	var bare ttlv.Writer
	bare.End(bare.Begin(kmip14.TagSymmetricKey))
	empty, _ := ttlv.Parse(bare.Bytes())
	for name, it := range map[string]ttlv.Item{"wrapped": wrapped, "no key block": empty} {
		c := dial(t, operations(t, func(m *kmip.RequestMessage, ri *kmip.RequestItem, w *kmip.ResponseWriter) {
			succeed(w, m, ri, &kmip.GetResponse{ObjectType: 2, UniqueIdentifier: []byte("u"), Object: it})
		}))
		got, err := c.Get(t.Context(), "u")
		if err == nil || got != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		if err != nil && bytes.Contains([]byte(err.Error()), []byte(key[:8])) {
			t.Errorf("%s: the error shows the key", name)
		}
	}
}

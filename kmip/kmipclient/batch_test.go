package kmipclient_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/kmipclient"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// A server may answer the items of a batch in any order.
func TestBatchFindsResultsByID(t *testing.T) {
	backwards := func(raw []byte) []byte {
		var m kmip.RequestMessage
		if err := kmip.ParseRequest(raw, &m); err != nil {
			t.Errorf("the client sent: %v", err)
			return nil
		}
		if m.Header.ErrorContinuation != kmip14.BatchErrorContinuationOptionContinue || !m.Header.BatchOrder || m.Header.MaximumResponseSize != 4096 || string(m.Header.ClientCorrelationValue) != "c" {
			t.Errorf("header %+v", m.Header)
		}
		if !m.Items[2].Extension.Present() || !m.Items[2].Extension.Critical {
			t.Error("the extension was not sent")
		}
		var w kmip.ResponseWriter
		w.Begin(nil, &kmip.ResponseHeader{Version: m.Header.Version, ClientCorrelationValue: m.Header.ClientCorrelationValue})
		for _, it := range slices.Backward(m.Items) {
			var p kmip.ActivateRequest
			if err := p.Decode(it.Payload, m.Header.Version); err != nil {
				t.Error(err)
			}
			if string(p.UniqueIdentifier) == "second" {
				w.FailItem(it.Operation, it.ID, kmip.NewError(kmip14.ResultReasonPermissionDenied, "no"))
				continue
			}
			succeed(&w, &m, &it, &kmip.ActivateResponse{UniqueIdentifier: p.UniqueIdentifier})
		}
		return w.End()
	}
	c := dial(t, backwards)
	item := func(uid string) kmipclient.Item {
		return kmipclient.Item{Operation: kmip14.OperationActivate, Request: &kmip.ActivateRequest{UniqueIdentifier: []byte(uid)}}
	}
	third := item("third")
	third.ID = []byte("mine")
	third.Extension = &kmip.MessageExtension{VendorIdentification: []byte("Acme"), Critical: true, VendorExtension: extension(t)}
	r, err := c.Batch(t.Context(), kmipclient.Options{ErrorContinuation: kmip14.BatchErrorContinuationOptionContinue, BatchOrder: true, MaximumResponseSize: 4096, CorrelationValue: "c"},
		item("first"), item("second"), third)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"first", "", "third"} {
		var p kmip.ActivateResponse
		err := r.Results[i].Decode(&p)
		if want == "" {
			var re *kmipclient.ResultError
			if !errors.As(err, &re) || re.Reason != kmip14.ResultReasonPermissionDenied {
				t.Errorf("item %d: %v", i, err)
			}
		} else if err != nil || string(p.UniqueIdentifier) != want {
			t.Errorf("item %d: %q, %v", i, p.UniqueIdentifier, err)
		}
	}
	if string(r.Results[2].ID) != "mine" || string(r.Header.ClientCorrelationValue) != "c" {
		t.Errorf("id %q, correlation %q", r.Results[2].ID, r.Header.ClientCorrelationValue)
	}
}

func extension(t *testing.T) ttlv.Item {
	t.Helper()
	var w ttlv.Writer
	w.End(w.Begin(kmip14.TagVendorExtension))
	it, err := ttlv.Parse(w.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return it
}

// answered is a script that writes what write does, whatever was asked.
func answered(t *testing.T, write func(m *kmip.RequestMessage, w *kmip.ResponseWriter)) script {
	return func(raw []byte) []byte {
		var m kmip.RequestMessage
		if err := kmip.ParseRequest(raw, &m); err != nil {
			t.Errorf("the client sent: %v", err)
			return nil
		}
		var w kmip.ResponseWriter
		w.Begin(nil, &kmip.ResponseHeader{Version: m.Header.Version})
		write(&m, &w)
		return w.End()
	}
}

func TestBatchThatStopped(t *testing.T) {
	c := dial(t, answered(t, func(m *kmip.RequestMessage, w *kmip.ResponseWriter) {
		w.FailItem(m.Items[0].Operation, m.Items[0].ID, kmip.NewError(kmip14.ResultReasonItemNotFound, ""))
	}))
	get := kmipclient.Item{Operation: kmip14.OperationGet}
	r, err := c.Batch(t.Context(), kmipclient.Options{}, get, get)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Results[0].Err(); err == nil || errors.Is(err, kmipclient.ErrNotAnswered) {
		t.Errorf("first: %v", err)
	}
	if err := r.Results[1].Err(); !errors.Is(err, kmipclient.ErrNotAnswered) {
		t.Errorf("second: %v", err)
	}
}

func TestBatchRefuses(t *testing.T) {
	get := kmipclient.Item{Operation: kmip14.OperationGet}
	c := dial(t, answered(t, func(_ *kmip.RequestMessage, w *kmip.ResponseWriter) {
		w.FailItem(0, nil, kmip.NewError(kmip14.ResultReasonInvalidMessage, "cannot be read"))
	}))
	var re *kmipclient.ResultError
	_, err := c.Batch(t.Context(), kmipclient.Options{}, get)
	if !errors.As(err, &re) || re.Operation != 0 || err.Error() != `the request: OperationFailed, InvalidMessage: "cannot be read"` {
		t.Errorf("a message refused as a whole: %v", err)
	}
	if _, err := c.Batch(t.Context(), kmipclient.Options{}); err == nil {
		t.Error("a batch without items was sent")
	}
	other := dial(t, answered(t, func(m *kmip.RequestMessage, w *kmip.ResponseWriter) {
		succeed(w, m, &kmip.RequestItem{Operation: kmip14.OperationDestroy}, &kmip.DestroyResponse{UniqueIdentifier: []byte("u")})
	}))
	if _, err := other.Batch(t.Context(), kmipclient.Options{}, get); err == nil {
		t.Error("an answer about another operation was taken")
	}
	bare := dial(t, answered(t, func(m *kmip.RequestMessage, w *kmip.ResponseWriter) {
		w.FailItemStatus(m.Items[0].Operation, nil, kmip14.ResultStatusSuccess, 0, "")
	}))
	if _, err := bare.Get(t.Context(), "u"); err == nil {
		t.Error("a success without payload was taken")
	}
}

func TestClearReachesTheViews(t *testing.T) {
	c := dial(t, operations(t, func(m *kmip.RequestMessage, it *kmip.RequestItem, w *kmip.ResponseWriter) {
		succeed(w, m, it, &kmip.GetResponse{ObjectType: 2, UniqueIdentifier: []byte("u"), Object: object(t, key)})
	}))
	r, err := c.Batch(t.Context(), kmipclient.Options{}, kmipclient.Item{Operation: kmip14.OperationGet})
	if err != nil {
		t.Fatal(err)
	}
	var p kmip.GetResponse
	if err := r.Results[0].Decode(&p); err != nil {
		t.Fatal(err)
	}
	view := p.Object.Raw()
	if !bytes.Contains(view, []byte(key)) {
		t.Fatal("there is no key to clear")
	}
	r.Clear()
	if !bytes.Equal(view, make([]byte, len(view))) {
		t.Error("Clear left bytes of the answer behind")
	}
	(*kmipclient.Response)(nil).Clear()
}

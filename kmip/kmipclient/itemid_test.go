package kmipclient_test

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/kmipclient"
)

// A client of the caller's making names its items as the peer that it stands
// for does, reaches the server its own way, and adds attributes in one message.
func TestItemIDsDialAndAddAttributes(t *testing.T) {
	var messages []string
	note := func(raw []byte) []byte {
		var m kmip.RequestMessage
		if err := kmip.ParseRequest(raw, &m); err != nil {
			t.Errorf("the client sent: %v", err)
			return nil
		}
		var w kmip.ResponseWriter
		w.Begin(nil, &kmip.ResponseHeader{Version: m.Header.Version})
		var ids []string
		for _, it := range m.Items {
			ids = append(ids, it.Operation.String()+" "+string(it.ID))
			var p kmip.AddAttributeRequest
			switch {
			case it.Operation == kmip14.OperationActivate:
				succeed(&w, &m, &it, &kmip.ActivateResponse{UniqueIdentifier: []byte("uid")})
			case p.Decode(it.Payload, m.Header.Version) != nil || string(p.Attribute.Name) == "x-refused":
				w.FailItem(it.Operation, it.ID, kmip.NewError(kmip14.ResultReasonPermissionDenied, "no"))
			default:
				succeed(&w, &m, &it, &kmip.AddAttributeResponse{UniqueIdentifier: []byte("uid"), Attribute: p.Attribute})
			}
		}
		messages = append(messages, strings.Join(ids, ", "))
		return w.End()
	}
	dialled, given := 0, 0
	c := dial(t, note, func(cfg *kmipclient.Config) {
		cfg.Version = kmip.V1_1
		cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			dialled++
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
		cfg.ItemID = func() []byte {
			if given++; given == 1 {
				return nil
			}
			return []byte{'#', '0' + byte(given)}
		}
	})
	for range 2 {
		if err := c.Activate(t.Context(), "uid"); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.AddAttributes(t.Context(), "uid", kmip.TextAttribute("x-a", "1"), kmip.TextAttribute("x-b", "2")); err != nil {
		t.Fatal(err)
	}
	if err := c.AddAttributes(t.Context(), "uid", kmip.TextAttribute("x-a", "1"), kmip.TextAttribute("x-refused", "2")); err == nil {
		t.Error("an attribute that was refused is no error")
	}
	want := []string{"Activate ", "Activate #2", "AddAttribute #3, AddAttribute #4", "AddAttribute #5, AddAttribute #6"}
	if got := strings.Join(messages, "; "); got != strings.Join(want, "; ") || dialled != 1 {
		t.Errorf("dialled %d times, sent %s", dialled, got)
	}
}

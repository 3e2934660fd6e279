package kmipserver_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/kmipserver"
	"github.com/keyreeve/keyreeve/kmip/kmiptest"
	"github.com/keyreeve/keyreeve/kmip/transcript"
)

// TestResponseSize: the server bounds its answers by itself too; what does not
// fit is not done.
func TestResponseSize(t *testing.T) {
	server, _ := kmiptest.NewServer(t, kmiptest.Options{Limits: kmipserver.Limits{ResponseSize: 800}})
	var items []kmip.RequestItem
	for i := range 10 {
		items = append(items, kmip.RequestItem{Operation: kmip14.OperationDiscoverVersions, ID: []byte{byte(i)}})
	}
	m := parse(t, server.KMIP.Handle(context.Background(), fuzzer, request(kmip.V1_4, items[:2]...), nil))
	if len(m.Items) != 2 || m.Items[1].Status != kmip14.ResultStatusSuccess {
		t.Errorf("two items: %+v", m.Items)
	}
	out := server.KMIP.Handle(context.Background(), fuzzer, request(kmip.V1_4, items...), nil)
	m = parse(t, out)
	if last := m.Items[len(m.Items)-1]; len(m.Items) > 4 || last.Reason != kmip14.ResultReasonResponseTooLarge || len(out) > 800 {
		t.Errorf("ten items: %d bytes\n%s", len(out), transcript.Format(bytes.Clone(out)))
	}
}

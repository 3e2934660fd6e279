package kmipserver_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/kmiptest"
)

// What is no UTF-8 is in no Text String: a Name in another encoding, half a
// character, a surrogate, the long form of a slash. Were it let in, other
// clients could not read the answers that it is in. The connection goes on.
func TestTextThatIsNotUTF8IsRefused(t *testing.T) {
	server, _ := kmiptest.NewServer(t, kmiptest.Options{})
	locate := func(name string) kmip.ResponseItem {
		in := &kmip.LocateRequest{Attributes: []kmip.Attribute{kmip.NameAttribute("placeholder!")}}
		b := request(kmip.V1_1, kmip.RequestItem{Operation: kmip14.OperationLocate, Payload: payloadItem(in, kmip.V1_1)})
		b = bytes.Replace(b, []byte("placeholder!"), []byte(name), 1)
		out := server.KMIP.Handle(context.Background(), alice, b, nil)
		if out == nil {
			t.Fatalf("%q: the connection ends", name)
		}
		m := parse(t, out)
		if len(m.Items) != 1 {
			t.Fatalf("%d items", len(m.Items))
		}
		return m.Items[0]
	}
	for _, name := range []string{"schl\xfcssel-12", "cut-off-\xf0\x9f\x94.", "surrog\xed\xa0\x80ate", "long-form\xc0\xaf.", "\xff\xfe a marker."} {
		if it := locate(name); it.Reason != kmip14.ResultReasonInvalidMessage || it.Operation != 0 {
			t.Errorf("%q: %v %v (%s)", name, it.Operation, it.Reason, it.Message)
		}
	}
	if it := locate("schlüssel-1"); it.Status != kmip14.ResultStatusSuccess {
		t.Errorf("UTF-8: %v (%s)", it.Reason, it.Message)
	}
}

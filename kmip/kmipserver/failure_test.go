package kmipserver_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/kmipserver"
	"github.com/keyreeve/keyreeve/kmip/kmiptest"
	"github.com/keyreeve/keyreeve/kmip/transcript"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// TestFailureOfTheWhole: when the store cannot say that all is durable, every
// item is answered with the failure, also those that had run well, and nothing
// of what they would have said leaves. The log has why.
func TestFailureOfTheWhole(t *testing.T) {
	server, _ := kmiptest.NewServer(t, kmiptest.Options{})
	getRequest(t, server.KMIP, fuzzer)
	items := []kmip.RequestItem{
		{Operation: kmip14.OperationDiscoverVersions, ID: []byte{1}},
		{Operation: kmip14.OperationLocate, ID: []byte{2}},
		{Operation: kmip14.OperationGet, ID: []byte{3}},
		{Operation: 0x2F, ID: []byte{4}},
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	out := server.KMIP.Handle(ended, fuzzer, request(kmip.V1_2, items...), nil)
	m := parse(t, out)
	if m.Header.Version != kmip.V1_2 || len(m.Items) != len(items) {
		t.Fatalf("answer:\n%s", transcript.Format(out))
	}
	for i, it := range m.Items {
		if it.Status != kmip14.ResultStatusOperationFailed || it.Reason != kmip14.ResultReasonGeneralFailure ||
			!it.Payload.IsZero() || it.ID[0] != byte(i+1) {
			t.Errorf("item %d:\n%s", i, transcript.Format(out))
		}
	}
	lines := server.Log.Lines(slog.LevelError)
	if len(lines) == 0 || !strings.Contains(lines[0].Text, "canceled") || !strings.Contains(lines[0].Text, "client=fuzz") {
		t.Errorf("logged %v, expected the reason and the client", lines)
	}
}

// TestNoStoreNoTransaction: what needs no object does not go to the
// store, and so is answered when that would not.
func TestNoStoreNoTransaction(t *testing.T) {
	server, _ := kmiptest.NewServer(t, kmiptest.Options{})
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	m := parse(t, server.KMIP.Handle(ended, fuzzer, request(kmip.V1_4,
		kmip.RequestItem{Operation: kmip14.OperationDiscoverVersions, ID: []byte{1}},
		kmip.RequestItem{Operation: kmip14.OperationDiscoverVersions, ID: []byte{2}}), nil))
	for i, it := range m.Items {
		if it.Status != kmip14.ResultStatusSuccess {
			t.Errorf("item %d failed: %s", i, it.Message)
		}
	}
}

// TestConfiguredLimits: the limits of the configuration hold, and not only the
// defaults.
func TestConfiguredLimits(t *testing.T) {
	discovers := func(n int) []byte {
		var items []kmip.RequestItem
		for i := range n {
			items = append(items, kmip.RequestItem{Operation: kmip14.OperationDiscoverVersions, ID: []byte{byte(i)}})
		}
		return request(kmip.V1_3, items...)
	}
	tests := []struct {
		name    string
		limits  kmipserver.Limits
		request []byte
		good    bool
	}{
		{"64 items by default", kmipserver.Limits{}, discovers(64), true},
		{"65 items by default", kmipserver.Limits{}, discovers(65), false},
		{"2 items of 2", kmipserver.Limits{BatchItems: 2}, discovers(2), true},
		{"3 items of 2", kmipserver.Limits{BatchItems: 2}, discovers(3), false},
		{"a depth of 3 in 3", kmipserver.Limits{Depth: 3}, discovers(1), true},
		{"a depth of 3 in 2", kmipserver.Limits{Depth: 2}, discovers(1), false},
		{"too many TTLV items", kmipserver.Limits{Items: 10}, discovers(2), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server, _ := kmiptest.NewServer(t, kmiptest.Options{Limits: tt.limits})
			m := parse(t, server.KMIP.Handle(context.Background(), fuzzer, tt.request, nil))
			if good := m.Items[0].Status == kmip14.ResultStatusSuccess; good != tt.good {
				t.Errorf("success %v, expected %v: %s", good, tt.good, m.Items[0].Message)
			}
			if m.Header.Version != kmip.V1_3 {
				t.Errorf("answered in %v", m.Header.Version)
			}
		})
	}
}

// TestNothingStaysInThePool: neither the password of a request nor the key of
// an answer is left in a buffer that another connection may get.
func TestNothingStaysInThePool(t *testing.T) {
	server, _ := kmiptest.NewServer(t, kmiptest.Options{})
	c, err := server.Dial(context.Background(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	password := bytes.Repeat([]byte("correct horse "), 20)
	create, err := transcript.ParseMessage(createText, 1)
	if err != nil {
		t.Fatal(err)
	}
	made, err := roundTrip(c, create, nil)
	if err != nil {
		t.Fatal(err)
	}
	m := kmip.RequestMessage{Header: kmip.RequestHeader{Version: kmip.V1_1, Credentials: []kmip.Credential{{
		Type: kmip14.CredentialTypeUsernameAndPassword, Username: []byte("u"), Password: password}}},
		Items: []kmip.RequestItem{{Operation: kmip14.OperationGet, Payload: getPayload(t, made.Find(kmip14.TagUniqueIdentifier).Value())}}}
	var answer kmip.ResponseMessage
	for range 20 {
		answer = exchange(t, c, m.Append(nil))
		wantSuccess(t, answer)
	}
	key := answer.Items[0].Payload.Find(kmip14.TagSymmetricKey).Find(kmip14.TagKeyBlock).Find(kmip14.TagKeyValue).Find(kmip14.TagKeyMaterial).Value()
	if len(key) != 32 {
		t.Fatalf("a key of %d bytes", len(key))
	}
	_ = c.Close()
	if err := server.Shutdown(); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		b := kmipserver.PooledBytes(1024)
		if bytes.Contains(b, key) || bytes.Contains(b, password[:14]) {
			t.Fatal("a pooled buffer has a key or a password in it")
		}
	}
}

func getPayload(t *testing.T, id []byte) ttlv.Item {
	t.Helper()
	var w ttlv.Writer
	mark := w.Begin(kmip14.TagRequestPayload)
	w.Text(kmip14.TagUniqueIdentifier, id)
	w.End(mark)
	it, err := ttlv.Parse(w.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return it
}

// TestHandleWithoutAnswer: what gets no answer on a connection gets none here.
func TestHandleWithoutAnswer(t *testing.T) {
	server, _ := kmiptest.NewServer(t, kmiptest.Options{})
	for _, request := range [][]byte{nil, {}, []byte("GET / HTTP/1.1\r\n\r\n"), discover()[:16], make([]byte, 64)} {
		if out := server.KMIP.Handle(context.Background(), fuzzer, request, nil); out != nil {
			t.Errorf("%x is answered:\n%s", request, transcript.Format(out))
		}
	}
}

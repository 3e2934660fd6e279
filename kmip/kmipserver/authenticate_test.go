package kmipserver_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/kmiptest"
	"github.com/keyreeve/keyreeve/kmip/operations"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// A porter lets in who says "open" as password, as the user of that name, and
// the client itself when nothing is said.
type porter struct{ asked int }

func (p *porter) authenticate(_ context.Context, _ *operations.Principal, credentials []kmip.Credential) (string, error) {
	p.asked++
	if len(credentials) == 0 {
		return "", nil
	}
	name := string(credentials[0].Username)
	if string(credentials[0].Password) != "open" {
		return name, errors.New("the porter says no")
	}
	return name, nil
}

var house = &operations.Principal{Client: "house", Group: "house", Remote: "192.0.2.7:4000"}

// withUser makes a message with a credential out of batch items.
func withUser(v kmip.Version, name, password string, items ...kmip.RequestItem) []byte {
	m := kmip.RequestMessage{Header: kmip.RequestHeader{Version: v}, Items: items}
	if name != "" {
		m.Header.Credentials = []kmip.Credential{{Type: kmip14.CredentialTypeUsernameAndPassword, Username: []byte(name), Password: []byte(password)}}
	}
	return m.Append(nil)
}

// payloadOf is a request payload, encoded.
func payloadOf(t *testing.T, v kmip.Version, p kmip.Payload) ttlv.Item {
	t.Helper()
	var w ttlv.Writer
	m := w.Begin(kmip14.TagRequestPayload)
	p.Encode(&w, v)
	w.End(m)
	it, err := ttlv.Parse(w.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return it
}

func createItem(t *testing.T, v kmip.Version) kmip.RequestItem {
	return kmip.RequestItem{Operation: kmip14.OperationCreate, Payload: payloadOf(t, v, &kmip.CreateRequest{
		ObjectType: kmip14.ObjectTypeSymmetricKey, Template: kmip.TemplateAttribute{Attributes: []kmip.Attribute{
			kmip.EnumerationAttribute("Cryptographic Algorithm", kmip14.CryptographicAlgorithmAES),
			kmip.IntegerAttribute("Cryptographic Length", 256),
			kmip.IntegerAttribute("Cryptographic Usage Mask", 12),
		}}})}
}

// What a request makes is its user's: the same connection, with another user or
// none, is somebody else.
func TestRequestIsItsUsers(t *testing.T) {
	p := new(porter)
	server, _ := kmiptest.NewServer(t, kmiptest.Options{Authenticate: p.authenticate})
	ask := func(user string, item kmip.RequestItem) kmip.ResponseItem {
		t.Helper()
		m := parse(t, server.KMIP.Handle(t.Context(), house, withUser(kmip.V1_2, user, "open", item), nil))
		if len(m.Items) != 1 {
			t.Fatalf("%d items", len(m.Items))
		}
		return m.Items[0]
	}
	made := ask("Fred", createItem(t, kmip.V1_2))
	var created kmip.CreateResponse
	if err := created.Decode(made.Payload, kmip.V1_2); err != nil {
		t.Fatal(err)
	}
	get := kmip.RequestItem{Operation: kmip14.OperationGet, Payload: payloadOf(t, kmip.V1_2, &kmip.GetRequest{UniqueIdentifier: created.UniqueIdentifier})}
	for _, c := range []struct {
		user string
		want kmip14.ResultReason
	}{{"Fred", 0}, {"Barney", kmip14.ResultReasonPermissionDenied}, {"", kmip14.ResultReasonPermissionDenied}, {"Fred", 0}} {
		if got := ask(c.user, get).Reason; got != c.want {
			t.Errorf("Get as %q: %v, want %v", c.user, got, c.want)
		}
	}
}

// A message whose credential is refused is carried out by nobody, and its answer
// is one item without Operation, whatever the message asked and whatever was
// wrong.
func TestRefusedCredential(t *testing.T) {
	p := new(porter)
	server, store := kmiptest.NewServer(t, kmiptest.Options{Authenticate: p.authenticate})
	for _, v := range []kmip.Version{kmip.V1_0, kmip.V1_1, kmip.V1_2, kmip.V1_3, kmip.V1_4} {
		create, query := createItem(t, v), kmip.RequestItem{Operation: kmip14.OperationQuery, Payload: payloadOf(t, v, &kmip.QueryRequest{Functions: []kmip14.QueryFunction{1}})}
		second := create
		create.ID, second.ID = []byte{1}, []byte{2}
		for name, items := range map[string][]kmip.RequestItem{"one": {create}, "a batch": {create, second}, "Query": {query}} {
			m := parse(t, server.KMIP.Handle(t.Context(), house, withUser(v, "Fred", "wrong", items...), nil))
			if m.Header.Version != v || len(m.Items) != 1 {
				t.Fatalf("%v, %s: an answer in %v with %d items", v, name, m.Header.Version, len(m.Items))
			}
			if it := m.Items[0]; it.Operation != 0 || it.ID != nil || it.Status != kmip14.ResultStatusOperationFailed ||
				it.Reason != kmip14.ResultReasonAuthenticationNotSuccessful || strings.Contains(string(it.Message), "porter") {
				t.Errorf("%v, %s: %+v", v, name, it)
			}
		}
	}
	if n := store.Info().Objects; n != 0 {
		t.Errorf("%d objects were made", n)
	}
	if lines := server.Log.Lines(slog.LevelWarn); len(lines) == 0 || !strings.Contains(lines[0].Text, "porter says no") || strings.Contains(lines[0].Text, "wrong") {
		t.Errorf("the log says %v", lines)
	}
}

// Query and Discover Versions need no user (section 6.6), alone or together;
// with an operation on objects beside them the message needs one.
func TestWhoIsAsked(t *testing.T) {
	p := new(porter)
	server, _ := kmiptest.NewServer(t, kmiptest.Options{Authenticate: p.authenticate})
	query := kmip.RequestItem{Operation: kmip14.OperationQuery, ID: []byte{1}, Payload: payloadOf(t, kmip.V1_2, &kmip.QueryRequest{Functions: []kmip14.QueryFunction{1}})}
	versions := kmip.RequestItem{Operation: kmip14.OperationDiscoverVersions, ID: []byte{2}, Payload: payloadOf(t, kmip.V1_2, &kmip.DiscoverVersionsRequest{})}
	create := createItem(t, kmip.V1_2)
	create.ID = []byte{3}
	for _, c := range []struct {
		name  string
		user  string
		items []kmip.RequestItem
		asked int
	}{
		{"Query", "", []kmip.RequestItem{query}, 0},
		{"Query and Discover Versions", "", []kmip.RequestItem{query, versions}, 0},
		{"Query with a user", "Fred", []kmip.RequestItem{query}, 1},
		{"Create", "", []kmip.RequestItem{create}, 1},
		{"Query and Create", "", []kmip.RequestItem{query, create}, 1},
		{"Poll", "", []kmip.RequestItem{{Operation: kmip14.OperationPoll, Payload: payloadOf(t, kmip.V1_2, &kmip.PollRequest{AsynchronousCorrelationValue: []byte("x")})}}, 1},
		{"an operation that is not there", "", []kmip.RequestItem{{Operation: 0x7FFF, Payload: query.Payload}}, 1},
	} {
		before := p.asked
		server.KMIP.Handle(t.Context(), house, withUser(kmip.V1_2, c.user, "open", c.items...), nil)
		if got := p.asked - before; got != c.asked {
			t.Errorf("%s: asked %d times, want %d", c.name, got, c.asked)
		}
	}
}

// When the server ends while a credential waits to be checked, there is no
// answer: neither that it was wrong nor that it was right.
func TestCredentialAtTheEndOfTheServer(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server, _ := kmiptest.NewServer(t, kmiptest.Options{Authenticate: func(ctx context.Context, _ *operations.Principal, _ []kmip.Credential) (string, error) {
		cancel()
		return "", ctx.Err()
	}})
	if out := server.KMIP.Handle(ctx, house, withUser(kmip.V1_2, "Fred", "open", createItem(t, kmip.V1_2)), nil); out != nil {
		t.Errorf("an answer of %d bytes", len(out))
	}
}

package kmipserver_test

import (
	"context"
	"crypto/tls"
	"io"
	"testing"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/kmipserver"
	"github.com/keyreeve/keyreeve/kmip/kmiptest"
	"github.com/keyreeve/keyreeve/kmip/operations"
	"github.com/keyreeve/keyreeve/kmip/transcript"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

const createText = `RequestMessage
  RequestHeader
    ProtocolVersion
      ProtocolVersionMajor Integer 1
      ProtocolVersionMinor Integer 1
    BatchCount Integer 1
  BatchItem
    Operation Enumeration Create
    RequestPayload
      ObjectType Enumeration SymmetricKey
      TemplateAttribute
        Attribute
          AttributeName TextString "Cryptographic Algorithm"
          AttributeValue Enumeration CryptographicAlgorithm.AES
        Attribute
          AttributeName TextString "Cryptographic Usage Mask"
          AttributeValue Integer CryptographicUsageMask.Encrypt|Decrypt
        Attribute
          AttributeName TextString "Cryptographic Length"
          AttributeValue Integer 256
`

const getText = `RequestMessage
  RequestHeader
    ProtocolVersion
      ProtocolVersionMajor Integer 1
      ProtocolVersionMinor Integer 1
    BatchCount Integer 1
  BatchItem
    Operation Enumeration Get
    UniqueBatchItemID ByteString 514c4b4301000000
    RequestPayload
      UniqueIdentifier TextString $id
`

func encode(t testing.TB, text string, v transcript.Values) []byte {
	t.Helper()
	m, err := transcript.ParseMessage(text, 1)
	if err != nil {
		t.Fatal(err)
	}
	b, err := m.Encode(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// getRequest creates a key, fetches it once, so that it is Fresh no more, and
// returns the request that fetches it.
func getRequest(t testing.TB, s *kmipserver.Server, p *operations.Principal) []byte {
	t.Helper()
	m := parse(t, s.Handle(context.Background(), p, encode(t, createText, nil), nil))
	if m.Items[0].Status != kmip14.ResultStatusSuccess {
		t.Fatalf("creating: %s", m.Items[0].Message)
	}
	id, err := m.Items[0].Payload.Find(kmip14.TagUniqueIdentifier).Text()
	if err != nil {
		t.Fatal(err)
	}
	get := encode(t, getText, transcript.Values{"id": id})
	if m := parse(t, s.Handle(context.Background(), p, get, nil)); m.Items[0].Status != kmip14.ResultStatusSuccess {
		t.Fatalf("getting: %s", m.Items[0].Message)
	}
	return get
}

// TestGetAllocations: the way of a Get costs the heap next to nothing.
func TestGetAllocations(t *testing.T) {
	server, _ := kmiptest.NewServer(t, kmiptest.Options{})
	p := &operations.Principal{Client: "a", Group: "a"}
	get, dst := getRequest(t, server.KMIP, p), make([]byte, 0, 1024)
	n := testing.AllocsPerRun(200, func() {
		if out := server.KMIP.Handle(context.Background(), p, get, dst); len(out) < 200 {
			t.Fatal("no key")
		}
	})
	t.Logf("%v allocations", n)
	if n > 4+raceSlack {
		t.Errorf("a Get allocates %v times, expected 4 at most", n)
	}
}

// TestDiscoverVersionsAllocations: what needs no store needs no heap.
func TestDiscoverVersionsAllocations(t *testing.T) {
	server, _ := kmiptest.NewServer(t, kmiptest.Options{})
	request, dst := discover(), make([]byte, 0, 1024)
	if n := testing.AllocsPerRun(200, func() { server.KMIP.Handle(context.Background(), fuzzer, request, dst) }); n > 2+raceSlack {
		t.Errorf("Discover Versions allocates %v times", n)
	}
}

func BenchmarkGet(b *testing.B) {
	server, _ := kmiptest.NewServer(b, kmiptest.Options{})
	p := &operations.Principal{Client: "a", Group: "a"}
	get, dst := getRequest(b, server.KMIP, p), make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		server.KMIP.Handle(context.Background(), p, get, dst)
	}
}

func BenchmarkGetParallel(b *testing.B) {
	server, _ := kmiptest.NewServer(b, kmiptest.Options{})
	p := &operations.Principal{Client: "a", Group: "a"}
	get := getRequest(b, server.KMIP, p)
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		dst := make([]byte, 0, 1024)
		for pb.Next() {
			server.KMIP.Handle(context.Background(), p, get, dst)
		}
	})
}

func BenchmarkDiscoverVersions(b *testing.B) {
	server, _ := kmiptest.NewServer(b, kmiptest.Options{})
	request, dst := discover(), make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		server.KMIP.Handle(context.Background(), fuzzer, request, dst)
	}
}

// BenchmarkTLS measures one request and answer over TLS 1.2 on the loopback,
// both sides in this process.
func BenchmarkTLS(b *testing.B) {
	for _, name := range []string{"discover", "get"} {
		b.Run(name, func(b *testing.B) {
			server, _ := kmiptest.NewServer(b, kmiptest.Options{TLS: func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }})
			request := request(kmip.V1_4, kmip.RequestItem{Operation: kmip14.OperationDiscoverVersions})
			if name == "get" {
				request = getRequest(b, server.KMIP, &operations.Principal{Client: "a", Group: "a"})
			}
			c, err := server.Dial(context.Background(), "a")
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			answer := make([]byte, 4096)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Write(request); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(c, answer[:ttlv.HeaderSize]); err != nil {
					b.Fatal(err)
				}
				_, _, n := ttlv.Header(answer)
				if _, err := io.ReadFull(c, answer[:n]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkHandshake measures a full mutual handshake in TLS 1.2, as vCenter
// does one for every few requests.
func BenchmarkHandshake(b *testing.B) {
	server, _ := kmiptest.NewServer(b, kmiptest.Options{TLS: func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }})
	b.ReportAllocs()
	for b.Loop() {
		c, err := server.Dial(context.Background(), "a")
		if err != nil {
			b.Fatal(err)
		}
		_ = c.Close()
	}
}

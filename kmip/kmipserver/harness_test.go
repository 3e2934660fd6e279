package kmipserver_test

import (
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"

	"github.com/gemalto/kmip-go/kmip14"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/kmipserver"
	"github.com/keyreeve/keyreeve/kmip/kmiptest"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

var home = netip.MustParseAddr("192.0.2.10")

// A rig is a server on a network in memory, for synctest bubbles.
type rig struct {
	*kmiptest.Server
	t        *testing.T
	listener *kmiptest.PipeListener
	registry *prometheus.Registry
}

func newRig(t *testing.T, limits kmipserver.Limits) *rig {
	t.Helper()
	r := &rig{t: t, listener: kmiptest.NewPipeListener(), registry: prometheus.NewRegistry()}
	r.Server, _ = kmiptest.NewServer(t, kmiptest.Options{
		Listener: r.listener, Limits: limits, Metrics: kmipserver.NewMetrics(r.registry),
	})
	return r
}

// raw connects without TLS.
func (r *rig) raw(from netip.Addr) net.Conn {
	r.t.Helper()
	c, err := r.listener.Dial(from)
	if err != nil {
		r.t.Fatalf("connecting: %v", err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	return c
}

// dial connects with TLS, and fails the test if that does not work.
func (r *rig) dial(client string, from netip.Addr, change ...func(*tls.Config)) *tls.Conn {
	r.t.Helper()
	c, err := r.try(client, from, change...)
	if err != nil {
		r.t.Fatalf("handshake as %s: %v", client, err)
	}
	return c
}

func (r *rig) try(client string, from netip.Addr, change ...func(*tls.Config)) (*tls.Conn, error) {
	r.t.Helper()
	config, err := r.Client(client)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range change {
		f(config)
	}
	var raw net.Conn = r.raw(from)
	if config.ClientSessionCache != nil {
		raw = newBuffered(raw)
	}
	c := tls.Client(raw, config)
	return c, c.Handshake()
}

// A buffered connection takes in what the server sends when nobody reads: the
// session tickets of TLS 1.3 come after the handshake, and a net.Pipe would
// have the server wait for a reader.
type buffered struct {
	net.Conn
	arrived chan []byte
	rest    []byte
}

func newBuffered(c net.Conn) *buffered {
	b := &buffered{Conn: c, arrived: make(chan []byte, 1000)}
	go func() {
		defer close(b.arrived)
		for {
			p := make([]byte, 4096)
			n, err := c.Read(p)
			if err != nil {
				return
			}
			b.arrived <- p[:n]
		}
	}()
	return b
}

func (b *buffered) Read(p []byte) (int, error) {
	if len(b.rest) == 0 {
		var ok bool
		if b.rest, ok = <-b.arrived; !ok {
			return 0, io.EOF
		}
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// noWarnings fails the test if the server complained.
func (r *rig) noWarnings() {
	r.t.Helper()
	for _, l := range r.Log.Lines(slog.LevelWarn) {
		r.t.Errorf("logged at %v: %s", l.Level, l.Text)
	}
}

// metric returns the sum of a metric over the series that have the label
// value ("" for all).
func (r *rig) metric(name, label string) float64 {
	r.t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != "keyreeve_kmip_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			match := label == ""
			for _, l := range m.GetLabel() {
				match = match || l.GetValue() == label
			}
			if match {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// wantMetric compares a metric, see metric.
func (r *rig) wantMetric(name, label string, want float64) {
	r.t.Helper()
	if got := r.metric(name, label); got != want {
		r.t.Errorf("%s{%s} = %v, expected %v", name, label, got, want)
	}
}

// request makes a message of one version out of batch items.
func request(v kmip.Version, items ...kmip.RequestItem) []byte {
	empty := func() ttlv.Item {
		var w ttlv.Writer
		w.End(w.Begin(kmip14.TagRequestPayload))
		it, _ := ttlv.Parse(w.Bytes())
		return it
	}
	for i := range items {
		if items[i].Payload.IsZero() {
			items[i].Payload = empty()
		}
	}
	m := kmip.RequestMessage{Header: kmip.RequestHeader{Version: v}, Items: items}
	return m.Append(nil)
}

// discover is the cheapest request that there is.
func discover() []byte {
	return request(kmip.V1_4, kmip.RequestItem{Operation: kmip14.OperationDiscoverVersions})
}

// exchange sends a request and returns the answer.
func exchange(t *testing.T, c net.Conn, request []byte) kmip.ResponseMessage {
	t.Helper()
	if _, err := c.Write(request); err != nil {
		t.Fatalf("sending: %v", err)
	}
	return receive(t, c)
}

func receive(t *testing.T, c net.Conn) kmip.ResponseMessage {
	t.Helper()
	b, err := readAnswer(c)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	return parse(t, b)
}

func parse(t testing.TB, b []byte) kmip.ResponseMessage {
	t.Helper()
	if err := ttlv.Check(b, ttlv.Limits{}); err != nil {
		t.Fatalf("answer: %v", err)
	}
	var m kmip.ResponseMessage
	if err := kmip.ParseResponse(b, &m); err != nil {
		t.Fatalf("answer: %v", err)
	}
	return m
}

// wantSuccess wants one item that succeeded.
func wantSuccess(t *testing.T, m kmip.ResponseMessage) {
	t.Helper()
	if len(m.Items) != 1 || m.Items[0].Status != kmip14.ResultStatusSuccess {
		t.Fatalf("answer %+v, expected one success", m.Items)
	}
}

// wantClosed wants the end of the connection, without another byte.
func wantClosed(t *testing.T, c net.Conn) {
	t.Helper()
	n, err := c.Read(make([]byte, 1))
	if n != 0 || err == nil {
		t.Fatal("got a byte where the connection should end")
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		t.Fatalf("the connection is still open: %v", err)
	}
}

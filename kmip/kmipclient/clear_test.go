package kmipclient

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/kmip"
)

// A memory is a connection that keeps the buffers it is given, not copies, so
// that a test can look at them when the call is over.
type memory struct {
	net.Conn // nil: whatever else is called is a mistake of the test
	answer   bytes.Buffer
	buffers  [][]byte
	sawKey   bool
}

func (m *memory) ConnectionState() tls.ConnectionState { return tls.ConnectionState{} }
func (m *memory) SetDeadline(time.Time) error          { return nil }
func (m *memory) Close() error                         { return nil }

func (m *memory) keep(p []byte) {
	m.buffers = append(m.buffers, p)
	m.sawKey = m.sawKey || bytes.Contains(p, []byte(planted))
}

func (m *memory) Write(p []byte) (int, error) {
	m.keep(p)
	return len(p), nil
}

func (m *memory) Read(p []byte) (int, error) {
	n, err := m.answer.Read(p)
	if n == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	m.keep(p[:n])
	return n, err
}

const planted = "planted-key-material"

// Key material and passwords pass through buffers of ours on both ways. None
// may hold them once the call is over, whether it succeeded or not.
func TestBuffersAreClearedAfterUse(t *testing.T) {
	material := func() *secret.Bytes { return secret.Own([]byte(planted)) }
	get := func(w *kmip.ResponseWriter, op kmip14.Operation) {
		body := w.BeginItem(op, nil)
		body.Enumeration(kmip14.TagObjectType, 2)
		body.TextString(kmip14.TagUniqueIdentifier, "u")
		kmip.WriteSymmetricKey(body, []byte(planted), kmip14.CryptographicAlgorithmAES, 160)
		w.EndItem()
	}
	for _, tc := range []struct {
		name string
		cut  int // bytes of the answer that are lost
		op   kmip14.Operation
		call func(c *Client) error
		ok   bool
	}{
		{"register", 0, kmip14.OperationRegister, func(c *Client) error {
			_, err := c.Register(t.Context(), RegisterOptions{Material: material()})
			return err
		}, false}, // the answer is a Get's, which Register cannot read
		{"get", 0, kmip14.OperationGet, func(c *Client) error {
			k, err := c.Get(t.Context(), "u")
			if err == nil && string(k.Expose()) != planted {
				t.Errorf("the key is %d other bytes", k.Len())
			}
			return err
		}, true},
		{"get cut short", 8, kmip14.OperationGet, func(c *Client) error { _, err := c.Get(t.Context(), "u"); return err }, false},
		{"answer to another", 0, kmip14.OperationDestroy, func(c *Client) error { _, err := c.Get(t.Context(), "u"); return err }, false},
		{"password", 0, kmip14.OperationGet, func(c *Client) error {
			c.credential = usernameAndPassword("u", material())
			_, err := c.Get(t.Context(), "u")
			return err
		}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := &memory{}
			var w kmip.ResponseWriter
			w.Begin(nil, &kmip.ResponseHeader{Version: kmip.V1_4})
			get(&w, tc.op)
			answer := w.End()
			m.answer.Write(answer[:len(answer)-tc.cut])
			c := &Client{conn: m, timeout: time.Minute, max: DefaultMaxResponse, now: time.Now, version: kmip.V1_4}
			if err := tc.call(c); (err == nil) != tc.ok {
				t.Errorf("error %v", err)
			}
			if !m.sawKey {
				t.Fatal("no material passed through: the test proves nothing")
			}
			for i, b := range m.buffers {
				if bytes.Contains(b, []byte(planted[:4])) {
					t.Errorf("buffer %d of %d still holds the material", i, len(m.buffers))
				}
			}
		})
	}
}

func TestCloseClearsThePassword(t *testing.T) {
	c := &Client{conn: &memory{}, credential: usernameAndPassword("u", secret.Own([]byte(planted)))}
	view := c.credential.Password
	if err := c.Close(); err != nil || !bytes.Equal(view, make([]byte, len(planted))) {
		t.Errorf("error %v, password still there: %v", err, bytes.Contains(view, []byte(planted)))
	}
}

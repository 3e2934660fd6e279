package transcript_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/kmip/kmiptest"
	"github.com/keyreeve/keyreeve/kmip/transcript"
)

// A fake server answers everything with the same bytes, for tests of the
// player itself.
type fake struct {
	*kmiptest.Authority
	addr string
}

func (f fake) Addr() string                                 { return f.addr }
func (f fake) ClientTLS(client string) (*tls.Config, error) { return f.Client(client) }

// newFake answers each eight bytes of request with the answer; a nil one
// closes the connection.
func newFake(t *testing.T, answer []byte) fake {
	t.Helper()
	a, err := kmiptest.NewAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", a.Server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serveFake(c, answer)
		}
	}()
	return fake{a, l.Addr().String()}
}

func serveFake(c net.Conn, answer []byte) {
	defer c.Close()
	for request := make([]byte, 8); ; {
		if _, err := io.ReadFull(c, request); err != nil || answer == nil {
			return
		}
		if _, err := c.Write(answer); err != nil {
			return
		}
	}
}

// TestPlayNotices: the player must fail where the server does not do what the
// transcript says, or no transcript proves anything.
func TestPlayNotices(t *testing.T) {
	message := "RequestMessage\n"
	empty := []byte{0x42, 0, 0x78, 1, 0, 0, 0, 0}
	tests := []struct {
		name, text string
		answer     []byte
		want       string // "" for success
	}{
		{"an exchange", "-- connect a --\n-- a send --\n" + message + "-- a receive --\n" + message + "-- a close --\n", empty, ""},
		{"several at once", "-- connect a b c --\n-- b send --\n" + message + "-- b receive --\n" + message, empty, ""},
		{"the server closes", "-- connect a --\n-- a send --\n" + message + "-- a closed --\n", nil, ""},
		{"another answer", "-- connect a --\n-- a send --\n" + message + "-- a receive --\nResponseMessage\n", empty, "line 4: receive: the answer differs"},
		{"no answer", "-- connect a --\n-- a send --\n" + message + "-- a receive --\n" + message, nil, "no answer"},
		{"an answer instead of the end", "-- connect a --\n-- a send --\n" + message + "-- a closed --\n", empty, "bytes instead of closing"},
		{"let in but should not", "-- connect a refused --\n", empty, "was let in"},
		{"not let in", "-- connect a as=stranger --\n", empty, "connection a"},
		{"refused as it should", "-- connect a as=stranger refused --\n-- connect b as=none refused --\n", empty, ""},
		{"no such connection", "-- connect a --\n-- b close --\n", empty, "no connection is called b"},
		{"twice", "-- connect a --\n-- connect a --\n", empty, "open already"},
		{"too slow", "-- connect a within=1ns --\n", empty, "took"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			parsed, err := transcript.ParseTranscript([]byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			err = parsed.Play(context.Background(), newFake(t, tt.answer), transcript.Values{})
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v, expected %q", err, tt.want)
			}
		})
	}
}

package kmipclient_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/kmipclient"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

func TestDialAgreesOnAVersion(t *testing.T) {
	for _, tc := range []struct {
		name   string
		answer func(m *kmip.RequestMessage, it *kmip.RequestItem, w *kmip.ResponseWriter)
		want   kmip.Version
		text   string
	}{
		{"best of both", func(m *kmip.RequestMessage, it *kmip.RequestItem, w *kmip.ResponseWriter) {
			succeed(w, m, it, &kmip.DiscoverVersionsResponse{Versions: []kmip.Version{{Major: 2}, kmip.V1_2, kmip.V1_3, kmip.V1_0}})
		}, kmip.V1_3, ""},
		{"none", func(m *kmip.RequestMessage, it *kmip.RequestItem, w *kmip.ResponseWriter) {
			succeed(w, m, it, &kmip.DiscoverVersionsResponse{Versions: []kmip.Version{{Major: 2}}})
		}, kmip.Version{}, "speaks none of KMIP 1.0 to 1.4"},
		{"a server of 1.0", func(_ *kmip.RequestMessage, it *kmip.RequestItem, w *kmip.ResponseWriter) {
			w.FailItem(it.Operation, it.ID, kmip.NewError(kmip14.ResultReasonOperationNotSupported, ""))
		}, kmip.V1_0, ""},
		{"not let in", func(_ *kmip.RequestMessage, it *kmip.RequestItem, w *kmip.ResponseWriter) {
			w.FailItem(it.Operation, it.ID, kmip.NewError(kmip14.ResultReasonAuthenticationNotSuccessful, "who?"))
		}, kmip.Version{}, "who?"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newPKI(t)
			cfg := p.config()
			cfg.Version = kmip.Version{}
			c, err := kmipclient.Dial(t.Context(), serve(t, p, operations(t, func(m *kmip.RequestMessage, it *kmip.RequestItem, w *kmip.ResponseWriter) {
				if m.Header.Version != kmip.V1_1 || it.Operation != kmip14.OperationDiscoverVersions {
					t.Errorf("asked with %v in %v", it.Operation, m.Header.Version)
				}
				tc.answer(m, it, w)
			})), cfg)
			if tc.text != "" {
				if err == nil || !strings.Contains(err.Error(), tc.text) {
					t.Errorf("error %v, want %q", err, tc.text)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if c.Version() != tc.want {
				t.Errorf("version %v, want %v", c.Version(), tc.want)
			}
		})
	}
}

func TestDialSaysWhatIsWrong(t *testing.T) {
	p, stranger := newPKI(t), newPKI(t)
	addr := serve(t, p, func([]byte) []byte { return nil })
	notPEM := stranger.config()
	notPEM.CAFile = notPEM.KeyFile
	for _, tc := range []struct {
		name string
		addr string
		cfg  kmipclient.Config
		text string
	}{
		{"no files", addr, kmipclient.Config{}, "needs a certificate"},
		{"no such certificate", addr, kmipclient.Config{CertFile: "/none", KeyFile: "/none", CAFile: "/none"}, "loading the client certificate"},
		{"no such CA", addr, func() kmipclient.Config { c := p.config(); c.CAFile = "/none"; return c }(), "reading the server's CA"},
		{"CA without certificate", addr, notPEM, "holds no certificate"},
		{"another CA", addr, stranger.config(), "unknown authority"},
		{"no port", "127.0.0.1", p.config(), "reading the server's address"},
		{"nobody there", "127.0.0.1:1", p.config(), "connecting to 127.0.0.1:1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := kmipclient.Dial(t.Context(), tc.addr, tc.cfg)
			if err == nil {
				c.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("error %v, want %q", err, tc.text)
			}
		})
	}
}

func TestDialTakesATLSConfig(t *testing.T) {
	p := newPKI(t)
	cert, err := tls.LoadX509KeyPair(p.config().CertFile, p.config().KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	tc := &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: p.server.ClientCAs, MaxVersion: tls.VersionTLS12}
	addr := serve(t, p, operations(t, func(m *kmip.RequestMessage, it *kmip.RequestItem, w *kmip.ResponseWriter) {
		succeed(w, m, it, &kmip.ActivateResponse{UniqueIdentifier: []byte("u")})
	}))
	c, err := kmipclient.Dial(t.Context(), addr, kmipclient.Config{TLS: tc, Version: kmip.V1_1})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Activate(t.Context(), "u"); err != nil {
		t.Error(err)
	}
	if got := c.ConnectionState(); got.Version != tls.VersionTLS12 || got.PeerCertificates[0].Subject.CommonName != "server" {
		t.Errorf("connection state %x", got.Version)
	}
	if tc.ServerName != "" {
		t.Error("Dial wrote to the caller's configuration")
	}
}

func TestCredentials(t *testing.T) {
	seen := make(chan string, 3)
	c := dial(t, operations(t, func(m *kmip.RequestMessage, it *kmip.RequestItem, w *kmip.ResponseWriter) {
		text := ""
		for _, cr := range m.Header.Credentials {
			text += string(cr.Username) + "/" + string(cr.DeviceIdentifier) + "/" + string(cr.Password)
		}
		seen <- text
		succeed(w, m, it, &kmip.ActivateResponse{UniqueIdentifier: []byte("u")})
	}), func(cfg *kmipclient.Config) {
		cfg.Username, cfg.Password = "Fred", secret.Own([]byte("password1"))
	})
	device := &kmip.Credential{Type: kmip14.CredentialTypeDevice, DeviceIdentifier: []byte("dev"), Password: []byte("secret")}
	activate := kmipclient.Item{Operation: kmip14.OperationActivate}
	for _, tc := range []struct {
		opt  kmipclient.Options
		want string
	}{{kmipclient.Options{}, "Fred//password1"}, {kmipclient.Options{Credential: device}, "/dev/secret"}, {kmipclient.Options{}, "Fred//password1"}} {
		if _, err := c.Batch(t.Context(), tc.opt, activate); err != nil {
			t.Fatal(err)
		}
		if got := <-seen; got != tc.want {
			t.Errorf("the server saw %q, want %q", got, tc.want)
		}
	}
	if string(device.Password) != "secret" {
		t.Error("the caller's credential was cleared")
	}
}

func TestRequestsAreOneAtATime(t *testing.T) {
	c := dial(t, operations(t, func(m *kmip.RequestMessage, it *kmip.RequestItem, w *kmip.ResponseWriter) {
		var p kmip.ActivateRequest
		_ = p.Decode(it.Payload, m.Header.Version)
		succeed(w, m, it, &kmip.ActivateResponse{UniqueIdentifier: p.UniqueIdentifier})
	}))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			uid := strings.Repeat("u", i+1)
			for range 10 {
				var p kmip.ActivateResponse
				r, err := c.Batch(t.Context(), kmipclient.Options{}, kmipclient.Item{Operation: kmip14.OperationActivate, Request: &kmip.ActivateRequest{UniqueIdentifier: []byte(uid)}})
				if err != nil || r.Results[0].Decode(&p) != nil || string(p.UniqueIdentifier) != uid {
					t.Errorf("asked about %s, told about %s: %v", uid, p.UniqueIdentifier, err)
				}
			}
		})
	}
	wg.Wait()
}

// answerOf returns a well-formed answer to a Get, as raw bytes.
func answerOf() []byte {
	var w kmip.ResponseWriter
	w.Begin(nil, &kmip.ResponseHeader{Version: kmip.V1_4})
	w.BeginItem(kmip14.OperationGet, nil)
	w.EndItem()
	return w.End()
}

func TestAnswersAreNotTrusted(t *testing.T) {
	broken := answerOf()
	broken[len(broken)-5] = 0xff // the payload's length
	badVersion := bytes.Clone(answerOf())
	badVersion[8+8+8+11] = 9
	for _, tc := range []struct {
		name   string
		answer []byte
		want   error
		text   string
		usable bool
	}{
		{"closed", nil, nil, "reading the answer", false},
		{"cut short", []byte{0x42, 0, 0x7b, 1, 0, 0, 0, 16, 1}, nil, "EOF", false},
		{"not KMIP", []byte("HTTP/1.1 400 Bad Request\r\n\r\n"), ttlv.ErrMalformed, "does not speak KMIP", false},
		{"a request", []byte{0x42, 0, 0x78, 1, 0, 0, 0, 0}, ttlv.ErrMalformed, "does not speak KMIP", false},
		{"larger than allowed", []byte{0x42, 0, 0x7b, 1, 0, 0x10, 0, 0}, ttlv.ErrLimit, "1048576 bytes", false},
		{"4 GiB", []byte{0x42, 0, 0x7b, 1, 0xff, 0xff, 0xff, 0xf8}, ttlv.ErrLimit, "4294967288 bytes", false},
		{"malformed inside", broken, ttlv.ErrMalformed, "unknown type", false},
		{"empty", []byte{0x42, 0, 0x7b, 1, 0, 0, 0, 0}, nil, "ResponseHeader is missing", true},
		{"version 1.9", badVersion, nil, "reading the answer", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			first := true
			c := dial(t, func([]byte) []byte {
				if !first {
					return answerOf()
				}
				first = false
				return tc.answer
			})
			_, err := c.Get(t.Context(), "u")
			if err == nil || tc.want != nil && !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("error %v, want %v with %q", err, tc.want, tc.text)
			}
			_, err = c.RoundTrip(t.Context(), []byte{0x42, 0, 0x78, 1, 0, 0, 0, 0})
			if tc.usable != (err == nil) || !tc.usable && !errors.Is(err, kmipclient.ErrBroken) {
				t.Errorf("afterwards: %v, usable %v", err, tc.usable)
			}
		})
	}
}

func TestTimeoutIsReckonedByTheClock(t *testing.T) {
	c := dial(t, func([]byte) []byte { return answerOf() }, func(cfg *kmipclient.Config) {
		cfg.Now = func() time.Time { return time.Now().Add(-time.Hour) }
		cfg.Timeout = time.Minute
	})
	if _, err := c.Get(t.Context(), "u"); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("error %v, want the deadline's", err)
	}
}

func TestCancelledContextEndsARequest(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	c := dial(t, func([]byte) []byte { close(arrived); <-release; return nil })
	t.Cleanup(func() { close(release) })
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	if _, err := c.Get(ctx, "u"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want Canceled", err)
	}
	if _, err := c.Get(t.Context(), "u"); !errors.Is(err, kmipclient.ErrBroken) {
		t.Errorf("afterwards: %v, want ErrBroken", err)
	}
}

// A context that is over before anything was sent leaves the connection alone.
func TestContextOverBeforehandSendsNothing(t *testing.T) {
	c := dial(t, operations(t, func(m *kmip.RequestMessage, it *kmip.RequestItem, w *kmip.ResponseWriter) {
		succeed(w, m, it, &kmip.ActivateResponse{UniqueIdentifier: []byte("u")})
	}))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Activate(ctx, "u"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want Canceled", err)
	}
	if err := c.Activate(t.Context(), "u"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestContextsDeadlineCounts(t *testing.T) {
	release := make(chan struct{})
	c := dial(t, func([]byte) []byte { <-release; return nil })
	t.Cleanup(func() { close(release) })
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(20*time.Millisecond))
	defer cancel()
	if _, err := c.Get(ctx, "u"); !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want a deadline's", err)
	}
}

func TestClosedClientIsBroken(t *testing.T) {
	c := dial(t, func([]byte) []byte { return nil })
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.Get(t.Context(), "u"); !errors.Is(err, kmipclient.ErrBroken) {
		t.Errorf("error %v, want ErrBroken", err)
	}
}

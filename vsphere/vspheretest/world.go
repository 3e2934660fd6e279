package vspheretest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"time"
)

// WorldOptions say what is in a World.
type WorldOptions struct {
	// Keyreeve is the program; "": the one in the path.
	Keyreeve string
	VCenters int     // 0: 1
	VCenter  Options // of each; Network and Listen are the world's
	OVHcloud OVHcloudOptions
	// OpenFirewall lets vCenter reach the key server before OVHcloud was told.
	OpenFirewall bool
}

// A World is a lab: a real keyreeve server on port 5696 of an address of its
// own, simulated vCenters that speak KMIP to it, and a double of OVHcloud's
// API whose firewall stands between them.
type World struct {
	KMS      *KMS
	VCenters []*VCenter
	Network  *Network
	OVHcloud *OVHcloud
	OVHURL   string // endpoint for go-ovh

	dir string
	api *http.Server
}

// NewWorld starts one; Close ends it and removes its files.
func NewWorld(ctx context.Context, o WorldOptions) (*World, error) {
	w := &World{Network: new(Network)}
	if err := w.start(ctx, o); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// T is what Run needs of a *testing.T. The lab's program does not link testing.
type T interface {
	Context() context.Context
	Error(args ...any)
	Fatal(args ...any)
	Helper()
}

// Run gives fn a World for the time of a test.
func Run(t T, o WorldOptions, fn func(ctx context.Context, w *World)) {
	t.Helper()
	w, err := NewWorld(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}()
	fn(t.Context(), w)
}

func (w *World) start(ctx context.Context, o WorldOptions) (err error) {
	if o.Keyreeve == "" {
		if o.Keyreeve, err = exec.LookPath("keyreeve"); err != nil {
			return fmt.Errorf("finding the key server's program: %w", err)
		}
	}
	if w.dir, err = os.MkdirTemp("", "keyreeve-world-"); err != nil {
		return err
	}
	addr, err := FreeAddress(KMIPPort)
	if err != nil {
		return err
	}
	if w.KMS, err = NewKMS(ctx, o.Keyreeve, w.dir, addr); err != nil {
		return err
	}
	if err := w.startOVHcloud(o); err != nil {
		return err
	}
	for range max(1, o.VCenters) {
		o.VCenter.Network = w.Network
		vc, err := New(o.VCenter)
		if err != nil {
			return err
		}
		w.VCenters = append(w.VCenters, vc)
		w.OVHcloud.AddUser(vc.URL.User.Username())
	}
	return nil
}

func (w *World) startOVHcloud(o WorldOptions) error {
	w.OVHcloud = NewOVHcloud(o.OVHcloud)
	if !o.OpenFirewall {
		w.Network.SetFirewall(w.OVHcloud.Open)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	w.OVHURL = "http://" + l.Addr().String() + "/1.0"
	w.api = &http.Server{Handler: w.OVHcloud, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = w.api.Serve(l) }()
	return nil
}

// Close ends everything.
func (w *World) Close() error {
	var failed []error
	for _, vc := range w.VCenters {
		failed = append(failed, vc.Close())
	}
	if w.api != nil {
		failed = append(failed, w.api.Close())
	}
	if w.KMS != nil {
		failed = append(failed, w.KMS.Stop())
	}
	if w.dir != "" {
		failed = append(failed, os.RemoveAll(w.dir))
	}
	return errors.Join(failed...)
}

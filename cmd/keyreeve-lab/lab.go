package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/vsphere/vspheretest"
)

// lab starts a world, says where everything is, and stays until ctx ends.
func (a *app) lab(ctx context.Context, f *flags) (err error) {
	if len(f.faults) > 1 {
		return usage("--fault is given %d times: the way has one fault at a time", len(f.faults))
	}
	var fault vspheretest.Fault
	for _, text := range f.faults {
		if fault, err = parseFault(text); err != nil {
			return err
		}
	}
	if f.rebuilt && !f.trusted {
		return usage("--rebuilt needs --trusted: without it there is nothing to lose")
	}
	w, err := world(ctx, f)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	if f.trusted {
		if err := trust(ctx, w); err != nil {
			return err
		}
	}
	if f.rebuilt {
		if err := a.rebuild(ctx, w); err != nil {
			return err
		}
	}
	if fault.Kind != "" {
		w.Network.SetFault(w.KMS.Addr(), fault)
	}
	text, err := exports(ctx, w)
	if err != nil {
		return err
	}
	a.print("%s", text)
	if f.readyFile != "" {
		if err := writeWhole(f.readyFile, text); err != nil {
			return fmt.Errorf("writing the ready file: %w", err)
		}
	}
	a.print("\n# the lab is up; Ctrl-C ends it and removes everything\n")
	<-ctx.Done()
	return nil
}

// rebuild adds a vCenter in place of the first one, as good as lost. It sees
// nothing of the machines' configurations, which is the harder case.
func (a *app) rebuild(ctx context.Context, w *vspheretest.World) error {
	lost := w.VCenters[0]
	if err := lost.EncryptAll(ctx, "keyreeve"); err != nil {
		return fmt.Errorf("encrypting all machines: %w", err)
	}
	_, locked, err := w.Rebuild(ctx, lost, vspheretest.Adoption{HideConfig: true})
	if err != nil {
		return fmt.Errorf("rebuilding the vCenter: %w", err)
	}
	a.print("# vCenter %d has the machines of vCenter 1; locked: %d\n", len(w.VCenters), locked)
	return nil
}

// writeWhole has the file appear with all that is in it: somebody waits for it.
func writeWhole(path, text string) error {
	half := path + ".half"
	if err := os.WriteFile(half, []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(half, path)
}

// trust sets up every vCenter as the vendor's guide does.
func trust(ctx context.Context, w *vspheretest.World) error {
	for i, vc := range w.VCenters {
		g, err := vspheretest.NewGuide(ctx, w, vc)
		if err != nil {
			return err
		}
		for _, s := range g.Trust() {
			if i > 0 && (s.Title == "OVHcloud lets nothing through yet" || s.Title == "register the key server with OVHcloud") {
				continue // it was registered for the first one
			}
			if _, err := s.Do(ctx); err != nil {
				return fmt.Errorf("vCenter %d: %s: %w", i+1, s.Title, err)
			}
		}
		if err := g.Close(ctx); err != nil {
			return err
		}
	}
	return nil
}

// exports are shell commands: what was started, in a form that govc, keyreeve,
// an OVHcloud client and keyreeve-agent take.
func exports(ctx context.Context, w *vspheretest.World) (string, error) {
	var b strings.Builder
	vc := w.VCenters[0]
	user := vc.URL.User.Username()
	password, _ := vc.URL.User.Password()
	fmt.Fprintf(&b, "# vCenter (simulated): https://%s%s\n", vc.URL.Host, vc.URL.Path)
	fmt.Fprintf(&b, "export GOVC_URL=https://%s%s GOVC_USERNAME=%s GOVC_PASSWORD=%s GOVC_INSECURE=true\n", vc.URL.Host, vc.URL.Path, user, password)
	for i, other := range w.VCenters[1:] {
		fmt.Fprintf(&b, "# vCenter %d, the same user and password\nexport GOVC_URL_%d=https://%s%s\n", i+2, i+2, other.URL.Host, other.URL.Path)
	}
	fmt.Fprintf(&b, "# key server: %s\n", w.KMS.Addr())
	host, port, _ := net.SplitHostPort(w.KMS.Addr())
	fmt.Fprintf(&b, "export KMS_HOST=%s KMS_PORT=%s KEYREEVE_DATA=%s\n", host, port, w.KMS.Data)
	c := w.OVHcloud
	fmt.Fprintf(&b, "# OVHcloud's API (a double), service %s\n", vspheretest.ServiceName)
	fmt.Fprintf(&b, "export OVH_ENDPOINT=%s OVH_APPLICATION_KEY=%s OVH_APPLICATION_SECRET=%s OVH_CONSUMER_KEY=%s\n",
		w.OVHURL, c.ApplicationKey, c.ApplicationSecret, c.ConsumerKey)
	leaf, err := certs.FetchServerCertificate(ctx, vc.URL.Host)
	if err != nil {
		return "", fmt.Errorf("reading vCenter's certificate: %w", err)
	}
	fmt.Fprintf(&b, "# keyreeve-agent's settings, over those of a file such as deploy/example.yaml\n")
	for _, pair := range [][2]string{
		{"STATE_DIR", filepath.Join(filepath.Dir(w.KMS.Data), "agent")},
		{"SERVER_SOCKET", filepath.Join(w.KMS.Data, "admin.sock")}, {"SERVER_KMIP", w.KMS.Addr()},
		{"VCENTER_URL", "https://" + vc.URL.Host}, {"VCENTER_USER", user}, {"VCENTER_PASSWORD", password}, {"VCENTER_THUMBPRINT", certs.SHA256(leaf)},
		{"OVHCLOUD_ENDPOINT", w.OVHURL}, {"OVHCLOUD_SERVICE", vspheretest.ServiceName}, {"OVHCLOUD_ADDRESS", host}, {"OVHCLOUD_APPLICATION_KEY", c.ApplicationKey},
		{"OVHCLOUD_APPLICATION_SECRET", c.ApplicationSecret}, {"OVHCLOUD_CONSUMER_KEY", c.ConsumerKey},
	} {
		fmt.Fprintf(&b, "export KEYREEVE_AGENT_%s=%s\n", pair[0], pair[1])
	}
	return b.String(), nil
}

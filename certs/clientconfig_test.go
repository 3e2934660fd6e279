package certs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/certs"
)

// A bundle that was written can be used; one that is not whole, or open to
// others, cannot, and the error names the file.
func TestClientConfig(t *testing.T) {
	r := newRig(t, certs.P256)
	issued := must(r.ca.IssueClient(request))
	other := must(r.ca.IssueClient(request))
	for name, tc := range map[string]struct {
		spoil func(dir string)
		want  string
	}{
		"whole":         {func(string) {}, ""},
		"no key":        {func(dir string) { _ = os.Remove(filepath.Join(dir, "key.pem")) }, "key.pem"},
		"no CA":         {func(dir string) { _ = os.Remove(filepath.Join(dir, "ca.pem")) }, "ca.pem"},
		"no cert":       {func(dir string) { _ = os.Remove(filepath.Join(dir, "cert.pem")) }, "cert.pem"},
		"open":          {func(dir string) { _ = os.Chmod(filepath.Join(dir, "key.pem"), 0o640) }, "chmod 600"},
		"another's key": {func(dir string) { _ = os.WriteFile(filepath.Join(dir, "key.pem"), other.KeyPEM().Expose(), 0o600) }, "does not belong"},
		"not PEM":       {func(dir string) { _ = os.WriteFile(filepath.Join(dir, "ca.pem"), []byte("x"), 0o600) }, "ca.pem"},
	} {
		dir := filepath.Join(t.TempDir(), "bundle")
		if err := certs.WriteBundle(dir, issued); err != nil {
			t.Fatal(err)
		}
		tc.spoil(dir)
		config, err := certs.ClientConfig(dir)
		if tc.want != "" {
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: %v, want %q", name, err, tc.want)
			}
			continue
		}
		if err != nil || len(config.Certificates) != 1 || !config.Certificates[0].Leaf.Equal(issued.Certificate) || config.RootCAs == nil {
			t.Errorf("%s: %+v, %v", name, config, err)
		}
	}
}

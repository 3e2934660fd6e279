//go:build interop

package interop

import (
	"net"
	"os/exec"
	"strings"
	"testing"
)

// TestPyKMIPClient runs Debian's python3-pykmip at KMIP 1.0 to 1.4. It calls the
// system's python by its path, since another python may come first. A wrapped
// key it cannot read: it takes every Key Value for a structure.
func TestPyKMIPClient(t *testing.T) {
	s := start(t)
	host, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("/usr/bin/python3", "testdata/pykmip_client.py", host, port, s.bundle).CombinedOutput()
	if err != nil {
		t.Fatalf("PyKMIP's client: %v (is Debian's python3-pykmip installed?)\n%s", err, out)
	}
	if !strings.HasSuffix(strings.TrimSpace(string(out)), "all versions passed") {
		t.Fatalf("PyKMIP's client did not finish:\n%s", out)
	}
	for _, op := range []string{"create", "get", "locate by name", "attributes", "activate", "revoke", "destroy", "register",
		"modify attribute", "delete attribute", "check", "secret data", "opaque object", "rekey"} {
		if n := strings.Count(string(out), ": "+op); n != 5 {
			t.Errorf("%s succeeded at %d versions, want 5\n%s", op, n, out)
		}
	}
}

//go:build power

package interop

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	ovh "github.com/ovh/kmip-go"
	"github.com/ovh/kmip-go/kmipclient"
)

// create makes a key and reads it back, and notes what was answered.
func create(c *kmipclient.Client, answered map[string][]byte) error {
	made, err := c.Create().AES(256, ovh.CryptographicUsageEncrypt|ovh.CryptographicUsageDecrypt).Exec()
	if err != nil {
		return fmt.Errorf("Create: %w", err)
	}
	answered[made.UniqueIdentifier] = nil
	key, err := keyOf(c, made.UniqueIdentifier)
	if err != nil {
		return fmt.Errorf("Get: %w", err)
	}
	answered[made.UniqueIdentifier] = key
	return nil
}

// mustHold asks a living server for every answered key.
func mustHold(t *testing.T, s *server, answered map[string][]byte) {
	t.Helper()
	c, err := s.dial(ovh.V1_1)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for uid, want := range answered {
		got, err := keyOf(c, uid)
		if err != nil || want != nil && !bytes.Equal(got, want) {
			t.Errorf("an answered Create is lost or changed: %s: %v", uid, err)
		}
	}
}

// TestSyncError lets each fdatasync of the real binary fail from the n-th on,
// so that the journal's and both of the store's are met: the request under way
// fails, no later change is taken although the disk would take it, and after a
// restart all that was answered is there.
func TestSyncError(t *testing.T) {
	s := prepare(t)
	answered := map[string][]byte{}
	for first := 10; first < 16; first++ {
		inject := fmt.Sprintf("inject=fdatasync:error=EIO:when=%d", first) // once: the disk is well again at once
		s.launch(t, "strace", "-D", "-f", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", inject)
		c, err := s.dial(ovh.V1_1)
		if err != nil {
			t.Fatal(err)
		}
		var failed error
		for range 20 {
			if failed = create(c, answered); failed != nil {
				break
			}
		}
		if failed == nil {
			t.Fatalf("no request failed although fdatasync %d did", first)
		}
		if err := create(c, map[string][]byte{}); err == nil {
			t.Errorf("after %v a further Create was taken without a restart", failed)
		}
		s.signal(syscall.SIGTERM)
		s.waitDead(t)
		if log := s.log.String(); !strings.Contains(log, "restart") || strings.Contains(log, "goroutine ") {
			t.Errorf("the log does not tell what to do, or has a panic:\n%s", log)
		}
		if out, err := s.run("verify"); err != nil {
			t.Fatalf("verify after a failed sync: %v\n%s", err, out)
		}
		s.launch(t)
		mustHold(t, s, answered)
		s.stop(t)
	}
	if len(answered) == 0 {
		t.Error("no Create was ever answered: the fault came too early to show anything")
	}
}

// TestFullDisk fills the disk of the data folder (a small tmpfs; needs root):
// new keys are refused with a reason, what is there stays readable as long as
// its record can be written, Revoke and Destroy go through, and space brings
// everything back without a restart.
func TestFullDisk(t *testing.T) {
	mount := t.TempDir()
	if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, "size=224m"); err != nil {
		t.Fatalf("mounting a small tmpfs: %v (needs root)", err)
	}
	t.Cleanup(func() { syscall.Unmount(mount, syscall.MNT_DETACH) })
	s := prepareIn(t, mount)
	s.launch(t)
	t.Cleanup(func() { s.kill(); s.waitDead(t) })
	c, err := s.dial(ovh.V1_1)
	if err != nil {
		t.Fatal(err)
	}
	answered := map[string][]byte{}
	for range 3 {
		if err := create(c, answered); err != nil {
			t.Fatal(err)
		}
	}
	ballast := fill(t, mount)
	err = create(c, answered)
	if err == nil || !strings.Contains(err.Error(), "disk") {
		t.Errorf("Create on a full disk: %v; want a refusal that names the disk", err)
	}
	for uid := range answered {
		if _, err := c.Revoke(uid).WithRevocationReasonCode(ovh.RevocationReasonCodeKeyCompromise).Exec(); err != nil {
			t.Errorf("Revoke on a full disk: %v\n%s", err, s.log)
		}
		break
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := create(c, answered); err != nil {
		t.Errorf("Create after space was made: %v\n%s", err, s.log)
	}
	if out, err := s.run("verify"); err != nil {
		t.Errorf("verify: %v\n%s", err, out)
	}
	mustHold(t, s, answered)
}

// fill writes a file until nothing more fits.
func fill(t *testing.T, dir string) (path string) {
	t.Helper()
	path = filepath.Join(dir, "ballast")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, size := range []int{1 << 20, 4 << 10} {
		for block := make([]byte, size); err == nil; {
			_, err = f.Write(block)
		}
		err = nil
	}
	return path
}

//go:build linux && !diskmodel

package bolt_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	// The tests that are run use these: a kept result is stale when they change.
	_ "github.com/keyreeve/keyreeve/audit"
	_ "github.com/keyreeve/keyreeve/keystore/keystoretest"
)

// TestDiskModel runs the tests with the build tag diskmodel, in which every write and sync of bbolt goes through a
// hook. bbolt takes no file interface, so they are built with a copy of its sources in which the places that write
// are calls of the hook: the model sees what bbolt does, not what we believe that it does. Files in the module cache
// cannot be overlaid, so the copy takes bbolt's place by a go.mod of its own.
//
// The copy is built with the hook only; what is not found in bbolt's sources any more fails here.
func TestDiskModel(t *testing.T) { runDiskModel(t) }

func runDiskModel(t *testing.T, env ...string) {
	t.Helper()
	dir := t.TempDir()
	hookBbolt(t, dir)
	root := goList(t, "-m", "-f", "{{.Dir}}")
	modfile := filepath.Join(dir, "go.mod")
	content := readFile(t, filepath.Join(root, "go.mod"))
	writeFile(t, modfile, content+"\nreplace go.etcd.io/bbolt => "+filepath.Join(dir, "bbolt")+"\n")
	writeFile(t, filepath.Join(dir, "go.sum"), readFile(t, filepath.Join(root, "go.sum")))

	cmd := exec.Command("go", "test", "-modfile="+modfile, "-mod=mod", "-tags=diskmodel", "-run=^TestDisk", "-count=1", "-v", ".")
	if deadline, ok := t.Deadline(); ok {
		cmd.Args = append(cmd.Args, fmt.Sprint("-timeout=", time.Until(deadline).Round(time.Second)))
	}
	cmd.Env = append(append(os.Environ(), "GOPROXY=off"), env...)
	out, err := cmd.CombinedOutput()
	t.Logf("%s\n%s", strings.Join(cmd.Args, " "), out)
	if err != nil {
		t.Fatal(err)
	}
	if ran, want := bytes.Count(out, []byte("\n--- PASS: TestDisk")), countTests(t); ran != want || want == 0 {
		t.Fatalf("%d tests of the disk model ran, there are %d", ran, want)
	}
}

// countTests reads the sources of the tests, which also tells Go that a kept result is stale when they change.
func countTests(t *testing.T) (n int) {
	t.Helper()
	files, err := filepath.Glob("disk_*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		n += strings.Count(readFile(t, f), "\nfunc TestDisk")
	}
	return n
}

// edits are the places in bbolt that change its file.
var edits = []struct{ file, old, new string }{
	{"bolt_linux.go", "import (\n\t\"syscall\"\n)", ""},
	{"bolt_linux.go", "syscall.Fdatasync(int(db.file.Fd()))", "Hook.Sync(db.file)"},
	{"db.go", "db.ops.writeAt = db.file.WriteAt", "db.ops.writeAt = func(b []byte, off int64) (int, error) { return Hook.WriteAt(db.file, b, off) }"},
	{"db.go", "db.file.Truncate(int64(sz))", "Hook.Truncate(db.file, int64(sz))"},
	{"db.go", "db.file.Sync()", "Hook.Sync(db.file)"},
}

const hook = `package bbolt

import "os"

// Hook is what changes the file.
var Hook struct {
	WriteAt  func(*os.File, []byte, int64) (int, error)
	Truncate func(*os.File, int64) error
	Sync     func(*os.File) error
}
`

// writes finds calls that change a file.
var writes = regexp.MustCompile(`(file|File|f)\.(Write|WriteAt|WriteString|Truncate|Sync)\(|syscall\.(Fdatasync|Fsync|Pwrite|Write|Ftruncate|Msync)|unix\.(Fdatasync|Fsync|Pwrite|Write|Ftruncate|Msync)`)

func hookBbolt(t *testing.T, dir string) {
	t.Helper()
	source, target := goList(t, "-m", "-f", "{{.Dir}}", "go.etcd.io/bbolt"), filepath.Join(dir, "bbolt")
	copyGo(t, source, target)
	for _, e := range edits {
		path := filepath.Join(target, e.file)
		content := readFile(t, path)
		if strings.Count(content, e.old) != 1 {
			t.Fatalf("bbolt's %s holds %q %d times, not once: look where it writes now", e.file, e.old, strings.Count(content, e.old))
		}
		writeFile(t, path, strings.Replace(content, e.old, e.new, 1))
	}
	for _, name := range []string{"bolt_linux.go", "bolt_unix.go", "boltsync_unix.go", "db.go", "tx.go", "node.go", "bucket.go"} {
		content := strings.ReplaceAll(readFile(t, filepath.Join(target, name)), "Hook.", "")
		if found := writes.FindString(content); found != "" && name != "boltsync_unix.go" { // that one is not built on Linux
			t.Errorf("bbolt's %s changes a file past the hook: %s", name, found)
		}
	}
	writeFile(t, filepath.Join(target, "hook.go"), hook)
}

// copyGo copies a module's Go files and go.mod, without tests and commands.
func copyGo(t *testing.T, source, target string) {
	t.Helper()
	err := filepath.WalkDir(source, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(source, path)
		if err != nil {
			return err
		}
		if e.IsDir() {
			if rel == "cmd" || rel == "tests" {
				return fs.SkipDir
			}
			return os.MkdirAll(filepath.Join(target, rel), 0o700)
		}
		if name := e.Name(); name != "go.mod" && (!strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go")) {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(target, rel), content, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func goList(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list %v: %v", args, err)
	}
	return strings.TrimSpace(string(out))
}

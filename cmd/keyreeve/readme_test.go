package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/keyreeve/keyreeve/internal/logbuf"
)

// A typed is one command of the README, with what the page shows of its output.
type typed struct {
	command string
	shows   []string
}

// commandsOf returns what stands behind "$ " in the page's console blocks.
func commandsOf(t *testing.T, path string) (commands []typed) {
	t.Helper()
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	inside := false
	for lines := bufio.NewScanner(bytes.NewReader(page)); lines.Scan(); {
		text := lines.Text()
		switch {
		case strings.HasPrefix(text, "```"):
			inside = text == "```console"
		case !inside:
		case strings.HasPrefix(text, "$ "):
			commands = append(commands, typed{command: text[2:]})
		case len(commands) > 0:
			last := &commands[len(commands)-1]
			last.shows = append(last.shows, text)
		}
	}
	return commands
}

// A reader is somebody who follows the README: a folder with the program, and
// servers that run on.
type reader struct {
	dir  string
	env  []string
	addr string // of the server that was started last

	command string    // that started it
	server  *exec.Cmd // it; nil once it was stopped
	ended   chan struct{}
}

func newReader(t *testing.T) *reader {
	t.Helper()
	r := &reader{dir: t.TempDir()}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(r.dir, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	// A copy, not a link: the test binary is the command when it has its name.
	data, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.dir, "bin", "keyreeve"), data, 0o700); err != nil {
		t.Fatal(err)
	}
	r.env = append(os.Environ(), "KEYREEVE_DEV=true", "KEYREEVE_LISTEN=127.0.0.1:0", "KEYREEVE_METRICS_LISTEN=off", "HOME="+r.dir,
		"PATH="+filepath.Join(r.dir, "bin")+string(os.PathListSeparator)+os.Getenv("PATH"))
	return r
}

// here puts the page's places into the reader's folder.
func (r *reader) here(command string) string {
	return strings.NewReplacer("/var/lib/keyreeve", filepath.Join(r.dir, "var-lib-keyreeve"), "localhost:5696", r.addr).Replace(command)
}

func (r *reader) run(t *testing.T, c typed) {
	t.Helper()
	cmd := exec.Command("sh", "-c", r.here(c.command))
	cmd.Dir, cmd.Env = r.dir, r.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("$ %s: %v\n%s", c.command, err, out)
	}
	if shows := strings.Join(c.shows, "\n"); !strings.Contains(string(out), shows) {
		t.Errorf("$ %s printed\n%s, the page shows\n%s", c.command, out, shows)
	}
}

// start runs a command that serves, until it says so; it is ended by SIGTERM at
// the end of the test, with success.
func (r *reader) start(t *testing.T, command string) {
	t.Helper()
	ready := filepath.Join(t.TempDir(), "ready")
	cmd := exec.Command("sh", "-c", r.here(command)+" --ready-file "+ready)
	cmd.Dir, cmd.Env = r.dir, r.env
	log, dead := &logbuf.Buffer{}, make(chan struct{})
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = cmd.Wait(); close(dead) }()
	r.command, r.server, r.ended = command, cmd, dead
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		<-dead
		if !cmd.ProcessState.Success() {
			t.Errorf("$ %s ended with %v\n%s", command, cmd.ProcessState, log)
		}
	})
	served := poll(dead, func() bool {
		b, err := os.ReadFile(ready)
		r.addr = strings.TrimSpace(string(b))
		return err == nil && strings.HasSuffix(string(b), "\n")
	})
	if !served {
		t.Fatalf("$ %s does not serve:\n%s", command, log)
	}
}

// makeTarget runs what make would, but for the go command: the program is there.
func (r *reader) makeTarget(t *testing.T, target string) {
	t.Helper()
	out, err := exec.Command("make", "-n", "-C", "../..", target).CombinedOutput()
	if err != nil {
		t.Fatalf("make -n %s: %v\n%s", target, err, out)
	}
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "make"), strings.Contains(line, "CGO_ENABLED=0 go "): // build and test themselves
		case strings.HasPrefix(line, "exec "):
			r.start(t, line)
		default:
			r.run(t, typed{command: line})
		}
	}
}

// Every command of the README does what it says, in the order in which they
// stand there.
func TestReadme(t *testing.T) {
	r := newReader(t)
	r.files(t)
	ran := 0
	for _, c := range commandsOf(t, "../../README.md") {
		ran++
		switch {
		case c.command == "make lab", c.command == "make demo": // cmd/keyreeve-lab tests these
		case strings.HasPrefix(c.command, "make "):
			r.makeTarget(t, strings.TrimPrefix(c.command, "make "))
		case strings.HasPrefix(c.command, "bin/keyreeve server "):
			r.start(t, "exec "+c.command)
		default:
			r.run(t, c)
		}
	}
	if ran < 15 {
		t.Errorf("only %d commands found", ran)
	}
}

// Every command of the operator's handbook does what it says. What systemctl
// does to the service is done to the server that was started last.
func TestOperations(t *testing.T) {
	r := newReader(t)
	r.files(t)
	ran := 0
	for _, c := range commandsOf(t, "../../docs/operations.md") {
		ran++
		switch {
		case c.command == "systemctl reload keyreeve":
			if err := r.server.Process.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
		case c.command == "systemctl stop keyreeve":
			if err := r.server.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			<-r.ended
		case c.command == "systemctl start keyreeve":
			r.start(t, r.command)
		case strings.HasPrefix(c.command, "keyreeve server "):
			r.start(t, "exec "+c.command)
		default:
			r.run(t, c)
		}
	}
	if ran < 25 {
		t.Errorf("only %d commands found", ran)
	}
}

// files are what others would have sent to the reader.
func (r *reader) files(t *testing.T) {
	t.Helper()
	for _, f := range []struct{ kind, name, subject string }{
		{"csr", "nas.csr", "nas"}, {"csr", "vcenter.csr", "vcenter"}, {"self", "vcenter.pem", "vcenter"}, {"ca", "vmca.pem", "CA"},
	} {
		if err := os.WriteFile(filepath.Join(r.dir, f.name), foreignPEM(t, f.kind, f.subject), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// The table of exit codes on the page is the program's.
func TestReadmeExitCodes(t *testing.T) {
	page, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for code, meaning := range exitMeanings {
		if row := fmt.Sprintf("| %d | %s |\n", code, meaning); !bytes.Contains(page, []byte(row)) {
			t.Errorf("the page lacks %q", row)
		}
	}
}

// What the pages point at is there.
func TestPagesLinkToFiles(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("../../docs/decisions/*.md")
	if err != nil {
		t.Fatal(err)
	}
	link := regexp.MustCompile(`\]\(([^)#:]+)\)`)
	for _, page := range append(append(pages, more...), "../../README.md", "../../SECURITY.md", "../../CHANGELOG.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", page, m[1], err)
			}
		}
	}
}

// docs/testing.md names tests and scripts that exist.
func TestNamedTestsExist(t *testing.T) {
	page, err := os.ReadFile("../../docs/testing.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`([a-z/-]+)\\.((?:Test|Fuzz)[A-Za-z0-9]+)`").FindAllSubmatch(page, -1)
	if len(named) < 30 {
		t.Errorf("only %d tests are named", len(named))
	}
	for _, m := range named {
		files, err := filepath.Glob(filepath.Join("../..", string(m[1]), "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, file := range files {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			found = found || bytes.Contains(source, []byte("func "+string(m[2])+"("))
		}
		if !found {
			t.Errorf("there is no test %s in %s", m[2], m[1])
		}
	}
	for _, m := range regexp.MustCompile("scripts? `([a-z]+)`").FindAllSubmatch(page, -1) {
		if _, err := os.Stat("testdata/" + string(m[1]) + ".txt"); err != nil {
			t.Errorf("there is no script %s", m[1])
		}
	}
}

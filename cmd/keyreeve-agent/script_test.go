package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/cli"
	_ "github.com/vmware/govmomi/cli/vm"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/internal/programtest"
	"github.com/keyreeve/keyreeve/vsphere/vspheretest"
)

var programs = programtest.New("keyreeve", "keyreeve-lab")

func TestMain(m *testing.M) {
	programs.Main(m, map[string]func(){
		"keyreeve-agent": main,
		"govc":           func() { os.Exit(cli.Run(os.Args[1:])) },
	})
}

// The scripts of testdata type the commands as a person does, at a real key
// server, a vCenter that speaks KMIP to it and OVHcloud's double.
func TestScripts(t *testing.T) {
	path := programs.Dir(t)
	example, err := filepath.Abs("../../deploy/example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("GOVC_HOME", env.WorkDir)
			env.Setenv("EXAMPLE", example)
			for _, name := range []string{"METRICS", "METRICS_2"} {
				addr, err := vspheretest.FreeAddress(9696)
				if err != nil {
					return err
				}
				env.Setenv(name, addr)
			}
			env.Setenv("PATH", path+string(os.PathListSeparator)+env.Getenv("PATH"))
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exports": takeExports, "settings": writeSettings, "capture": programtest.Capture, "exits": programtest.Exits,
			"health": health, "metric": metric, "foreign": foreign, "upload": upload, "due": due, "killed": killed, "hangup": hangup,
		},
	})
}

// takeExports FILE [agent] takes over what a lab exports, and where its vCenter is.
func takeExports(ts *testscript.TestScript, neg bool, args []string) {
	programtest.Exports(ts, neg, args)
	for _, which := range []string{"", "_2"} {
		host, _, _ := strings.Cut(strings.TrimPrefix(ts.Getenv("GOVC_URL"+which), "https://"), "/")
		ts.Setenv("VCENTER"+which, host)
	}
}

// killed PATTERN COMMAND... runs a command, and kills it, as a power cut would,
// once it has written a line to its standard error that fits.
func killed(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: killed PATTERN COMMAND...")
	}
	pattern := regexp.MustCompile(args[0])
	c := exec.Command("/usr/bin/env", args[1:]...) // which looks for it in the script's path
	c.Dir = ts.MkAbs(".")
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "KEYREEVE_AGENT_VCENTER_PASSWORD"} {
		c.Env = append(c.Env, name+"="+ts.Getenv(name))
	}
	problems, err := c.StderrPipe()
	ts.Check(err)
	ts.Check(c.Start())
	said, hit := "", false
	for lines := bufio.NewScanner(problems); lines.Scan(); {
		said += lines.Text() + "\n"
		if pattern.MatchString(lines.Text()) && !hit {
			hit = true
			ts.Check(c.Process.Kill())
		}
	}
	if err := c.Wait(); err == nil || !hit {
		ts.Fatalf("it ended by itself (%v):\n%s", err, said)
	}
}

// hangup WORD sends SIGHUP to the agent that runs with that word in its command.
func hangup(ts *testscript.TestScript, _ bool, args []string) {
	found, err := filepath.Glob("/proc/[0-9]*/cmdline")
	ts.Check(err)
	for _, path := range found {
		words, _ := os.ReadFile(path) // it may have ended
		if !slices.Contains(strings.Split(string(words), "\x00"), args[0]) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		ts.Check(err)
		ts.Check(syscall.Kill(pid, syscall.SIGHUP))
		return
	}
	ts.Fatalf("no process has %s in its command", args[0])
}

// writeSettings FROM TO puts the values of variables into a file of settings.
func writeSettings(ts *testscript.TestScript, _ bool, args []string) {
	text := os.Expand(ts.ReadFile(args[0]), ts.Getenv)
	ts.Check(os.WriteFile(filepath.Clean(ts.MkAbs(args[1])), []byte(text), 0o600))
}

// due NAME puts how long the certificate still lasts, as certificate show -o json
// has just told, into a variable: with that as server.renew_before it is due.
func due(ts *testscript.TestScript, _ bool, args []string) {
	var shown struct {
		Ends string `json:"not_after"`
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &shown))
	ends, err := time.Parse("2006-01-02 15:04:05Z", shown.Ends)
	ts.Check(err)
	ts.Setenv(args[0], time.Until(ends).String())
}

// health ADDR TEXT waits until the agent's health says that.
func health(ts *testscript.TestScript, _ bool, args []string) {
	says(ts, args[0], "/healthz", args[1])
}

// metric ADDR LINE waits until the agent has that metric.
func metric(ts *testscript.TestScript, _ bool, args []string) {
	says(ts, args[0], "/metrics", args[1])
}

func says(ts *testscript.TestScript, addr, path, want string) {
	last := ""
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		res, err := http.Get("http://" + addr + path)
		if err != nil {
			last = err.Error()
			continue
		}
		text, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if last = string(text); err == nil && strings.Contains(last, want) {
			return
		}
	}
	ts.Fatalf("%s says %s, want %s", path, last, want)
}

// foreign DIR makes a CA that is not the key server's, and what it issued to
// vCenter: ca.pem, cert.pem, key.pem; and the subject in SUBJECT.
func foreign(ts *testscript.TestScript, _ bool, args []string) {
	ca, err := certs.NewCA(time.Now, rand.Reader)
	ts.Check(err)
	issued, err := ca.IssueClient(certs.ClientRequest{Name: "vcsa", Group: "x"})
	ts.Check(err)
	defer issued.Clear()
	key := issued.KeyPEM()
	defer key.Clear()
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o700))
	for name, text := range map[string][]byte{"ca.pem": ca.CertificatePEM(), "cert.pem": issued.CertificatePEM(), "key.pem": key.Expose()} {
		ts.Check(os.WriteFile(filepath.Join(dir, name), text, 0o600))
	}
	ts.Setenv("SUBJECT", certs.SubjectOf(issued.Certificate))
}

// upload PROVIDER DIR gives vCenter the pair in DIR, as a person does in its
// client: no command of govc's can.
func upload(ts *testscript.TestScript, _ bool, args []string) {
	ctx := context.Background()
	u, err := url.Parse(ts.Getenv("GOVC_URL"))
	ts.Check(err)
	u.User = url.UserPassword(ts.Getenv("GOVC_USERNAME"), ts.Getenv("GOVC_PASSWORD"))
	c, err := govmomi.NewClient(ctx, u, true)
	ts.Check(err)
	defer func() { _ = c.Logout(ctx) }()
	_, err = methods.UploadClientCert(ctx, c, &types.UploadClientCert{
		This: *c.ServiceContent.CryptoManager, Cluster: types.KeyProviderId{Id: args[0]},
		Certificate: ts.ReadFile(filepath.Join(args[1], "cert.pem")), PrivateKey: ts.ReadFile(filepath.Join(args[1], "key.pem")),
	})
	ts.Check(err)
}

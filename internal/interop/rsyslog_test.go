//go:build interop

package interop

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestSyslogServer sends the journal of a server that serves to rsyslog as Debian ships it, over TLS, stops rsyslog in
// between, and holds what it has written, as fields that rsyslog itself has parsed, against the journal.
func TestSyslogServer(t *testing.T) {
	dir := t.TempDir()
	port := freePort(t)
	writeSyslogCertificate(t, dir)
	t.Setenv("KEYREEVE_AUDIT_SYSLOG", "127.96.96.96:"+port)
	t.Setenv("KEYREEVE_AUDIT_SYSLOG_CA", filepath.Join(dir, "cert.pem"))
	t.Setenv("KEYREEVE_AUDIT_SYSLOG_NAME", "logs.example")
	r := startRsyslog(t, dir, port)
	s := start(t)
	awaitSyslog(t, r, "Enrol Client")
	r.stop(t)
	if out, err := s.run("client", "revoke", "lab", "--reason", "gone"); err != nil {
		t.Fatalf("client revoke: %v\n%s", err, out)
	}
	r = startRsyslog(t, dir, port)
	awaitSyslog(t, r, "Revoke Client")
	s.stop(t)
	s.launch(t) // what was journalled at the end comes now
	want := journalSeqs(t, s)
	deadline := time.Now().Add(60 * time.Second)
	for !containsAll(r.seqs(t), want) {
		if time.Now().After(deadline) {
			t.Fatalf("rsyslog has %d events, the journal %d\n%s", len(r.seqs(t)), len(want), s.log)
		}
		time.Sleep(200 * time.Millisecond)
	}
	for _, l := range r.lines(t) {
		if l.Operation == "Revoke Client" && l.Reason == "client lab: gone" && l.Severity == "info" {
			return
		}
	}
	t.Errorf("the revocation did not come through:\n%s", r.read())
}

// A syslogLine is what rsyslog made of a message.
type syslogLine struct {
	Severity  string `json:"severity"`
	Facility  string `json:"facility"`
	App       string `json:"app"`
	ID        string `json:"id"`
	Seq       string `json:"seq"`
	Operation string `json:"operation"`
	Reason    string `json:"reason"`
}

type rsyslog struct {
	out  string
	cmd  *exec.Cmd
	log  *bytes.Buffer
	dead chan struct{}
}

func startRsyslog(t *testing.T, dir, port string) *rsyslog {
	t.Helper()
	config := fmt.Sprintf(`global(workDirectory="%[1]s" DefaultNetstreamDriver="ossl" DefaultNetstreamDriverCAFile="%[1]s/cert.pem"
  DefaultNetstreamDriverCertFile="%[1]s/cert.pem" DefaultNetstreamDriverKeyFile="%[1]s/key.pem")
module(load="imtcp" StreamDriver.Name="ossl" StreamDriver.Mode="1" StreamDriver.AuthMode="anon")
module(load="mmpstrucdata")
template(name="parsed" type="list" option.jsonf="on") {
  property(outname="severity" name="syslogseverity-text" format="jsonf")
  property(outname="facility" name="syslogfacility" format="jsonf")
  property(outname="app" name="app-name" format="jsonf")
  property(outname="id" name="msgid" format="jsonf")
  property(outname="seq" name="$!rfc5424-sd!keyreeve@32473!seq" format="jsonf")
  property(outname="operation" name="$!rfc5424-sd!keyreeve@32473!operation" format="jsonf")
  property(outname="reason" name="$!rfc5424-sd!keyreeve@32473!reason" format="jsonf")
}
input(type="imtcp" port="%[2]s" address="127.96.96.96")
action(type="mmpstrucdata")
action(type="omfile" file="%[1]s/out" template="parsed")
`, dir, port)
	path := filepath.Join(dir, "rsyslog.conf")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	r := &rsyslog{out: filepath.Join(dir, "out"), log: &bytes.Buffer{}, dead: make(chan struct{})}
	r.cmd = exec.Command("/usr/sbin/rsyslogd", "-n", "-f", path, "-i", filepath.Join(dir, "pid"))
	r.cmd.Stdout, r.cmd.Stderr = r.log, r.log
	if err := r.cmd.Start(); err != nil {
		t.Fatalf("starting rsyslog: %v (are Debian's rsyslog and rsyslog-openssl installed?)", err)
	}
	go func() { _ = r.cmd.Wait(); close(r.dead) }()
	t.Cleanup(func() { _ = r.cmd.Process.Kill(); <-r.dead })
	return r
}

func (r *rsyslog) stop(t *testing.T) {
	t.Helper()
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-r.dead:
	case <-time.After(30 * time.Second):
		t.Fatal("rsyslog did not end within 30 s")
	}
}

func (r *rsyslog) read() string {
	data, _ := os.ReadFile(r.out)
	return string(data)
}

func (r *rsyslog) lines(t *testing.T) (all []syslogLine) {
	t.Helper()
	data := r.read()
	for text := range strings.Lines(data[:strings.LastIndexByte(data, '\n')+1]) {
		var l syslogLine
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if l.App != "keyreeve" {
			continue // rsyslog's own
		}
		if l.Facility != "13" || l.Seq == "" || (l.ID != "event" && l.ID != "checkpoint" && l.ID != "journal") {
			t.Errorf("not as it was sent: %s", text)
		}
		all = append(all, l)
	}
	return all
}

func (r *rsyslog) seqs(t *testing.T) map[uint64]bool {
	t.Helper()
	all := map[uint64]bool{}
	for _, l := range r.lines(t) {
		if n, err := strconv.ParseUint(l.Seq, 10, 64); err == nil && l.ID == "event" {
			all[n] = true
		}
	}
	return all
}

func awaitSyslog(t *testing.T, r *rsyslog, operation string) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		for _, l := range r.lines(t) {
			if l.Operation == operation {
				return
			}
		}
		if time.Now().After(end) {
			t.Fatalf("rsyslog never wrote %s:\n%s\n%s", operation, r.read(), r.log)
		}
	}
}

// journalSeqs returns the sequences of the journal, of the server's last life but for what it does now.
func journalSeqs(t *testing.T, s *server) (all []uint64) {
	t.Helper()
	out, err := s.run("audit", "export")
	if err != nil {
		t.Fatalf("audit export: %v\n%s", err, out)
	}
	for text := range strings.Lines(out) {
		var l struct {
			Type string
			Seq  uint64
		}
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatal(err)
		}
		if l.Type == "event" {
			all = append(all, l.Seq)
		}
	}
	if len(all) < 8 {
		t.Fatalf("only %d events", len(all))
	}
	return all
}

func containsAll(have map[uint64]bool, want []uint64) bool {
	for _, n := range want {
		if !have[n] {
			return false
		}
	}
	return true
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.96.96.96:0") // where nobody else listens or dials from
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func writeSyslogCertificate(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "logs.example"}, DNSNames: []string{"logs.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

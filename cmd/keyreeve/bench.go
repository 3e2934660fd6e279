package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/kmip/kmipbench"
)

const benchHelp = `Puts load on a server and measures it: the one at HOST:PORT, as the client whose
ca.pem, cert.pem and key.pem are in BUNDLE, or with --self one that is started for
it in a new folder and removed afterwards.

The client must have a group without keys (keyreeve client add bench --out BUNDLE
makes one). Every key that is made is destroyed at the end, also when you break off.

Operations: handshake (connect, one request, close), get, getattrs, locate (by Name),
create (no Name), vcenter (what vCenter does for one VM: three short connections).
echo is Get against a TLS server in this process that answers without looking: what
this machine and this client can do at all. Load and server share the machine here,
so compare ratios of one run rather than numbers of two.`

type benchOptions struct {
	self             bool
	in               string
	operations       []string
	connections      []int
	warmup, duration time.Duration
	pid              int
}

func (a *app) benchCommand(o *options) *cobra.Command {
	var b benchOptions
	cmd := &cobra.Command{
		Use: "bench [HOST:PORT BUNDLE]", Short: "measure how fast a server is", Long: benchHelp,
		Args: func(cmd *cobra.Command, args []string) error {
			if b.self {
				return takes(0, "")(cmd, args)
			}
			return takes(2, "say which server, HOST:PORT and BUNDLE, or --self; an argument")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error { return a.bench(cmd, o, b, args) },
	}
	f := cmd.Flags()
	f.BoolVar(&b.self, "self", false, "start a server for it in a new folder, and remove both afterwards")
	f.StringVar(&b.in, "self-in", "", "with --self: where that folder is made, which says which disk is measured (default: the system's temporary folder)")
	f.StringSliceVar(&b.operations, "operations", kmipbench.Operations, "what to measure")
	f.IntSliceVar(&b.connections, "connections", []int{1, 8, 64}, "with how many connections")
	f.DurationVar(&b.warmup, "warmup", time.Second, "before each measurement")
	f.DurationVar(&b.duration, "duration", 5*time.Second, "of each measurement")
	f.IntVar(&b.pid, "pid", 0, "the server's process, if it is on this machine: its processor time and an echo server are measured too")
	o.outputFlag(cmd)
	completeWords(cmd, "operations", kmipbench.Operations...)
	return cmd
}

// A benchReport is what bench prints.
type benchReport struct {
	Server     string             `json:"server"`
	FileSystem string             `json:"file_system,omitempty"` // under the store, with --self
	Results    []kmipbench.Result `json:"results"`
	Keys       int                `json:"keys"` // made, and destroyed again
}

func (b benchOptions) check(cmd *cobra.Command) error {
	for _, op := range b.operations {
		if !slices.Contains(kmipbench.Operations, op) {
			return usage(cmd, "unknown operation %q: want some of %s", op, strings.Join(kmipbench.Operations, ", "))
		}
	}
	for _, n := range b.connections {
		if n < 1 || n > 4096 {
			return usage(cmd, "--connections: %d is not between 1 and 4096", n)
		}
	}
	if b.duration <= 0 || b.duration > 10*time.Minute || b.warmup < 0 {
		return usage(cmd, "--duration is at most 10m, and --warmup not negative")
	}
	return nil
}

func (a *app) bench(cmd *cobra.Command, o *options, b benchOptions, args []string) (err error) {
	if err := errors.Join(o.checkOutput(cmd), b.check(cmd)); err != nil {
		return err
	}
	report := benchReport{}
	where := args
	if b.self {
		s, err := a.startScratch(cmd.Context(), b.in)
		if err != nil {
			return fmt.Errorf("starting a server to measure: %w", err)
		}
		defer func() { err = errors.Join(err, s.remove()) }()
		where, b.pid, report.FileSystem = []string{s.addr, s.bundle()}, s.cmd.Process.Pid, fileSystemOf(s.dir).kind
	}
	report.Server = where[0]
	cfg := kmipbench.Config{
		Addr: where[0], Operations: b.operations, Connections: b.connections, Warmup: b.warmup, Duration: b.duration,
		Report: func(r kmipbench.Result) {
			_, _ = fmt.Fprintf(a.err, "%s, %d connections: done\n", r.Operation, r.Connections)
		},
	}
	if b.pid != 0 {
		cfg.CPU, cfg.Echo = func() (time.Duration, error) { return processorTime(b.pid) }, true
	}
	if cfg.TLS, err = bundleTLS(where[1]); err != nil {
		return &failure{Code: exitUsage, Err: err}
	}
	report.Results, report.Keys, err = kmipbench.Run(cmd.Context(), cfg)
	if errors.Is(err, kmipbench.ErrNotEmpty) {
		return refuse("enrol a client for it that has a group of its own: keyreeve client add bench --out bench-bundle", "%w; nothing was touched", err)
	}
	return errors.Join(err, a.show(cmd, o, report, func(w io.Writer) { benchTable(w, report) }))
}

func benchTable(w io.Writer, r benchReport) {
	line(w, "OPERATION", "CONNECTIONS", "A SECOND", "P50", "P95", "P99", "MAX", "SERVER CPU", "OF ECHO")
	for _, m := range r.Results {
		cpu, echo := "-", "-"
		if m.CPU > 0 {
			cpu = m.CPU.Round(100 * time.Nanosecond).String()
		}
		if m.OfEcho > 0 {
			echo = fmt.Sprintf("%.0f %%", 100*m.OfEcho)
		}
		line(w, m.Operation, strconv.Itoa(m.Connections), strconv.FormatFloat(m.PerSecond, 'f', 0, 64),
			short(m.P50), short(m.P95), short(m.P99), short(m.Max), cpu, echo)
	}
	if r.FileSystem != "" {
		line(w, "the store is on "+r.FileSystem)
	}
	line(w, fmt.Sprintf("%d keys were made, and are destroyed again", r.Keys))
}

func short(d time.Duration) string { return d.Round(time.Microsecond).String() }

// bundleTLS reads a client's bundle.
func bundleTLS(dir string) (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	if err != nil {
		return nil, fmt.Errorf("reading the bundle: %w", err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		return nil, fmt.Errorf("reading the bundle: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("reading the bundle: %s holds no certificate", filepath.Join(dir, "ca.pem"))
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, RootCAs: roots}, nil
}

// startScratch starts a server with a new store, and enrols a client there.
func (a *app) startScratch(ctx context.Context, in string) (s *scratch, err error) {
	dir, err := os.MkdirTemp(cmp.Or(in, os.TempDir()), "keyreeve-bench-")
	if err != nil {
		return nil, err
	}
	s = &scratch{dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.remove())
		}
	}()
	if s.program, err = os.Executable(); err != nil {
		return nil, err
	}
	if err := s.run(ctx, "init", "--host", "127.0.0.1", "--key-type", "p256", "--dev"); err != nil {
		return nil, err
	}
	if err := s.serve(ctx); err != nil {
		return nil, err
	}
	return s, s.run(ctx, "client", "add", "bench", "--key-type", "p256", "--out", s.bundle())
}

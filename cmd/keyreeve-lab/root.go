package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/internal/program"
	"github.com/keyreeve/keyreeve/vsphere/vspheretest"
)

// The exit codes. They are part of the interface: scripts act on them.
const (
	exitDone = iota
	exitOther
	exitUsage
)

var exitMeanings = []string{
	exitDone:  "done; for a lab: it was stopped by a signal",
	exitOther: "a step failed, or the lab could not be started",
	exitUsage: "usage",
}

var commands = program.Commands{UsageCode: exitUsage}

func usage(format string, args ...any) error {
	return &program.Failure{Code: exitUsage, Err: fmt.Errorf(format, args...), Hint: "keyreeve-lab --help shows what it takes"}
}

// judge returns the exit code and the hint for an error.
func judge(err error) (code int, hint string) {
	if f, ok := errors.AsType[*program.Failure](err); ok {
		return f.Code, f.Hint
	}
	return exitOther, ""
}

// flags are what a lab can be told.
type flags struct {
	keyreeve                       string
	vms, hosts, clusters, vcenters int
	faults                         []string
	readyFile                      string
	trusted, rebuilt               bool
	openFirewall, noRight          bool
	timeout                        time.Duration
}

const help = `A whole lab: a real keyreeve server, simulated vCenters that speak KMIP to it,
and a double of OVHcloud's API whose firewall stands between them.

  keyreeve-lab                  start one, print the addresses, stay until Ctrl-C
  keyreeve-lab --trusted        the same, with OVHcloud and trust already set up
  keyreeve-lab demo             walk through the vendor's guide once, and prove each step`

// run carries out a command line and returns the exit code.
func (a *app) run(ctx context.Context, args []string) int {
	cmd := a.root()
	cmd.SetOut(a.out)
	cmd.SetErr(a.err)
	return program.Run(ctx, cmd, args, judge)
}

func (a *app) root() *cobra.Command {
	f := &flags{}
	cmd := &cobra.Command{
		Use: "keyreeve-lab", Short: "a vSphere encryption lab in one command", Long: help + "\n\n" + program.ExitHelp(exitMeanings),
		Args: commands.Takes(0, ""), SilenceErrors: true, SilenceUsage: true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		RunE:              func(cmd *cobra.Command, _ []string) error { return a.lab(cmd.Context(), f) },
	}
	p := cmd.PersistentFlags()
	p.StringVar(&f.keyreeve, "keyreeve", "", "the keyreeve program; by default the one beside this program, or in the path")
	p.IntVar(&f.vms, "vms", 4, "machines in each cluster, powered off")
	p.IntVar(&f.hosts, "hosts", 2, "hosts in each cluster")
	p.IntVar(&f.clusters, "clusters", 1, "clusters in each vCenter")
	p.IntVar(&f.vcenters, "vcenters", 1, "vCenters")
	cmd.Flags().StringArrayVar(&f.faults, "fault", nil, "what goes wrong on the way to the key server: refuse, hang, wrong-certificate, delay=2s, drop=100 (bytes)")
	cmd.Flags().StringVar(&f.readyFile, "ready-file", "", "write the exports to this file once the lab is up")
	cmd.Flags().BoolVar(&f.trusted, "trusted", false, "set up OVHcloud, the key provider, and trust both ways first")
	cmd.Flags().BoolVar(&f.rebuilt, "rebuilt", false, "encrypt the first vCenter's machines, and give them, locked, to a further one, as after the loss of the first (with --trusted)")
	cmd.Flags().BoolVar(&f.openFirewall, "open-firewall", false, "let vCenter reach the key server before OVHcloud was told")
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return commands.Usage(cmd, "%w", err) })
	cmd.Flags().BoolVar(&f.noRight, "no-encryption-right", false, "OVHcloud's users may not manage encryption")
	demo := &cobra.Command{
		Use: "demo", Short: "walk through the vendor's guide, and prove each step", Args: commands.Takes(0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.demo(cmd.Context(), f) },
	}
	demo.Flags().DurationVar(&f.timeout, "timeout", time.Minute, "give up after this time")
	cmd.AddCommand(demo)
	return cmd
}

// world starts what the flags describe.
func world(ctx context.Context, f *flags) (*vspheretest.World, error) {
	for name, n := range map[string]int{"vms": f.vms, "hosts": f.hosts, "clusters": f.clusters, "vcenters": f.vcenters} {
		if n < 1 {
			return nil, usage("--%s %d is less than 1", name, n)
		}
	}
	server, err := findKeyreeve(f.keyreeve)
	if err != nil {
		return nil, err
	}
	return vspheretest.NewWorld(ctx, vspheretest.WorldOptions{
		Keyreeve: server, VCenters: f.vcenters, OpenFirewall: f.openFirewall, OVHcloud: vspheretest.OVHcloudOptions{NoEncryptionRight: f.noRight},
		VCenter: vspheretest.Options{VMs: f.vms, Hosts: f.hosts, Clusters: f.clusters},
	})
}

// findKeyreeve returns the program that was named, lies beside this one, or is
// in the path.
func findKeyreeve(named string) (string, error) {
	if named != "" {
		return named, nil
	}
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), "keyreeve")
		if info, err := os.Stat(beside); err == nil && info.Mode().IsRegular() {
			return beside, nil
		}
	}
	found, err := exec.LookPath("keyreeve")
	if err != nil {
		return "", errors.New("the keyreeve program is neither beside keyreeve-lab nor in the path; build it with make build, or name it with --keyreeve")
	}
	return found, nil
}

// parseFault reads KIND or KIND=VALUE.
func parseFault(text string) (f vspheretest.Fault, err error) {
	kind, value, valued := strings.Cut(text, "=")
	f.Kind = vspheretest.FaultKind(kind)
	switch f.Kind {
	case vspheretest.Delay:
		f.Delay, err = time.ParseDuration(value)
	case vspheretest.Drop:
		f.After, err = strconv.Atoi(value)
	case vspheretest.Refuse, vspheretest.Hang, vspheretest.WrongCertificate:
		if valued {
			err = errors.New("it takes no value")
		}
	default:
		err = errors.New("there is no such fault")
	}
	if err == nil && (f.Delay < 0 || f.After < 0) {
		err = errors.New("it is negative")
	}
	if err != nil {
		return f, usage("--fault %s: %w", text, err)
	}
	return f, nil
}

func (a *app) print(format string, args ...any) { _, _ = fmt.Fprintf(a.out, format, args...) }

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/vsphere/vspheretest"
)

// Exit codes. They are part of the interface: scripts act on them.
const (
	exitDone  = 0
	exitOther = 1 // a step failed, or the lab could not be started
	exitUsage = 2
)

var errUsage = errors.New("usage")

// flags are what a lab can be told.
type flags struct {
	keyreeve                       string
	vms, hosts, clusters, vcenters int
	faults                         []string
	readyFile                      string
	trusted, rebuilt               bool
	openFirewall                   bool
	timeout                        time.Duration
}

const help = `A whole lab: a real keyreeve server, simulated vCenters that speak KMIP to it,
and a double of OVHcloud's API whose firewall stands between them.

  keyreeve-lab                  start one, print the addresses, stay until Ctrl-C
  keyreeve-lab --trusted        the same, with OVHcloud and trust already set up
  keyreeve-lab demo             walk through the vendor's guide once, and prove each step

Exit codes:
  0  done; for a lab: it was stopped by a signal
  1  a step failed, or the lab could not be started
  2  usage`

func (a *app) run(ctx context.Context, args []string) int {
	cmd := a.root()
	cmd.SetArgs(args)
	cmd.SetOut(a.out)
	cmd.SetErr(a.err)
	err := cmd.ExecuteContext(ctx)
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errUsage):
		_, _ = fmt.Fprintf(a.err, "keyreeve-lab: error: %v\nkeyreeve-lab: hint: keyreeve-lab --help shows what it takes\n", err)
		return exitUsage
	}
	_, _ = fmt.Fprintf(a.err, "keyreeve-lab: error: %v\n", err)
	return exitOther
}

func (a *app) root() *cobra.Command {
	f := &flags{}
	cmd := &cobra.Command{
		Use: "keyreeve-lab", Short: "a vSphere encryption lab in one command", Long: help,
		Args: noArgs, SilenceErrors: true, SilenceUsage: true,
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
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w: %w", errUsage, err) })
	demo := &cobra.Command{
		Use: "demo", Short: "walk through the vendor's guide, and prove each step", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.demo(cmd.Context(), f) },
	}
	demo.Flags().DurationVar(&f.timeout, "timeout", time.Minute, "give up after this time")
	cmd.AddCommand(demo)
	return cmd
}

func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%w: %q is one argument too many", errUsage, args[0])
	}
	return nil
}

// world starts what the flags describe.
func (a *app) world(ctx context.Context, f *flags) (*vspheretest.World, error) {
	for name, n := range map[string]int{"vms": f.vms, "hosts": f.hosts, "clusters": f.clusters, "vcenters": f.vcenters} {
		if n < 1 {
			return nil, fmt.Errorf("%w: --%s %d is less than 1", errUsage, name, n)
		}
	}
	program, err := a.findKeyreeve(f.keyreeve)
	if err != nil {
		return nil, err
	}
	return vspheretest.NewWorld(ctx, vspheretest.WorldOptions{
		Keyreeve: program, VCenters: f.vcenters, OpenFirewall: f.openFirewall,
		VCenter: vspheretest.Options{VMs: f.vms, Hosts: f.hosts, Clusters: f.clusters},
	})
}

// findKeyreeve returns the program that was named, lies beside this one, or is
// in the path.
func (a *app) findKeyreeve(named string) (string, error) {
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
		_, err = fmt.Sscanf(value, "%d", &f.After)
	case vspheretest.Refuse, vspheretest.Hang, vspheretest.WrongCertificate:
		if valued {
			err = errors.New("it takes no value")
		}
	default:
		err = errors.New("there is no such fault")
	}
	if err != nil {
		return f, fmt.Errorf("%w: --fault %s: %w", errUsage, text, err)
	}
	return f, nil
}

func (a *app) print(format string, args ...any) { _, _ = fmt.Fprintf(a.out, format, args...) }

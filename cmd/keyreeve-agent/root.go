package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/internal/program"
)

// options are the flags that many commands have.
type options struct {
	file   string
	output string
}

const rootHelp = `The companion of the Keyreeve key server at a vCenter: it tells OVHcloud and
vCenter about the server, and says which machine uses which key.

  keyreeve-agent config check -f FILE    are the settings right?
  keyreeve-agent doctor -f FILE          and is everything there that they need?
  keyreeve-agent plan -f FILE            what would be changed?
  keyreeve-agent apply -f FILE           change it`

func (a *app) root() *cobra.Command {
	o := &options{}
	cmd := &cobra.Command{
		Use: "keyreeve-agent", Short: "registers a key server with OVHcloud and vCenter, and keeps that true",
		Long: rootHelp + "\n\n" + exitHelp(),
		Args: noArgs, SilenceErrors: true, SilenceUsage: true,
		CompletionOptions: cobra.CompletionOptions{DisableNoDescFlag: true},
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVarP(&o.file, "file", "f", "", "the settings (environment: KEYREEVE_AGENT_CONFIG)")
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usage(cmd, "%v", err) })
	cmd.AddCommand(a.commands(o)...)
	completeOutputs(cmd)
	return cmd
}

func (a *app) commands(o *options) []*cobra.Command {
	return []*cobra.Command{
		a.configCommand(o), a.rolesCommand(o), a.versionCommand(o), a.ovhCommand(o), a.providerCommand(o), a.inventoryCommand(o),
		a.planCommand(o), a.applyCommand(o), a.doctorCommand(o), a.reportCommand(o), a.runCommand(o),
		a.unlockCommand(o), a.backupCommand(o), a.recoverCommand(o),
	}
}

// completeOutputs has every -o complete.
func completeOutputs(cmd *cobra.Command) {
	if f := cmd.Flags().Lookup("output"); f != nil {
		words := strings.Split(strings.ReplaceAll(f.Usage, " or ", ", "), ", ") // as its help says
		_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
	}
	for _, c := range cmd.Commands() {
		completeOutputs(c)
	}
}

// noun returns a command that does nothing but hold the verbs below it.
func noun(use, short string, verbs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(verbs...)
	return cmd
}

func noArgs(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) > 0 && cmd.HasSubCommands():
		return usage(cmd, "unknown command %q for %q", args[0], cmd.CommandPath())
	case len(args) > 0:
		return usage(cmd, "%q is one argument too many", args[0])
	}
	return nil
}

func (a *app) env(name string) string {
	for _, pair := range a.environ {
		if value, ok := strings.CutPrefix(pair, name+"="); ok {
			return value
		}
	}
	return ""
}

func (o *options) outputFlag(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.output, "output", "o", "table", "table or json")
}

// checkOutput refuses an output that there is not, before anything is done.
func (o *options) checkOutput(cmd *cobra.Command) error {
	if o.output != "json" && o.output != "table" {
		return usage(cmd, "unknown output %q: want table or json", o.output)
	}
	return nil
}

// show prints value as JSON, or calls table with a writer that aligns columns
// parted by tabs.
func (a *app) show(o *options, value any, table func(io.Writer)) error {
	if o.output == "json" {
		enc := json.NewEncoder(a.out)
		enc.SetIndent("", "  ")
		return enc.Encode(value)
	}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	table(w)
	return w.Flush()
}

func (a *app) print(format string, args ...any) { _, _ = fmt.Fprintf(a.out, format, args...) }

func (a *app) versionCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "version", Short: "print the version", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.checkOutput(cmd); err != nil {
				return err
			}
			return a.show(o, map[string]string{"version": program.Version()}, func(w io.Writer) {
				_, _ = fmt.Fprintf(w, "keyreeve-agent %s\n", program.Version())
			})
		},
	}
	o.outputFlag(cmd)
	return cmd
}

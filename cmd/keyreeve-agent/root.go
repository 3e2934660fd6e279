package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/internal/program"
)

// options are the flags that many commands have.
type options struct {
	file   string
	output string
}

const rootHelp = `The companion of the Keyreeve key server at a vCenter: it tells OVHcloud and
vCenter about the server, encrypts machines by a policy, and says which machine
uses which key.

  keyreeve-agent config check -f FILE    are the settings right?
  keyreeve-agent doctor -f FILE          and is everything there that they need?
  keyreeve-agent plan -f FILE            what would be changed?
  keyreeve-agent apply -f FILE           change it
  keyreeve-agent run -f FILE             keep it so
  keyreeve-agent status -f FILE          how is everything?`

func (a *app) root() *cobra.Command {
	o := &options{}
	cmd := &cobra.Command{
		Use: "keyreeve-agent", Short: "registers a key server with OVHcloud and vCenter, encrypts machines, and keeps that true",
		Long: rootHelp + "\n\n" + program.ExitHelp(exitMeanings),
		Args: noArgs, SilenceErrors: true, SilenceUsage: true,
		CompletionOptions: cobra.CompletionOptions{DisableNoDescFlag: true},
		RunE:              program.Help,
	}
	cmd.PersistentFlags().StringVarP(&o.file, "file", "f", "", "the settings (environment: KEYREEVE_AGENT_CONFIG)")
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usage(cmd, "%v", err) })
	cmd.AddCommand(a.commands(o)...)
	completeOutputs(cmd)
	return cmd
}

func (a *app) commands(o *options) []*cobra.Command {
	return []*cobra.Command{
		a.configCommand(o), a.rolesCommand(o), a.versionCommand(o), a.ovhCommand(o), a.providerCommand(o), a.inventoryCommand(o), a.certificateCommand(o),
		a.planCommand(o), a.applyCommand(o), a.doctorCommand(o), a.reportCommand(o), a.runCommand(o),
		a.statusCommand(o), a.rekeyCommand(o), a.unlockCommand(o), a.backupCommand(o), a.recoverCommand(o),
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

func noun(use, short string, verbs ...*cobra.Command) *cobra.Command {
	return commands.Noun(use, short, verbs...)
}

func noArgs(cmd *cobra.Command, args []string) error { return commands.Takes(0, "")(cmd, args) }

func (a *app) env(name string) string { return program.Env(a.environ, name) }

func (o *options) outputFlag(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.output, "output", "o", "table", "table or json")
}

func (o *options) checkOutput(cmd *cobra.Command) error { return commands.CheckOutput(cmd, o.output) }

func (a *app) show(o *options, value any, table func(io.Writer)) error {
	return program.Show(a.out, o.output, value, table)
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

package program

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// A Failure is an error that knows its exit code and what to do about it.
type Failure struct {
	Code int
	Err  error
	Hint string // "": nothing more can be said
}

// Error is the error's own text, without the hint.
func (f *Failure) Error() string { return f.Err.Error() }

// Unwrap is for errors.Is.
func (f *Failure) Unwrap() error { return f.Err }

// Judge returns the exit code and the hint for an error of any kind.
type Judge func(err error) (code int, hint string)

// Main runs a program until it is done, or a signal tells it to end, and exits
// with the code that run returns. A second signal ends it at once.
func Main(run func(ctx context.Context, args []string) int) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:]))
}

// Run carries out a command line, tells what went wrong to the command's
// standard error, and returns the exit code.
func Run(ctx context.Context, cmd *cobra.Command, args []string, judge Judge) int {
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	code, hint := judge(err)
	_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "%s: error: %v\n", cmd.Name(), err)
	if hint != "" {
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "hint: %s\n", hint)
	}
	return code
}

// ExitHelp is the text about exit codes in a program's help; meanings are by
// code.
func ExitHelp(meanings []string) string {
	var b strings.Builder
	b.WriteString("Exit codes:")
	width := len(fmt.Sprint(len(meanings) - 1))
	for code, meaning := range meanings {
		fmt.Fprintf(&b, "\n  %*d  %s", width, code, meaning)
	}
	return b.String()
}

// Commands makes what the commands of one program have in common.
type Commands struct {
	UsageCode   int // the exit code for a wrong command line
	RefusedCode int // and for a person's no
}

// Usage is the failure of a command line that is wrong.
func (c Commands) Usage(cmd *cobra.Command, format string, args ...any) error {
	return &Failure{c.UsageCode, fmt.Errorf(format, args...), cmd.CommandPath() + " --help shows what it takes"}
}

// Takes wants n arguments, which what names.
func (c Commands) Takes(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) > n && cmd.HasSubCommands():
			return c.Usage(cmd, "unknown command %q for %q", args[n], cmd.CommandPath())
		case len(args) > n:
			return c.Usage(cmd, "%q is one argument too many", args[n])
		case len(args) < n:
			return c.Usage(cmd, "%s is missing", what)
		}
		return nil
	}
}

// Noun returns a command that does nothing but hold the verbs below it.
func (c Commands) Noun(use, short string, verbs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: c.Takes(0, ""), RunE: Help}
	cmd.AddCommand(verbs...)
	return cmd
}

// Help is what a command does that does nothing.
func Help(cmd *cobra.Command, _ []string) error { return cmd.Help() }

// CheckOutput refuses an output that there is not, before anything is done.
func (c Commands) CheckOutput(cmd *cobra.Command, output string) error {
	if output != "json" && output != "table" {
		return c.Usage(cmd, "unknown output %q: want table or json", output)
	}
	return nil
}

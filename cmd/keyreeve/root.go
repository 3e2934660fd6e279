package main

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/internal/config"
	"github.com/keyreeve/keyreeve/internal/program"
)

func newApp() *app {
	called := os.Args[0]
	if strings.Contains(called, "/") { // as typed, it holds only in this folder
		if path, err := filepath.Abs(called); err == nil {
			called = path
		}
	}
	return &app{program: called, in: os.Stdin, out: os.Stdout, err: os.Stderr, environ: os.Environ(), now: time.Now, rand: rand.Reader}
}

// options are the flags that many commands have.
type options struct {
	data   string
	socket string
	server string // over HTTPS instead of the socket
	bundle string // what is shown to it
	output string
}

const rootHelp = `Keyreeve is a key management server: KMIP 1.0 to 1.4 over mutual TLS, keys sealed
in one file, every release of a key in a journal.

  keyreeve init --data DIR                   make a store
  keyreeve server --data DIR                 serve it
  keyreeve client add NAME --data DIR --out BUNDLE    let a client in`

func (a *app) root() *cobra.Command {
	o := &options{}
	cmd := &cobra.Command{
		Use:               "keyreeve",
		Short:             "a key management server for KMIP, and its command line",
		Long:              rootHelp + "\n\n" + program.ExitHelp(exitMeanings),
		Args:              noArgs,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableNoDescFlag: true},
		RunE:              program.Help,
	}
	flags := cmd.PersistentFlags()
	flags.StringVar(&o.data, "data", "", "data folder (environment: KEYREEVE_DATA)")
	flags.StringVar(&o.socket, "socket", "", "admin socket, where it is not admin.sock in the data folder")
	flags.StringVar(&o.server, "server", "", "ask a server elsewhere: https://HOST:PORT, with --bundle (environment: KEYREEVE_SERVER)")
	flags.StringVar(&o.bundle, "bundle", "", "with --server: the folder with the admin's ca.pem, cert.pem and key.pem (environment: KEYREEVE_BUNDLE)")
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage(cmd, "%v", err)
	})
	cmd.AddCommand(a.initCommand(o), a.serverCommand(o), a.clientCommand(o), a.userCommand(o), a.keyCommand(o), a.inventoryCommand(o), a.adminCommand(o), a.backupCommand(o),
		a.thumbprintCommand(o), a.verifyCommand(o), a.versionCommand(o))
	cmd.AddCommand(a.decodeCommand(o), a.recordCommand(o), a.configCommand(o), a.statusCommand(o), a.doctorCommand(o), a.benchCommand(o))
	cmd.AddCommand(a.auditCommand(o), a.rootKeyCommand(o), a.certificateCommand(o))
	a.addCompletions(cmd, o)
	cmd.SetHelpCommand(helpCommand())
	tameCompletion(cmd)
	return cmd
}

// helpCommand is cobra's with one difference: a command that there is not is a
// mistake.
func helpCommand() *cobra.Command {
	return &cobra.Command{Use: "help [COMMAND]", Short: "help about a command", RunE: func(cmd *cobra.Command, args []string) error {
		about, rest, err := cmd.Root().Find(args)
		if err != nil || len(rest) > 0 {
			return usage(cmd.Root(), "unknown command %q", strings.Join(args, " "))
		}
		return about.Help()
	}}
}

// tameCompletion makes cobra's command for completions like our own: lower case,
// and an unknown shell is a mistake.
func tameCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	cmd, _, err := root.Find([]string{"completion"})
	if err != nil {
		return // cobra makes it in its own time, with its own texts
	}
	cmd.Short, cmd.Args, cmd.RunE = "print the script that completes commands in a shell", noArgs, program.Help
	for _, shell := range cmd.Commands() {
		shell.Short = "print the script for " + shell.Name()
	}
}

func noun(use, short string, verbs ...*cobra.Command) *cobra.Command {
	return commands.Noun(use, short, verbs...)
}

func noArgs(cmd *cobra.Command, args []string) error { return takes(0, "")(cmd, args) }

// takes wants n arguments, which what names.
func takes(n int, what string) cobra.PositionalArgs { return commands.Takes(n, what) }

func (a *app) env(name string) string { return program.Env(a.environ, name) }

// dataFolder returns the absolute path of the data folder, which need not exist.
func (a *app) dataFolder(cmd *cobra.Command, o *options) (string, error) {
	if o.server != "" {
		return "", elsewhere(cmd)
	}
	data := o.data
	if data == "" {
		data = a.env(config.Env("data"))
	}
	if data == "" {
		return "", usage(cmd, "no data folder: give --data DIR or set %s", config.Env("data"))
	}
	return filepath.Abs(data)
}

// elsewhere refuses --server where a command reads the server's files.
func elsewhere(cmd *cobra.Command) error {
	return usage(cmd, "%s reads files of the server's machine: run it there, without --server", cmd.CommandPath())
}

func (o *options) outputFlag(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.output, "output", "o", "table", "table or json")
}

func (a *app) print(format string, args ...any) { _, _ = fmt.Fprintf(a.out, format, args...) }

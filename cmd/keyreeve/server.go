package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/internal/config"
	"github.com/keyreeve/keyreeve/internal/program"
)

const serverHelp = `Serves the store in the data folder: KMIP over mutual TLS on --listen, metrics and
health on loopback, and the admin's socket in the folder.

SIGTERM lets requests under way finish and ends. SIGHUP reloads the certificates
in DIR/tls and the log level. Settings come from --config, the environment
(KEYREEVE_…) over it, and flags over both.`

// settingFlags are the flags of the server that stand for a setting.
var settingFlags = []struct{ flag, setting, help string }{
	{"data", "data", ""}, // of all commands
	{"socket", "admin_socket", ""},
	{"listen", "listen", "address of the KMIP listener (default :5696)"},
	{"admin-listen", "admin_listen", "address of the admin API over HTTPS, or off (default off)"},
	{"metrics-listen", "metrics_listen", "address of metrics and health, or off (default 127.0.0.1:9696)"},
	{"root-key", "root_key_file", "the root key's file (default: DIR.rootkey)"},
	{"passphrase-file", "passphrase_file", "the file with the passphrase, where the store was made with one"},
	{"log-format", "log_format", "text or json"},
	{"log-level", "log_level", "debug, info, warn or error"},
	{"record", "record_file", "record every KMIP message in this new file, without keys and passwords"},
	{"record-hide", "record_hide", "what else a recording leaves out: names, attributes, usernames, addresses (default: all), or none"},
	{"dev", "dev", "allow a temporary folder, for a store that may be lost"},
}

type serverOptions struct {
	configFile string
	readyFile  string

	levelByFlag bool // so that a reload does not undo it
}

func (a *app) serverCommand(*options) *cobra.Command {
	s := &serverOptions{}
	cmd := &cobra.Command{
		Use: "server", Short: "serve a store", Long: serverHelp, Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.settings(cmd, s)
			if err != nil {
				return err
			}
			return a.serve(cmd.Context(), c, s)
		},
	}
	f := cmd.Flags()
	addSettingFlags(cmd, "listen", "admin-listen", "metrics-listen", "root-key", "passphrase-file", "log-format", "log-level", "record", "record-hide", "dev")
	a.configFlag(cmd, &s.configFile)
	f.StringVar(&s.readyFile, "ready-file", "", "write the bound KMIP address to this file when the server serves")
	return cmd
}

func addSettingFlags(cmd *cobra.Command, names ...string) {
	for _, sf := range settingFlags {
		switch {
		case !slices.Contains(names, sf.flag):
		case sf.flag == "dev":
			cmd.Flags().Bool(sf.flag, false, sf.help)
		default:
			cmd.Flags().String(sf.flag, "", sf.help)
		}
	}
}

func (a *app) configFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVar(path, "config", a.env(config.EnvPrefix+"CONFIG"), "configuration file")
}

// settings puts file, environment and flags together.
func (a *app) settings(cmd *cobra.Command, s *serverOptions) (c config.Config, err error) {
	c, unknown, err := config.Load(s.configFile, a.environ)
	if err != nil {
		return c, err
	}
	for _, name := range unknown {
		_, _ = fmt.Fprintf(a.err, "keyreeve: warning: environment variable %s is no setting\n", name)
	}
	for _, sf := range settingFlags {
		if f := cmd.Flags().Lookup(sf.flag); f != nil && f.Changed {
			if err := c.Set(sf.setting, f.Value.String()); err != nil {
				return c, fmt.Errorf("--%s: %w", sf.flag, err)
			}
		}
	}
	if c.Data == "" {
		return c, usage(cmd, "no data folder: give --data DIR, set %s, or say data: in the configuration", config.Env("data"))
	}
	s.levelByFlag = cmd.Flags().Changed("log-level")
	if c.Data, err = filepath.Abs(c.Data); err == nil && c.Backup.Dir != "" {
		c.Backup.Dir, err = filepath.Abs(c.Backup.Dir)
	}
	return c, err
}

// newLogger writes to standard error; its level can be changed later.
func (a *app) newLogger(c config.Config, level *slog.LevelVar) *slog.Logger {
	level.Set(c.LogLevel)
	form := func(w io.Writer, o *slog.HandlerOptions) slog.Handler { return slog.NewTextHandler(w, o) }
	if c.LogFormat == "json" {
		form = func(w io.Writer, o *slog.HandlerOptions) slog.Handler { return slog.NewJSONHandler(w, o) }
	}
	if program.ToJournal(a.err, a.env("JOURNAL_STREAM")) {
		return slog.New(program.NewJournalHandler(a.err, level, form))
	}
	return slog.New(form(a.err, &slog.HandlerOptions{Level: level}))
}

var errStopped = errors.New("the server stopped by itself")

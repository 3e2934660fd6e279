package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/internal/config"
)

func (a *app) configCommand(o *options) *cobra.Command {
	return noun("config", "the server's settings", a.configCheckCommand(o))
}

const configCheckHelp = `Reads the settings as the server would, from FILE (or --config, or KEYREEVE_CONFIG)
and the environment over it, and tells every mistake with its line, and each setting
with where it comes from. Flags of a server that runs are not known here.

Exit code 0 says that a server would take them, 2 that it would not.`

// A configReport is what config check prints.
type configReport struct {
	Settings []config.Origin `json:"settings"`
	Problems []string        `json:"problems"`
	Warnings []string        `json:"warnings"`
}

func (a *app) configCheckCommand(o *options) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "check [FILE]", Short: "check the settings, and say where each comes from", Long: configCheckHelp, Args: atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				file = args[0]
			}
			r := explain(config.Explain(file, a.environ))
			if err := a.show(cmd, o, r, func(w io.Writer) { configFields(w, r) }); err != nil {
				return err
			}
			if n := len(r.Problems); n > 0 {
				return &failure{Code: exitUsage, Err: fmt.Errorf("mistakes in the settings: %d", n), Hint: "deploy/keyreeve.yaml explains every setting"}
			}
			return nil
		},
	}
	a.configFlag(cmd, &file)
	o.outputFlag(cmd)
	return cmd
}

func explain(e *config.Explanation) configReport {
	r := configReport{Settings: e.Origins, Problems: []string{}, Warnings: []string{}}
	for _, err := range append(e.Problems, contradictions(e.Config)...) {
		r.Problems = append(r.Problems, err.Error())
	}
	for _, name := range e.Unknown {
		r.Warnings = append(r.Warnings, fmt.Sprintf("environment variable %s is no setting", name))
	}
	for _, w := range []struct {
		is   bool
		text string
	}{
		{e.Config.Data == "", "data is not set: the server needs --data then"},
		{e.Config.Dev, "dev is on: the store may lie in a folder that is emptied at the next start"},
		{e.Config.LegacySuites, "legacy_suites is on: what is recorded on the network can be read by whoever gets the server's TLS key"},
		{e.Config.RecordFile != "", "record_file is set: every KMIP message is recorded"},
		{e.Config.GracePeriod == 0, "grace_period is 0: a key that is destroyed cannot be brought back"},
	} {
		if w.is {
			r.Warnings = append(r.Warnings, w.text)
		}
	}
	return r
}

// contradictions are settings that are right each by itself.
func contradictions(c config.Config) (errs []error) {
	if c.RootKeyFile != "" && c.PassphraseFile != "" {
		errs = append(errs, errors.New("root_key_file and passphrase_file exclude each other"))
	}
	if err := checkJournalSettings(&c); err != nil {
		errs = append(errs, err)
	}
	b := c.Backup
	switch {
	case len(b.Recipients) > 0 && b.PassphraseFile != "":
		errs = append(errs, errors.New("backup.recipients and backup.passphrase_file exclude each other"))
	case b.Every > 0 && b.Dir == "":
		errs = append(errs, errors.New("backup.every is set, and backup.dir is not: there is no place for backups"))
	case b.Every > 0 && len(b.Recipients) == 0 && b.PassphraseFile == "":
		errs = append(errs, errors.New("backup.every is set, and nobody could open a backup: set backup.recipients"))
	}
	return errs
}

func configFields(w io.Writer, r configReport) {
	line(w, "SETTING", "VALUE", "FROM")
	for _, s := range r.Settings {
		line(w, s.Name, dash(s.Value), s.From)
	}
	for _, text := range r.Warnings {
		line(w, "warning", text)
	}
	for _, text := range r.Problems {
		line(w, "mistake", text)
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/internal/config"
)

const verifyHelp = `Checks the whole store and the whole journal: every page, every record, every
index entry, the sealed head, the chain of the journal, and that the two belong
together. A server that runs does it while it serves; where none runs, the command
opens the folder itself and needs the root key.

Exit code 0 says that all is as it was written, 8 that something is damaged, 9 that
store and journal do not belong together.`

func (a *app) verifyCommand(o *options) *cobra.Command {
	var configFile string
	cmd := &cobra.Command{
		Use: "verify", Short: "check store and journal", Long: verifyHelp, Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			report, err := a.verify(cmd, o, configFile)
			if err != nil {
				return err
			}
			if err := a.show(cmd, o, report, func(w io.Writer) { reportFields(w, report) }); err != nil {
				return err
			}
			if n := len(report.Violations); n > 0 {
				return &failure{Code: exitDamaged, Err: fmt.Errorf("%d violations in the store %s", n, report.StoreID), Hint: hintRestore}
			}
			return nil
		},
	}
	addSettingFlags(cmd, "root-key", "passphrase-file")
	a.configFlag(cmd, &configFile)
	o.outputFlag(cmd)
	return cmd
}

func reportFields(w io.Writer, r admin.VerifyReport) {
	line(w, "store", r.StoreID)
	line(w, "keys", fmt.Sprint(r.Objects))
	line(w, "other records", fmt.Sprint(r.Records))
	line(w, "journal entries", fmt.Sprint(r.JournalEntries))
	for _, v := range r.Violations {
		line(w, "violation", v)
	}
	if len(r.Violations) == 0 {
		line(w, "result", "all is as it was written")
	}
}

func (a *app) verify(cmd *cobra.Command, o *options, configFile string) (admin.VerifyReport, error) {
	server, err := a.adminClient(cmd, o)
	if err != nil {
		return admin.VerifyReport{}, err
	}
	defer server.Close()
	report, err := server.Verify(cmd.Context())
	if !errors.Is(err, admin.ErrNotRunning) || o.isRemote(a) {
		return report, err
	}
	c, err := a.settings(cmd, &serverOptions{configFile: configFile})
	if err != nil {
		return report, err
	}
	return a.verifyFolder(cmd.Context(), c)
}

// verifyFolder reads all files before it opens the store, since opening it may
// already write.
func (a *app) verifyFolder(ctx context.Context, c config.Config) (report admin.VerifyReport, err error) {
	c.LogLevel = slog.LevelWarn
	logger := a.newLogger(c, &slog.LevelVar{})
	how := opening{config: c, logger: logger, before: func(ctx context.Context, v *vault) error {
		return a.verifyFiles(ctx, v, logger, &report)
	}}
	v, err := a.open(ctx, folder(c.Data), how)
	if err != nil {
		return report, err
	}
	err = v.verifyRecords(ctx, &report)
	return report, errors.Join(err, v.close(ctx))
}

func (a *app) verifyFiles(ctx context.Context, v *vault, logger *slog.Logger, report *admin.VerifyReport) error {
	journal, err := audit.Verify(v.auditConfig(a, logger))
	report.StoreID, report.JournalEntries = hexadecimal(v.id), journal.Entries
	if err != nil {
		return err
	}
	return v.backend.Verify(ctx)
}

func (v *vault) verifyRecords(ctx context.Context, report *admin.VerifyReport) error {
	found, err := v.store.Check(ctx)
	if err != nil {
		return err
	}
	report.Objects, report.Records = uint64(found.Objects), uint64(found.Records)
	report.Violations = []string{}
	for _, violation := range found.Violations {
		report.Violations = append(report.Violations, fmt.Sprintf("I%d: %s", violation.Invariant, violation.Detail))
	}
	return nil
}

// verifyOpen is verify while the server serves.
func (v *vault) verifyOpen(ctx context.Context, a *app, logger *slog.Logger) (report admin.VerifyReport, err error) {
	if err := a.verifyFiles(ctx, v, logger, &report); err != nil {
		return report, err
	}
	return report, v.verifyRecords(ctx, &report)
}

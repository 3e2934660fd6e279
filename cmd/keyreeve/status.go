package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/admin"
)

const statusHelp = `Asks the server how it is.

Exit codes, for monitoring: 0 it serves and can hand out keys and take new ones, 1 it
runs and cannot, 11 it does not run, 3 there is no store. keyreeve doctor looks at
what is around it.`

func (a *app) statusCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "status", Short: "ask the server how it is", Long: statusHelp, Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			server, err := a.adminClient(cmd, o)
			if err != nil {
				return err
			}
			defer server.Close()
			st, err := server.Status(cmd.Context())
			if err != nil {
				return err
			}
			if err := a.show(cmd, o, st, func(w io.Writer) { statusFields(w, st) }); err != nil {
				return err
			}
			if !st.Ready {
				return &failure{Code: exitOther, Err: fmt.Errorf("the server runs, and is not ready: %s", st.Problem), Hint: "keyreeve doctor looks for the reason"}
			}
			return nil
		},
	}
	o.outputFlag(cmd)
	return cmd
}

func statusFields(w io.Writer, st admin.Status) {
	ready := "yes"
	if !st.Ready {
		ready = "no: " + st.Problem
	}
	field(w, "ready", ready)
	field(w, "version", st.Version)
	field(w, "started", date(st.Started))
	field(w, "kmip", st.Listen)
	field(w, "admin api", st.AdminListen)
	field(w, "metrics", st.Metrics)
	field(w, "data", st.Data)
	field(w, "store", st.StoreID)
	field(w, "keys", strconv.FormatUint(st.Objects, 10))
	inventoryStatus(w, st.Inventory)
	field(w, "clients", strconv.Itoa(st.Clients))
	backupFields(w, st.Backup)
	field(w, "certificate", "until "+date(st.Expires))
	field(w, "  sha-1", st.Certificate.SHA1)
	field(w, "  sha-256", st.Certificate.SHA256)
	field(w, "root key", st.Seal.RootKey)
	journalStatusFields(w, st.Journal)
	if st.Disk.Problem == "" {
		field(w, "disk", fmt.Sprintf("%d MiB free, of which %d MiB are held back", st.Disk.Free>>20, st.Disk.Held>>20))
	}
	field(w, "disk problem", st.Disk.Problem)
	for _, c := range st.Certificates {
		if c.What != "server" {
			field(w, "ends", strings.TrimSpace(c.What+" "+c.Name)+" "+date(c.Ends))
		}
	}
}

func journalStatusFields(w io.Writer, j admin.JournalStatus) {
	field(w, "journal", fmt.Sprintf("entry %d", j.Sequence))
	signed := "no checkpoint was signed yet"
	if j.Signed > 0 {
		signed = fmt.Sprintf("up to entry %d, %s", j.Signed, date(j.SignedAt))
	}
	field(w, "  signed", signed)
	for _, e := range j.Exports {
		has := "has all"
		if e.Behind > 0 {
			has = fmt.Sprintf("lacks %d entries; it had all %s", e.Behind, date(e.CaughtUp))
		}
		field(w, "  "+e.To, has)
	}
	field(w, "  problem", j.Problem)
}

func backupFields(w io.Writer, b admin.BackupStatus) {
	last := "none that was verified"
	if b.Last != nil {
		last = date(b.Last.Created) + ", verified, " + b.Last.Path
	}
	field(w, "last backup", last)
	if b.NewerKeys {
		field(w, "  not in it", "keys up to "+date(b.NewestKey))
	}
	field(w, "  failed", b.Failed)
	field(w, "  problem", b.Problem)
	field(w, "  every", b.Every)
}

const doctorHelp = `Looks at the server and at what is around it: clock, disk, file system, ports,
certificates, root key, memory, backups, journal, clients. It changes nothing, and
works as far as it can while the server is down. Run it on the server's machine, as
root or as the server's user.

Exit code 0 says that nothing has failed (warnings may be there), 1 that something has.`

// A finding is what one check has found.
type finding struct {
	Check  string `json:"check"`
	Level  level  `json:"level"`
	Detail string `json:"detail"`
	Do     string `json:"do,omitempty"` // for warn and fail
}

type level string

const (
	levelOK   level = "ok"
	levelWarn level = "warn"
	levelFail level = "fail"
)

func ok(format string, args ...any) finding {
	return finding{Level: levelOK, Detail: fmt.Sprintf(format, args...)}
}

func warn(do, format string, args ...any) finding {
	return finding{Level: levelWarn, Detail: fmt.Sprintf(format, args...), Do: do}
}

func fail(do, format string, args ...any) finding {
	return finding{Level: levelFail, Detail: fmt.Sprintf(format, args...), Do: do}
}

func (a *app) doctorCommand(o *options) *cobra.Command {
	s := &serverOptions{}
	cmd := &cobra.Command{
		Use: "doctor", Short: "look for what is or will be wrong", Long: doctorHelp, Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.server != "" {
				return elsewhere(cmd)
			}
			c, err := a.settings(cmd, s)
			if err != nil {
				return err
			}
			found := diagnose(a.examine(cmd, o, c))
			if err := a.show(cmd, o, found, func(w io.Writer) { findings(w, found) }); err != nil {
				return err
			}
			for _, f := range found {
				if f.Level == levelFail {
					return &failure{Code: exitOther, Err: errors.New("something is wrong with the server")}
				}
			}
			return nil
		},
	}
	addSettingFlags(cmd, "listen", "metrics-listen", "root-key", "passphrase-file", "dev")
	a.configFlag(cmd, &s.configFile)
	o.outputFlag(cmd)
	return cmd
}

func findings(w io.Writer, found []finding) {
	for _, f := range found {
		line(w, string(f.Level), f.Check, f.Detail)
		if f.Do != "" {
			line(w, "", "", "→ "+f.Do)
		}
	}
}

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/admin"
)

const inventoryHelp = `Which machines and hosts use which key, as the agents of vCenters report it. A key
in use is not destroyed. It is released when two complete reports in a row do not
name it; many at once wait until a person confirms that.`

func (a *app) inventoryCommand(o *options) *cobra.Command {
	cmd := noun("inventory", "which machines use which keys",
		a.inventoryListCommand(o), a.inventoryShowCommand(o), a.inventoryAssignCommand(o), a.inventoryConfirmCommand(o),
		a.inventoryRemoveCommand(o), a.inventoryReportCommand(o))
	cmd.Long = inventoryHelp
	return cmd
}

func (a *app) inventoryListCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "list the vCenters that were assigned to an agent", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			server, err := a.adminClient(cmd, o)
			if err != nil {
				return err
			}
			defer server.Close()
			all, err := server.Inventories(cmd.Context())
			if err != nil {
				return err
			}
			return a.show(cmd, o, all, func(w io.Writer) {
				line(w, "VCENTER", "NAME", "AGENT", "KEYS", "WAITING", "MISSING", "DESTROYED", "LAST COMPLETE REPORT")
				for _, v := range all {
					line(w, v.VCenter, dash(v.Name), v.Agent, count(v.Keys), count(v.Waiting), count(v.Missing), count(v.Destroyed), dash(date(v.Complete)))
				}
			})
		},
	}
	o.outputFlag(cmd)
	return cmd
}

func count(n uint64) string { return strconv.FormatUint(n, 10) }

func (a *app) inventoryShowCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "show VCENTER", Short: "show a vCenter and the keys that it uses", Args: takes(1, "the vCenter's instance UUID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			server, err := a.adminClient(cmd, o)
			if err != nil {
				return err
			}
			defer server.Close()
			v, err := wholeInventory(cmd, server, args[0])
			if err != nil {
				return err
			}
			return a.show(cmd, o, v, func(w io.Writer) {
				inventoryFields(w, v.Inventory)
				for _, k := range v.Keys {
					line(w, "key "+k.Key, usedBy(k))
				}
			})
		},
	}
	o.outputFlag(cmd)
	return cmd
}

// wholeInventory asks for all pages.
func wholeInventory(cmd *cobra.Command, server *admin.Client, vcenter string) (all admin.InventoryPage, err error) {
	for after := ""; ; {
		page, err := server.Inventory(cmd.Context(), vcenter, admin.InventoryQuery{After: after})
		if err != nil {
			return all, err
		}
		all.Inventory, all.Keys = page.Inventory, append(all.Keys, page.Keys...)
		if after = page.Next; after == "" {
			return all, nil
		}
	}
}

func inventoryFields(w io.Writer, v admin.Inventory) {
	field(w, "vcenter", v.VCenter)
	field(w, "name", v.Name)
	field(w, "agent", v.Agent)
	field(w, "groups", strings.Join(v.Groups, ", "))
	field(w, "key providers", strings.Join(v.Providers, ", "))
	if v.Number > 0 {
		field(w, "last report", fmt.Sprintf("%d, %s, %d entries", v.Number, date(v.Received), v.Entries))
	} else {
		field(w, "last report", "none yet")
	}
	field(w, "last complete report", date(v.Complete))
	for _, r := range v.Reasons {
		field(w, "the last one is partial", r)
	}
	field(w, "keys in use", count(v.Keys))
	for _, n := range []struct {
		name  string
		n     uint64
		means string
	}{
		{"waiting", v.Waiting, "not named any more; confirm that, or they stay in use: keyreeve inventory confirm"},
		{"missing", v.Missing, "named, and not in this store: bring them back from a backup"},
		{"destroyed", v.Destroyed, "named, and destroyed: keyreeve key recover"},
		{"of other groups", v.Foreign, "named, and not of the groups above"},
	} {
		if n.n > 0 {
			field(w, n.name, count(n.n)+" ("+n.means+")")
		}
	}
	for _, key := range v.Lost {
		field(w, "lost", key)
	}
	if v.Removing {
		field(w, "removal", "was begun and not finished: run keyreeve inventory remove again")
	}
}

// usedBy names the first users of a key.
func usedBy(k admin.UsedKey) string {
	var names []string
	for _, u := range k.Users[:min(len(k.Users), 3)] {
		name := u.Kind + " " + u.Name
		if u.Disk != "" {
			name += " (" + u.Disk + ")"
		}
		names = append(names, name)
	}
	text := strings.Join(names, ", ")
	if rest := k.Total - uint64(len(names)); rest > 0 {
		text += fmt.Sprintf(" and %d more", rest)
	}
	if k.Absent {
		text += "; not in the last complete report"
	}
	return text
}

func (a *app) inventoryAssignCommand(o *options) *cobra.Command {
	var req admin.AssignRequest
	cmd := &cobra.Command{
		Use: "assign VCENTER", Short: "say which agent reports on a vCenter",
		Long: `Says which agent (keyreeve admin add NAME --role agent) reports on a vCenter, and of
which groups the keys are that it uses. Reports of any other agent are refused. To
change it, assign again.`,
		Args: takes(1, "the vCenter's instance UUID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if req.Agent == "" || len(req.Groups) == 0 {
				return usage(cmd, "--agent and --group are needed")
			}
			server, err := a.adminClient(cmd, o)
			if err != nil {
				return err
			}
			defer server.Close()
			req.VCenter = args[0]
			v, err := server.AssignInventory(cmd.Context(), req)
			if err != nil {
				return err
			}
			a.print("vCenter %s is reported by agent %s\n", v.VCenter, v.Agent)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&req.Agent, "agent", "", "the agent's name")
	f.StringArrayVar(&req.Groups, "group", nil, "group whose keys the vCenter uses; may be given many times")
	f.StringVar(&req.Name, "name", "", "what people call the vCenter")
	return cmd
}

// A confirmation is what releases keys: the number of keys has to be typed, so
// that somebody has looked.
type confirmation struct {
	keys   int64
	reason string
}

func (c *confirmation) flags(cmd *cobra.Command, keys string) {
	cmd.Flags().Int64Var(&c.keys, "keys", -1, keys)
	cmd.Flags().StringVar(&c.reason, "reason", "", "why; it goes into the journal")
}

// command makes a command about one vCenter, whose summary act gets.
func (c *confirmation) command(a *app, o *options, cmd *cobra.Command, act func(cmd *cobra.Command, server *admin.Client, v admin.Inventory) error) *cobra.Command {
	cmd.Args = takes(1, "the vCenter's instance UUID")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		server, err := a.adminClient(cmd, o)
		if err != nil {
			return err
		}
		defer server.Close()
		page, err := server.Inventory(cmd.Context(), args[0], admin.InventoryQuery{Limit: 1})
		if err != nil {
			return err
		}
		return act(cmd, server, page.Inventory)
	}
	return cmd
}

// check compares what was typed with what there is.
func (c *confirmation) check(cmd *cobra.Command, there uint64, what string) error {
	switch {
	case strings.TrimSpace(c.reason) == "":
		return usage(cmd, "say why, for the journal: --reason TEXT")
	case c.keys < 0:
		return usage(cmd, "%d keys %s; if that is right, say so: --keys %d", there, what, there)
	case uint64(c.keys) != there:
		return refuse("nothing was released; look again: keyreeve inventory show", "%d keys %s, not %d", there, what, c.keys)
	}
	return nil
}

func (a *app) inventoryConfirmCommand(o *options) *cobra.Command {
	var given confirmation
	cmd := &cobra.Command{
		Use: "confirm VCENTER", Short: "confirm that keys are not used any more",
		Long: `A vCenter stopped using many keys at once, or all. That can be so, and it can be an
agent that does not see everything any more; so they stay in use until somebody who
knows says that they are not. After that they can be destroyed.`,
	}
	given.flags(cmd, "how many keys are not used any more, as inventory show says")
	return given.command(a, o, cmd, func(cmd *cobra.Command, server *admin.Client, v admin.Inventory) error {
		if v.Waiting == 0 {
			return refuse("", "no keys of vCenter %s wait to be confirmed", v.VCenter)
		}
		if err := given.check(cmd, v.Waiting, "are not named any more"); err != nil {
			return err
		}
		v, err := server.ConfirmInventory(cmd.Context(), v.VCenter, admin.ConfirmRequest{Number: v.Number, Keys: v.Waiting, Reason: given.reason})
		if err != nil {
			return err
		}
		a.print("%d keys of vCenter %s are released; it uses %d\n", given.keys, v.VCenter, v.Keys)
		return nil
	})
}

func (a *app) inventoryRemoveCommand(o *options) *cobra.Command {
	var given confirmation
	cmd := &cobra.Command{
		Use: "remove VCENTER", Short: "forget a vCenter that is gone for good",
		Long: `Forgets a vCenter that is gone for good, and releases all keys that it used: they can
be destroyed then. It must have been silent for a day. If only its agent is gone,
assign it to another one instead.`,
	}
	given.flags(cmd, "how many keys it uses, as inventory show says")
	return given.command(a, o, cmd, func(cmd *cobra.Command, server *admin.Client, v admin.Inventory) error {
		if err := given.check(cmd, v.Keys, "are in use by it"); err != nil {
			return err
		}
		if err := server.RemoveInventory(cmd.Context(), v.VCenter, admin.RemoveRequest{Keys: uint64(given.keys), Reason: given.reason}); err != nil {
			return err
		}
		a.print("vCenter %s is removed; %d keys are released\n", v.VCenter, given.keys)
		return nil
	})
}

// reportFile is what inventory report reads.
type reportFile struct {
	VCenter string `json:"vcenter"`
	admin.InventoryHeader
	List []admin.InventoryEntry `json:"list"`
}

func (a *app) inventoryReportCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "report FILE", Short: "report an inventory as an agent does",
		Long: `Sends a report from a file in JSON, for sites whose inventory a script makes:

  {"vcenter": "UUID", "instance": "UUID", "number": 7, "time": "2026-11-26T14:00:00Z",
   "partial": [], "providers": ["kms"],
   "list": [{"key": "UID", "user": {"kind": "vm", "name": "db-1", "uuid": "…", "provider": "kms"}}]}

instance is a random UUID, made once; number rises by one with each report; partial
says why not all was seen. Use it with an agent's --bundle.`,
		Args: takes(1, "the report's file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			report, err := readReport(args[0])
			if err != nil {
				return err
			}
			server, err := a.adminClient(cmd, o)
			if err != nil {
				return err
			}
			defer server.Close()
			taken, err := server.ReportInventory(cmd.Context(), report.VCenter, report.InventoryHeader, report.List)
			if err != nil {
				return err
			}
			return a.show(cmd, o, taken, func(w io.Writer) { takenFields(w, taken) })
		},
	}
	o.outputFlag(cmd)
	return cmd
}

func takenFields(w io.Writer, taken admin.InventoryTaken) {
	how := "complete"
	if !taken.Complete {
		how = "partial: " + strings.Join(taken.Reasons, "; ")
	}
	if taken.Again {
		how += " (it had been taken before)"
	}
	line(w, fmt.Sprintf("report %d is taken as", taken.Number), how)
}

func readReport(path string) (r reportFile, err error) {
	file, err := os.Open(path)
	if err != nil {
		return r, &failure{Code: exitUsage, Err: err}
	}
	defer func() { _ = file.Close() }()
	dec := json.NewDecoder(file)
	dec.DisallowUnknownFields()
	if err = dec.Decode(&r); err == nil && r.Time.Equal(time.Time{}) {
		err = errors.New("it has no time")
	}
	if err != nil {
		return r, &failure{Code: exitUsage, Err: fmt.Errorf("reading %s: %w", path, err), Hint: "keyreeve inventory report --help shows its form"}
	}
	return r, nil
}

// inventoryStatus is what status says of inventories, if there are any.
func inventoryStatus(w io.Writer, st admin.InventoryStatus) {
	if st.VCenters == 0 {
		return
	}
	plural := "s"
	if st.VCenters == 1 {
		plural = ""
	}
	field(w, "keys in use", fmt.Sprintf("%d, by %d vCenter%s", st.Keys, st.VCenters, plural))
	field(w, "  as of", date(st.Oldest))
	for _, n := range []struct {
		n     uint64
		means string
	}{
		{st.Missing, "are not in this store"}, {st.Destroyed, "are destroyed"}, {st.Waiting, "are not named any more, and wait to be confirmed"},
	} {
		if n.n > 0 {
			field(w, "warning", fmt.Sprintf("%d keys in use %s: keyreeve inventory list", n.n, n.means))
		}
	}
	if st.Never > 0 {
		field(w, "warning", fmt.Sprintf("%d vCenters have sent no complete report yet: keyreeve inventory list", st.Never))
	}
}

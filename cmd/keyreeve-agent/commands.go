package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/internal/program"
	"github.com/keyreeve/keyreeve/vsphere/session"
)

func (a *app) configCommand(o *options) *cobra.Command {
	check := &cobra.Command{
		Use: "check", Short: "check the settings; nobody is asked anything", Args: noArgs,
		Long: `Reads the settings and tells the first mistake with its line: a key that there
is not, one that stands there twice, settings that contradict each other, and
secrets, which never stand in the file. It connects to nobody: doctor does.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.settingsOf(o)
			if err != nil {
				return err
			}
			a.print("the settings are right: mode %s, %s\n", c.Mode, strings.Join(c.about(), ", "))
			return nil
		},
	}
	return noun("config", "the agent's settings", check)
}

// about names what the settings are about.
func (c *config) about() []string {
	list := []string{"key server " + c.Server.KMIP}
	if c.OVHcloud != nil {
		list = append(list, "OVHcloud "+c.OVHcloud.Endpoint)
	}
	if c.VCenter != nil {
		list = append(list, "vCenter "+c.VCenter.URL)
	}
	return list
}

// A role is what roles prints.
type role struct {
	Mode       session.Mode        `json:"mode"`
	Name       string              `json:"name"`
	Privileges []session.Privilege `json:"privileges"`
	Create     string              `json:"create"`
	Grant      string              `json:"grant"`
}

func (a *app) rolesCommand(o *options) *cobra.Command {
	mode := string(session.Enforce)
	cmd := &cobra.Command{
		Use: "roles", Short: "print the least role that vCenter's account needs for a mode", Args: noArgs,
		Long: `Prints the privileges that the agent's account needs in vCenter, what each is
for, and the commands of govc that make the role and grant it. It asks nobody.
Cryptographer.Decrypt, Access and Clone are in none: who steals the agent's
password decrypts nothing with it.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.checkOutput(cmd); err != nil {
				return err
			}
			if !slices.Contains(session.Modes(), session.Mode(mode)) {
				return usage(cmd, "unknown mode %q: want observe, register or enforce", mode)
			}
			r := roleOf(session.Mode(mode))
			return a.show(o, r, func(w io.Writer) { r.table(w) })
		},
	}
	cmd.Flags().StringVar(&mode, "mode", mode, "observe, register or enforce")
	_ = cmd.RegisterFlagCompletionFunc("mode", cobra.FixedCompletions([]string{"observe", "register", "enforce"}, cobra.ShellCompDirectiveNoFileComp))
	o.outputFlag(cmd)
	return cmd
}

func roleOf(mode session.Mode) role {
	r := role{Mode: mode, Name: "keyreeve-" + string(mode), Privileges: session.Privileges(mode)}
	r.Create = "govc role.create " + r.Name
	for _, p := range r.Privileges {
		r.Create += " " + p.ID
	}
	r.Grant = "govc permissions.set -principal USER@DOMAIN -role " + r.Name + " -propagate /"
	return r
}

func (r role) table(w io.Writer) {
	program.Line(w, "PRIVILEGE", "WHAT FOR")
	for _, p := range r.Privileges {
		program.Line(w, p.ID, p.Why)
	}
	_, _ = fmt.Fprintf(w, "\n%s\n%s\n", r.Create, r.Grant)
}

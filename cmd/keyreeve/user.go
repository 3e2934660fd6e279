package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/admin"
)

func (a *app) userCommand(o *options) *cobra.Command {
	return noun("user", "KMIP users inside a client's group",
		a.userAddCommand(o), a.userListCommand(o), a.userPasswdCommand(o), a.userRemoveCommand(o))
}

// A belonging says which group a user belongs to.
type belonging struct{ client, group string }

func (b *belonging) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&b.client, "client", "", "a client of the user's group")
	cmd.Flags().StringVar(&b.group, "group", "", "the user's group, instead of --client")
}

func (b *belonging) check(cmd *cobra.Command) error {
	if b.client != "" && b.group != "" {
		return usage(cmd, "--client and --group exclude each other")
	}
	return nil
}

// find returns the user of that name. Without a client or group the name must
// be one user's only.
func (b *belonging) find(cmd *cobra.Command, server *admin.Client, name string) (u admin.User, err error) {
	if err := b.check(cmd); err != nil {
		return u, err
	}
	group := b.group
	if b.client != "" {
		c, err := server.Client(cmd.Context(), b.client)
		if err != nil {
			return u, err
		}
		group = c.Group
	}
	list, err := server.Users(cmd.Context())
	if err != nil {
		return u, err
	}
	list = slices.DeleteFunc(list, func(u admin.User) bool { return u.Name != name || group != "" && u.Group != group })
	switch {
	case len(list) == 1:
		return list[0], nil
	case len(list) > 1:
		return u, refuse("say which: --group "+list[0].Group+", or --client", "there are %d users %q, in different groups", len(list), name)
	case group != "":
		return u, &failure{Code: exitNotFound, Err: fmt.Errorf("group %s has no user %q", group, name), Hint: "keyreeve user list shows all"}
	}
	return u, &failure{Code: exitNotFound, Err: fmt.Errorf("there is no user %q", name), Hint: "keyreeve user list shows all"}
}

func (a *app) userListCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "list the users", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			server, err := a.adminClient(cmd, o)
			if err != nil {
				return err
			}
			defer server.Close()
			list, err := server.Users(cmd.Context())
			if err != nil {
				return err
			}
			return a.show(cmd, o, list, func(w io.Writer) {
				line(w, "GROUP", "NAME", "CREDENTIAL", "PASSWORD SET")
				for _, u := range list {
					line(w, u.Group, u.Name, credential(u), dash(date(u.PasswordChanged)))
				}
			})
		},
	}
	o.outputFlag(cmd)
	return cmd
}

// credential says what a user is known by.
func credential(u admin.User) string {
	if u.Device == nil {
		return "user and password"
	}
	var parts []string
	for _, f := range deviceFlags {
		if value := *f.field(u.Device); value != "" {
			parts = append(parts, f.short+" "+value)
		}
	}
	if !u.HasPassword {
		parts = append(parts, "no password")
	}
	return "device: " + strings.Join(parts, ", ")
}

const userRemoveHelp = `Forgets a user: its credential is refused from the next request on. What the
user made stays as it is, with its group, and "keyreeve key list" shows it; no
other user gets it. A user who is added again by that name has it again.

The last user of a group: its clients' credentials are ignored from then on, and
each request is the client's own, unless the client needs a user.`

func (a *app) userRemoveCommand(o *options) *cobra.Command {
	var b belonging
	cmd := &cobra.Command{
		Use: "remove NAME", Short: "forget a user", Long: userRemoveHelp, Args: takes(1, "the user's name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			server, err := a.adminClient(cmd, o)
			if err != nil {
				return err
			}
			defer server.Close()
			u, err := b.find(cmd, server, args[0])
			if err != nil {
				return err
			}
			done, err := server.RemoveUser(cmd.Context(), u.Group, u.Name)
			if err != nil {
				return err
			}
			return a.show(cmd, o, done, func(w io.Writer) {
				_, _ = fmt.Fprintf(w, "user %s of group %s is removed; its keys stay, and nobody but a user of that name gets them\n", printable(u.Name), u.Group)
				if done.Users == 0 {
					_, _ = fmt.Fprintf(w, "the group has no users any more: %s\n", ignored(done.Clients))
				}
			})
		},
	}
	b.flags(cmd)
	o.outputFlag(cmd)
	return cmd
}

func ignored(clients []string) string {
	if len(clients) == 0 {
		return "it has no clients either"
	}
	return "what its clients (" + strings.Join(clients, ", ") + ") send as a credential is ignored"
}

func (a *app) userPasswdCommand(o *options) *cobra.Command {
	var b belonging
	var p passwordOptions
	cmd := &cobra.Command{
		Use: "passwd NAME", Short: "give a user another password",
		Long: "Gives a user another password. The old one is refused from the next request on.\n\n" + passwordHelp,
		Args: takes(1, "the user's name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			server, err := a.adminClient(cmd, o)
			if err != nil {
				return err
			}
			defer server.Close()
			u, err := b.find(cmd, server, args[0])
			if err != nil {
				return err
			}
			password, err := a.newPassword(cmd, p)
			if err != nil {
				return err
			}
			defer password.Clear()
			done, err := server.SetPassword(cmd.Context(), u.Group, u.Name, password.Expose())
			if err != nil {
				return err
			}
			return a.tellUser(cmd, o, done, p, password, "has another password")
		},
	}
	b.flags(cmd)
	p.flags(cmd)
	o.outputFlag(cmd)
	return cmd
}

package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/admin"
)

func (a *app) clientCommand(o *options) *cobra.Command {
	return noun("client", "who may use the server",
		a.clientAddCommand(o), a.clientListCommand(o), a.clientShowCommand(o), a.clientRenewCommand(o), a.clientSetCommand(o), a.clientRevokeCommand(o))
}

func (a *app) clientListCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "list the clients", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			server, err := a.adminClient(cmd, o)
			if err != nil {
				return err
			}
			defer server.Close()
			clients, err := server.Clients(cmd.Context())
			if err != nil {
				return err
			}
			return a.show(cmd, o, clients, func(w io.Writer) {
				line(w, "NAME", "GROUP", "KIND", "STATUS", "EXPIRES")
				for _, c := range clients {
					line(w, c.Name, c.Group, c.Kind, status(c.Revoked), dash(date(c.Expires)))
				}
			})
		},
	}
	o.outputFlag(cmd)
	return cmd
}

func status(revoked *admin.Revocation) string {
	if revoked != nil {
		return "revoked"
	}
	return "enrolled"
}

func (a *app) clientShowCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "show NAME", Short: "show one client", Args: takes(1, "the client's name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			server, err := a.adminClient(cmd, o)
			if err != nil {
				return err
			}
			defer server.Close()
			c, err := server.Client(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.show(cmd, o, c, func(w io.Writer) { clientFields(w, c) })
		},
	}
	o.outputFlag(cmd)
	return cmd
}

func clientFields(w io.Writer, c admin.ClientRecord) {
	field(w, "name", c.Name)
	field(w, "group", c.Group)
	field(w, "kind", c.Kind)
	field(w, "status", status(c.Revoked))
	field(w, "created", date(c.Created))
	field(w, "expires", date(c.Expires))
	revocationFields(w, c.Revoked)
	if c.IgnoreDates {
		field(w, "dates", "ignored")
	}
	if c.AgentRenewable {
		field(w, "renewal", "an agent may")
	}
	if c.RequireUser {
		field(w, "user", "required")
	}
	field(w, "subject", c.Subject)
	if c.CA != nil {
		field(w, "ca", c.CA.SHA256)
	}
	certificateFields(w, c.Certificates)
}

func revocationFields(w io.Writer, r *admin.Revocation) {
	if r != nil {
		field(w, "revoked", date(r.Time))
		field(w, "reason", r.Reason)
	}
}

func certificateFields(w io.Writer, list []admin.Certificate) {
	for _, cert := range list {
		field(w, "certificate", cert.Subject)
		field(w, "  sha-256", cert.SHA256)
		field(w, "  valid", date(cert.NotBefore)+" to "+date(cert.NotAfter))
		field(w, "  replaced, taken until", date(cert.Ends))
		field(w, "  last used", date(cert.LastUsed))
	}
}

const clientSetHelp = `Changes what a client may do, for requests from now on:

  --require-user          refuse requests that name no user of the group
  --require-user=false    take them as the client's own again
  --agent-renewable       let an agent renew its certificate
  --agent-renewable=false only operators may

Query and Discover Versions need no user.`

func (a *app) clientSetCommand(o *options) *cobra.Command {
	var require, agent bool
	cmd := &cobra.Command{
		Use: "set NAME", Short: "change what a client may do", Long: clientSetHelp, Args: takes(1, "the client's name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			users, agents := cmd.Flags().Changed("require-user"), cmd.Flags().Changed("agent-renewable")
			if users == agents {
				return usage(cmd, "say one thing to change: --require-user or --agent-renewable, or one of them =false")
			}
			server, err := a.adminClient(cmd, o)
			if err != nil {
				return err
			}
			defer server.Close()
			change, value := server.RequireUser, require
			if agents {
				change, value = server.AgentRenewable, agent
			}
			c, err := change(cmd.Context(), args[0], value)
			if err != nil {
				return err
			}
			return a.show(cmd, o, c, func(w io.Writer) { clientFields(w, c) })
		},
	}
	cmd.Flags().BoolVar(&require, "require-user", false, "each request must name a user of the group")
	cmd.Flags().BoolVar(&agent, "agent-renewable", false, "an agent may renew its certificate")
	o.outputFlag(cmd)
	return cmd
}

func (a *app) clientRevokeCommand(o *options) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: "revoke NAME", Short: "shut a client out, and end its connections",
		Long: `Shuts a client out: its connections end, and no new one begins. Its keys stay
where they are, with its group. A client can later be added again by that name.`,
		Args: takes(1, "the client's name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			server, err := a.adminClient(cmd, o)
			if err != nil {
				return err
			}
			defer server.Close()
			c, err := server.Revoke(cmd.Context(), args[0], reason)
			if err != nil {
				return err
			}
			return a.show(cmd, o, c, func(w io.Writer) {
				_, _ = fmt.Fprintf(w, "client %s is revoked since %s; its connections are closed\n", c.Name, date(c.Revoked.Time))
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the journal")
	o.outputFlag(cmd)
	return cmd
}

package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/internal/secret"
)

const adminHelp = `Who may use the admin API over HTTPS (setting admin_listen). Whoever uses the
server's socket needs no record: root, and the user that the server runs as.`

func (a *app) adminCommand(o *options) *cobra.Command {
	cmd := noun("admin", "who may administer the server from elsewhere",
		a.adminAddCommand(o), a.adminListCommand(o), a.adminShowCommand(o), a.adminRevokeCommand(o))
	cmd.Long = adminHelp
	return cmd
}

const adminAddHelp = `Makes somebody an administrator, with a certificate for the admin API over HTTPS.
It opens nothing of KMIP, as a client's certificate opens nothing here.

  --role viewer      may look
  --role operator    may also enrol and revoke clients, and change keys
  --role agent       may look, and renew the clients that are marked for it

  --out DIR          make a key and a certificate here; DIR gets ca.pem, cert.pem
                     and key.pem, and is what --bundle takes
  --csr FILE         sign a request; prints the certificate, or writes ca.pem and
                     cert.pem to --out DIR
  --cert FILE        pin a certificate that the administrator has

Only over the server's own socket: an administrator cannot make another.`

type adminAdd struct {
	addOptions
	role string
}

func (a *app) adminAddCommand(o *options) *cobra.Command {
	var add adminAdd
	cmd := &cobra.Command{
		Use: "add NAME", Short: "make somebody an administrator", Long: adminAddHelp, Args: takes(1, "the administrator's name"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.adminAdd(cmd, o, add, args[0]) },
	}
	cmd.Flags().StringVar(&add.role, "role", "", "viewer, operator or agent")
	add.flags(cmd, "administrator")
	return cmd
}

func (a *app) adminAdd(cmd *cobra.Command, o *options, add adminAdd, name string) error {
	if add.role == "" {
		return usage(cmd, "say what the administrator may do: --role viewer, operator or agent")
	}
	return a.letIn(cmd, o, add.addOptions, name, func(server *admin.Client, asked admin.EnrolRequest, key *secret.Bytes) error {
		req := admin.AddAdminRequest{Name: name, Role: admin.Role(add.role), Kind: asked.Kind, CSR: asked.CSR, Certificate: asked.Certificate}
		done, err := server.AddAdmin(cmd.Context(), req)
		if err != nil {
			return err
		}
		return a.handOver(add, done, key)
	})
}

// handOver writes the bundle, or prints the certificate.
func (a *app) handOver(add adminAdd, done admin.AddedAdmin, key *secret.Bytes) error {
	r := done.Admin
	if add.out == "" && done.Certificate != nil {
		a.print("%s", done.Certificate) // alone on standard output, to be redirected
		_, _ = fmt.Fprintf(a.err, "%s is %s until %s\n", r.Name, r.Role, date(r.Expires))
		return nil
	}
	if add.out != "" {
		if err := writeBundle(add.out, signed{r.Name, done.Certificate, done.CA}, key); err != nil {
			return fmt.Errorf("%s is an administrator, but the files could not be written (revoke and add again): %w", r.Name, err)
		}
	}
	a.print("%s is %s until %s\n", r.Name, r.Role, date(r.Expires))
	if add.out != "" {
		a.print("the files are in %s; use them with: keyreeve --server https://HOST:PORT --bundle %s\n", add.out, quote(add.out))
	}
	return nil
}

func (a *app) adminListCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "list the administrators", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			server, err := a.adminClient(cmd, o)
			if err != nil {
				return err
			}
			defer server.Close()
			admins, err := server.Admins(cmd.Context())
			if err != nil {
				return err
			}
			return a.show(cmd, o, admins, func(w io.Writer) {
				line(w, "NAME", "ROLE", "KIND", "STATUS", "EXPIRES")
				for _, r := range admins {
					line(w, r.Name, string(r.Role), r.Kind, status(r.Revoked), dash(date(r.Expires)))
				}
			})
		},
	}
	o.outputFlag(cmd)
	return cmd
}

func (a *app) adminShowCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "show NAME", Short: "show one administrator", Args: takes(1, "the administrator's name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			server, err := a.adminClient(cmd, o)
			if err != nil {
				return err
			}
			defer server.Close()
			r, err := server.Admin(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.show(cmd, o, r, func(w io.Writer) {
				field(w, "name", r.Name)
				field(w, "role", string(r.Role))
				field(w, "kind", r.Kind)
				field(w, "status", status(r.Revoked))
				field(w, "created", date(r.Created))
				field(w, "expires", date(r.Expires))
				revocationFields(w, r.Revoked)
				certificateFields(w, r.Certificates)
			})
		},
	}
	o.outputFlag(cmd)
	return cmd
}

func (a *app) adminRevokeCommand(o *options) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: "revoke NAME", Short: "shut an administrator out, and end their connections", Args: takes(1, "the administrator's name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			server, err := a.adminClient(cmd, o)
			if err != nil {
				return err
			}
			defer server.Close()
			r, err := server.RevokeAdmin(cmd.Context(), args[0], reason)
			if err != nil {
				return err
			}
			a.print("%s is no administrator since %s; connections are closed\n", r.Name, date(r.Revoked.Time))
			return nil
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the journal")
	return cmd
}

package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/admin"
)

const certificateHelp = `The server's own certificate. Clients that check the server's CA notice nothing when
it changes; vCenter and OVHcloud have it pinned, so they are told first:

  keyreeve certificate stage              make the next one; nothing uses it yet
  (tell vCenter and OVHcloud its fingerprint)
  keyreeve certificate use SHA256         put it to use, for new connections
  keyreeve certificate use OLD-SHA256     go back, if something was forgotten`

func (a *app) certificateCommand(o *options) *cobra.Command {
	cmd := noun("certificate", "the server's own certificate", a.certificateShow(o), a.certificateStage(o), a.certificateUse(o))
	cmd.Long = certificateHelp
	return cmd
}

func (a *app) certificateShow(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "show", Short: "show the certificate in use, and the other one", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.certificates(cmd, o, (*admin.Client).ServerCertificates, nil)
		},
	}
	o.outputFlag(cmd)
	return cmd
}

func (a *app) certificateStage(o *options) *cobra.Command {
	var req admin.StageRequest
	cmd := &cobra.Command{
		Use: "stage", Short: "make the next certificate, which nothing uses yet", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			stage := func(c *admin.Client, ctx context.Context) (admin.ServerCertificates, error) {
				return c.StageCertificate(ctx, req)
			}
			return a.certificates(cmd, o, stage, func(w io.Writer, all admin.ServerCertificates) {
				line(w, "now", "tell those who pinned the certificate in use, then: keyreeve certificate use "+all.Other.SHA256)
			})
		},
	}
	cmd.Flags().StringArrayVar(&req.Hosts, "host", nil, "name or address under which clients reach the server, may be repeated; by default those of the certificate in use")
	cmd.Flags().StringVar(&req.KeyType, "key-type", "", "rsa2048 or p256; by default that of the certificate in use")
	o.outputFlag(cmd)
	return cmd
}

func (a *app) certificateUse(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "use SHA256", Short: "put the staged certificate to use, or the one before again", Args: takes(1, "the fingerprint of the certificate"),
		RunE: func(cmd *cobra.Command, args []string) error {
			use := func(c *admin.Client, ctx context.Context) (admin.ServerCertificates, error) {
				return c.UseCertificate(ctx, args[0])
			}
			return a.certificates(cmd, o, use, func(w io.Writer, all admin.ServerCertificates) {
				if all.Other != nil {
					line(w, "to go back", "keyreeve certificate use "+all.Other.SHA256)
				}
			})
		},
	}
	o.outputFlag(cmd)
	return cmd
}

// certificates asks the server, prints its certificates, and what is next.
func (a *app) certificates(cmd *cobra.Command, o *options, ask func(*admin.Client, context.Context) (admin.ServerCertificates, error), next func(io.Writer, admin.ServerCertificates)) error {
	if err := o.checkOutput(cmd); err != nil {
		return err
	}
	server, err := a.adminClient(cmd, o)
	if err != nil {
		return err
	}
	defer server.Close()
	all, err := ask(server, cmd.Context())
	if err != nil {
		return err
	}
	return a.show(cmd, o, all, func(w io.Writer) {
		certificateLines(w, "in use", all.Current)
		if all.Other != nil {
			name := "before"
			if all.Other.Staged {
				name = "staged"
			}
			certificateLines(w, name, *all.Other)
		}
		if next != nil {
			next(w, all)
		}
	})
}

func certificateLines(w io.Writer, name string, c admin.ServerCertificate) {
	line(w, name, fmt.Sprintf("until %s, for %s", c.NotAfter.Format(time.DateOnly), strings.Join(c.Hosts, ", ")))
	line(w, "  sha1", c.SHA1)
	line(w, "  sha256", c.SHA256)
}

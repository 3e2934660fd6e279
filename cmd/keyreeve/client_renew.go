package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/internal/secret"
)

const clientRenewHelp = `Gives a client another certificate. The one so far is taken until it ends, or was
not used for a week while the new one was: the client can change over when it
likes, and loses nothing where it could not.

  --out DIR           make a new key and certificate; DIR gets ca.pem, cert.pem
                      and key.pem
  --csr FILE          sign the client's own request; only its public key counts.
                      Prints the certificate, or writes ca.pem and cert.pem to
                      --out DIR
  --cert FILE         for a pinned client: pin its next certificate too
  --overlap DURATION  take the old one so long and no longer; 0s ends it, and its
                      connections, at once

A client of a foreign CA renews there, and needs nothing here.`

type renewOptions struct {
	out, csr, cert, keyType string
	overlap                 time.Duration
	cut                     bool // an overlap was given
}

func (a *app) clientRenewCommand(o *options) *cobra.Command {
	var renew renewOptions
	cmd := &cobra.Command{
		Use: "renew NAME", Short: "give a client another certificate", Long: clientRenewHelp, Args: takes(1, "the client's name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			renew.cut = cmd.Flags().Changed("overlap")
			return a.clientRenew(cmd, o, renew, args[0])
		},
	}
	f := cmd.Flags()
	f.StringVar(&renew.out, "out", "", "folder for the client's files")
	f.StringVar(&renew.csr, "csr", "", "the client's signing request (PEM)")
	f.StringVar(&renew.cert, "cert", "", "the client's next certificate (PEM), to be pinned")
	f.StringVar(&renew.keyType, "key-type", "", "with --out: rsa2048 (default) or p256")
	f.DurationVar(&renew.overlap, "overlap", 0, "how long the old certificate is still taken (default: until it ends)")
	o.outputFlag(cmd)
	return cmd
}

func (a *app) clientRenew(cmd *cobra.Command, o *options, renew renewOptions, name string) error {
	if err := o.checkOutput(cmd); err != nil {
		return err
	}
	if renew.overlap < 0 {
		return usage(cmd, "--overlap %s is less than none", renew.overlap)
	}
	req, key, err := renew.request(cmd, a.now(), name)
	if err != nil {
		return err
	}
	defer key.Clear()
	if err := checkOut(renew.out); err != nil {
		return err
	}
	server, err := a.adminClient(cmd, o)
	if err != nil {
		return err
	}
	defer server.Close()
	done, err := server.Renew(cmd.Context(), name, req)
	if err != nil {
		return err
	}
	if renew.out != "" {
		if err := writeBundle(renew.out, signed{name, done.Certificate, done.CA}, key); err != nil {
			return fmt.Errorf("client %s is renewed, but its files could not be written (renew it again): %w", name, err)
		}
	}
	return a.tellRenewed(cmd, o, renew, done)
}

func (renew renewOptions) request(cmd *cobra.Command, now time.Time, name string) (req admin.RenewRequest, key *secret.Bytes, err error) {
	way := addOptions{out: renew.out, csr: renew.csr, cert: renew.cert, keyType: renew.keyType}
	asked, key, err := way.request(cmd, name)
	if err != nil {
		return req, nil, err
	}
	req = admin.RenewRequest{Kind: asked.Kind, CSR: asked.CSR, Certificate: asked.Certificate}
	switch {
	case renew.cut && renew.overlap == 0:
		req.OldUntil = time.Unix(1, 0).UTC() // long ago, whatever the server's clock says
	case renew.cut:
		req.OldUntil = now.Add(renew.overlap).UTC()
	}
	return req, key, nil
}

func (a *app) tellRenewed(cmd *cobra.Command, o *options, renew renewOptions, done admin.Enrolled) error {
	c := done.Client
	newest := c.Certificates[len(c.Certificates)-1]
	text := fmt.Sprintf("client %s has a new certificate until %s\n", c.Name, date(newest.NotAfter))
	if old := c.Certificates[:len(c.Certificates)-1]; len(old) > 0 {
		text += fmt.Sprintf("the old one is taken until %s; keyreeve client show %s tells which is used\n", date(old[len(old)-1].Ends), c.Name)
	} else {
		text += "the old one is not taken any more\n"
	}
	if renew.out != "" {
		text += fmt.Sprintf("its files are in %s; give them to the client\n", renew.out)
	}
	if o.output == "table" && renew.out == "" && done.Certificate != nil {
		a.print("%s", done.Certificate) // alone on standard output, to be redirected
		_, _ = fmt.Fprint(a.err, text)
		return nil
	}
	return a.show(cmd, o, done, func(w io.Writer) { _, _ = fmt.Fprint(w, text) })
}

package main

import (
	"context"
	"crypto/x509"
	"io"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/certs"
)

const thumbprintTime = 10 * time.Second // to reach a server

func (a *app) thumbprintCommand(o *options) *cobra.Command {
	var sha1, sha256 bool
	cmd := &cobra.Command{
		Use:   "thumbprint [HOST:PORT]",
		Short: "print the fingerprints of a server's certificate: of the one at HOST:PORT, or of ours",
		Long: `Prints the fingerprints of a server's certificate in upper case with colons.

With HOST:PORT it reads what that server shows, which proves nothing by itself:
compare it with what the server's own machine prints. Without, it reads ours
from the data folder.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if sha1 && sha256 {
				return usage(cmd, "--sha1 and --sha256 exclude each other")
			}
			leaf, err := a.leaf(cmd, o, args)
			if err != nil {
				return err
			}
			return a.printThumbprints(cmd, o, leaf, sha1, sha256)
		},
	}
	cmd.Flags().BoolVar(&sha1, "sha1", false, "print only the SHA-1 thumbprint, which vCenter and OVHcloud show")
	cmd.Flags().BoolVar(&sha256, "sha256", false, "print only the SHA-256 fingerprint")
	o.outputFlag(cmd)
	return cmd
}

func (a *app) leaf(cmd *cobra.Command, o *options, args []string) (*x509.Certificate, error) {
	if len(args) == 0 {
		data, err := a.dataFolder(cmd, o)
		if err != nil {
			return nil, err
		}
		if err := needStore(data); err != nil {
			return nil, err
		}
		return firstCertificate(folder(data).certificate())
	}
	if _, _, err := net.SplitHostPort(args[0]); err != nil {
		return nil, usage(cmd, "%q is not HOST:PORT", args[0])
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), thumbprintTime)
	defer cancel()
	return certs.FetchServerCertificate(ctx, args[0])
}

// firstCertificate reads the leaf of a chain, whatever its dates.
func firstCertificate(path string) (*x509.Certificate, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return leafOf(data)
}

func (a *app) printThumbprints(cmd *cobra.Command, o *options, leaf *x509.Certificate, sha1, sha256 bool) error {
	t := thumbprints(leaf)
	switch {
	case sha1:
		a.print("%s\n", t.SHA1)
		return nil
	case sha256:
		a.print("%s\n", t.SHA256)
		return nil
	}
	return a.show(cmd, o, t, func(w io.Writer) {
		line(w, "SHA-1", t.SHA1)
		line(w, "SHA-256", t.SHA256)
	})
}

func thumbprints(cert *x509.Certificate) admin.Thumbprints {
	return admin.Thumbprints{SHA1: certs.SHA1(cert), SHA256: certs.SHA256(cert)}
}

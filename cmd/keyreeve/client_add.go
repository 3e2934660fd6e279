package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/internal/durable"
	"github.com/keyreeve/keyreeve/internal/secret"
)

const clientAddHelp = `Lets a client in. Four ways, as vCenter offers them:

  --out DIR                  make a key and a certificate here; DIR gets ca.pem,
                             cert.pem and key.pem
  --csr FILE                 sign the client's own request; only its public key counts.
                             Prints the certificate, or writes ca.pem and cert.pem
                             to --out DIR
  --cert FILE                pin the client's own certificate by its fingerprint
  --ca FILE --subject DN     let in what that CA signed for exactly that subject

A client without --group has a group of its own: it alone sees its keys.`

type addOptions struct {
	out, csr, cert, ca, subject, group, keyType string
	ignoreDates, requireUser, agentRenewable    bool
}

func (a *app) clientAddCommand(o *options) *cobra.Command {
	var add addOptions
	cmd := &cobra.Command{
		Use: "add NAME", Short: "let a client in", Long: clientAddHelp, Args: takes(1, "the client's name"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.clientAdd(cmd, o, add, args[0]) },
	}
	f := cmd.Flags()
	add.flags(cmd, "client")
	f.StringVar(&add.ca, "ca", "", "a foreign CA's certificate (PEM)")
	f.StringVar(&add.subject, "subject", "", "with --ca: the exact subject, for example CN=vcenter,OU=VMware")
	f.StringVar(&add.group, "group", "", "group that shares its keys (default: the client's name)")
	f.BoolVar(&add.ignoreDates, "ignore-dates", false, "with --cert: let it in before and after its dates too")
	f.BoolVar(&add.requireUser, "require-user", false, "refuse requests that name no user of the group (keyreeve user add)")
	f.BoolVar(&add.agentRenewable, "agent-renewable", false, "let an agent renew its certificate")
	o.outputFlag(cmd)
	return cmd
}

// flags are those for whoever is let in, a client or an administrator.
func (add *addOptions) flags(cmd *cobra.Command, who string) {
	f := cmd.Flags()
	f.StringVar(&add.out, "out", "", "folder for the "+who+"'s files")
	f.StringVar(&add.csr, "csr", "", "the "+who+"'s signing request (PEM)")
	f.StringVar(&add.cert, "cert", "", "the "+who+"'s own certificate (PEM), to be pinned")
	f.StringVar(&add.keyType, "key-type", "", "with --out: rsa2048 (default) or p256")
}

func (a *app) clientAdd(cmd *cobra.Command, o *options, add addOptions, name string) error {
	if err := o.checkOutput(cmd); err != nil {
		return err
	}
	return a.letIn(cmd, o, add, name, func(server *admin.Client, req admin.EnrolRequest, key *secret.Bytes) error {
		done, err := server.Enrol(cmd.Context(), req)
		if err != nil {
			return err
		}
		if add.out != "" {
			if err := writeBundle(add.out, signed{name, done.Certificate, done.CA}, key); err != nil {
				return fmt.Errorf("client %s is enrolled, but its files could not be written (revoke it and add it again): %w", name, err)
			}
		}
		if o.output == "json" {
			return a.show(cmd, o, done, nil)
		}
		a.tellEnrolled(add, done)
		return nil
	})
}

// letIn has ask send the server what the flags say. The key, which was made
// here if there is one, is cleared after that.
func (a *app) letIn(cmd *cobra.Command, o *options, add addOptions, name string, ask func(server *admin.Client, req admin.EnrolRequest, key *secret.Bytes) error) error {
	req, key, err := add.request(cmd, name)
	if err != nil {
		return err
	}
	defer key.Clear()
	if err := checkOut(add.out); err != nil {
		return err
	}
	server, err := a.adminClient(cmd, o)
	if err != nil {
		return err
	}
	defer server.Close()
	return ask(server, req, key)
}

// request is what the flags ask for, and the key that goes with it when it was
// made here.
func (add addOptions) request(cmd *cobra.Command, name string) (req admin.EnrolRequest, key *secret.Bytes, err error) {
	if err := add.check(cmd); err != nil {
		return req, nil, err
	}
	if err := certs.ValidateName("client name", name); err != nil {
		return req, nil, refuse("", "%w", err)
	}
	req = admin.EnrolRequest{Name: name, Group: add.group, Subject: add.subject, IgnoreDates: add.ignoreDates, RequireUser: add.requireUser, AgentRenewable: add.agentRenewable}
	switch {
	case add.csr != "":
		req.Kind = admin.KindCSR
		req.CSR, err = readPEM(add.csr)
	case add.cert != "":
		req.Kind = admin.KindPinned
		req.Certificate, err = readPEM(add.cert)
	case add.ca != "":
		req.Kind = admin.KindForeignCA
		req.CA, err = readPEM(add.ca)
	default:
		req.Kind = admin.KindIssued
		kind, kindErr := certs.ParseKeyType(add.keyType)
		if kindErr != nil {
			return req, nil, usage(cmd, "--key-type: %w", kindErr)
		}
		key, req.CSR, err = certs.NewRequest(kind, name)
	}
	return req, key, err
}

// check finds the combinations of flags that mean nothing.
func (add addOptions) check(cmd *cobra.Command) error {
	ways := 0
	for _, way := range []string{add.csr, add.cert, add.ca} {
		if way != "" {
			ways++
		}
	}
	switch {
	case ways > 1:
		return usage(cmd, "--csr, --cert and --ca exclude each other")
	case ways == 0 && add.out == "":
		return usage(cmd, "say how the client proves who it is: --out, --csr, --cert, or --ca with --subject")
	case (add.ca == "") != (add.subject == ""):
		return usage(cmd, "--ca and --subject need each other: a CA alone would let in everybody it ever signed for")
	case add.out != "" && (add.cert != "" || add.ca != ""):
		return usage(cmd, "there is nothing to write to --out: the client has its certificate")
	case add.keyType != "" && ways > 0:
		return usage(cmd, "--key-type is for a key that is made here, with --out alone")
	case add.ignoreDates && add.cert == "":
		return usage(cmd, "--ignore-dates is for --cert")
	}
	return nil
}

const maxPEM = 1 << 20

func readPEM(path string) ([]byte, error) {
	data, err := durable.ReadFile(durable.OS, path, maxPEM)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &failure{Code: exitUsage, Err: fmt.Errorf("there is no file %s", path)}
	}
	return data, err
}

// checkOut refuses, before anything is done, a folder that the bundle cannot go
// into: a key that is there must not be overwritten.
func checkOut(out string) error {
	if out == "" {
		return nil
	}
	if err := certs.CheckBundleFolder(out); err != nil {
		return refuse("give another folder for --out; nothing was done yet", "%w", err)
	}
	return nil
}

// A signed is what the server gave back for a key: certificates in PEM.
type signed struct {
	name            string
	certificate, ca []byte
}

func writeBundle(dir string, s signed, key *secret.Bytes) error {
	return certs.WriteSigned(dir, s.name, s.certificate, s.ca, key)
}

func (a *app) tellEnrolled(add addOptions, done admin.Enrolled) {
	c := done.Client
	if add.out == "" && done.Certificate != nil {
		a.print("%s", done.Certificate) // alone on standard output, to be redirected
		_, _ = fmt.Fprintf(a.err, "client %s is enrolled in group %s until %s\n", c.Name, c.Group, date(c.Expires))
		return
	}
	a.print("client %s is enrolled in group %s", c.Name, c.Group)
	switch {
	case c.IgnoreDates:
		a.print(", whatever its certificate's dates")
	case !c.Expires.IsZero():
		a.print(" until %s", date(c.Expires))
	}
	if done.Replaced {
		a.print(" (a revoked client had this name)")
	}
	a.print("\n")
	if add.out != "" {
		a.print("its files are in %s; give them to the client", add.out)
		if add.csr == "" {
			a.print(", and keep no copy of key.pem")
		}
		a.print("\n")
	}
	a.print("the server's certificate, for the client to compare:\n  SHA-1    %s\n  SHA-256  %s\n", done.Server.SHA1, done.Server.SHA256)
}

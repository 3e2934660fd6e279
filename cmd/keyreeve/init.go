package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/internal/config"
	"github.com/keyreeve/keyreeve/internal/durable"
)

const initHelp = `Makes a data folder with a new store, its journal, its certificate authority and a
certificate for the server, and beside it the root key that opens the store.

All of it appears at once or not at all: it is built in DIR.init, which no command
takes for a store, and then renamed. Nothing that exists is ever overwritten.

Without --host the certificate is for this machine's name and addresses and for
localhost. vCenter and other clients check it against the name that they use.`

type initOptions struct {
	hosts   []string
	key     keyOptions
	keyType string
	dev     bool
}

func (a *app) initCommand(o *options) *cobra.Command {
	var i initOptions
	cmd := &cobra.Command{
		Use: "init", Short: "make a store", Long: initHelp, Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			data, err := a.dataFolder(cmd, o)
			if err != nil {
				return err
			}
			if err := o.checkOutput(cmd); err != nil {
				return err
			}
			return a.init(cmd, o, folder(data), i)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&i.hosts, "host", nil, "name or address under which clients reach the server; may be repeated")
	f.StringVar(&i.key.file, "root-key", a.env(config.Env("root_key_file")), "where the root key's file is made (default: DIR.rootkey)")
	f.StringVar(&i.key.passphrase, "passphrase-file", a.env(config.Env("passphrase_file")), "take a passphrase instead of a root key file, from the first line of this file; - asks at the terminal")
	f.StringVar(&i.keyType, "key-type", "", "the server's key: rsa2048 (default) or p256")
	f.BoolVar(&i.dev, "dev", a.env(config.Env("dev")) == "true", "allow a temporary folder, for a store that may be lost")
	o.outputFlag(cmd)
	return cmd
}

func (a *app) init(cmd *cobra.Command, o *options, f folder, i initOptions) error {
	if i.key.file != "" && i.key.passphrase != "" {
		return usage(cmd, "--root-key and --passphrase-file exclude each other")
	}
	kind, err := certs.ParseKeyType(i.keyType)
	if err != nil {
		return usage(cmd, "--key-type: %w", err)
	}
	if len(i.hosts) == 0 {
		i.hosts = ownHosts()
	}
	if _, _, err := certs.ParseHosts(i.hosts); err != nil {
		return usage(cmd, "--host: %w", err)
	}
	switch i.key.passphrase {
	case "":
		i.key.file, err = filepath.Abs(orElse(i.key.file, f.rootKey()))
	case fromTerminal:
	default:
		i.key.passphrase, err = filepath.Abs(i.key.passphrase)
	}
	if err != nil {
		return err
	}
	if err := checkNew(f, i); err != nil {
		return err
	}
	b := &builder{app: a, folder: f, options: i, server: certs.ServerRequest{Hosts: i.hosts, KeyType: kind}}
	if err := b.build(cmd.Context()); err != nil {
		return fmt.Errorf("making a store in %s: %w", f, err)
	}
	if o.output == "json" {
		return a.show(cmd, o, b.made(), nil)
	}
	a.tellMade(b)
	return nil
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// checkNew refuses what init must not touch, before anything is made.
func checkNew(f folder, i initOptions) error {
	if err := checkPlace(string(f), i.dev); err != nil {
		return err
	}
	if err := checkEmpty(f); err != nil {
		return err
	}
	if err := checkStaging(f, i); err != nil {
		return err
	}
	if i.key.file == "" {
		return nil
	}
	if err := checkPlace(i.key.file, i.dev); err != nil {
		return err
	}
	if _, err := os.Lstat(i.key.file); !errors.Is(err, fs.ErrNotExist) {
		return refuse("if its store is lost, put back a backup of the store; if not needed any more, move it away; or name another file with --root-key",
			"there is a root key already in %s, but no store in %s", i.key.file, f)
	}
	return nil
}

func checkEmpty(f folder) error {
	return checkEmptyFor(f, "serve it: keyreeve server --data "+string(f))
}

// checkEmptyFor says with hint what to do where a store is in the way.
func checkEmptyFor(f folder, hint string) error {
	entries, err := os.ReadDir(string(f))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == filepath.Base(f.store()) }):
		return refuse(hint, "there is a store in %s already", f)
	case len(entries) > 0:
		return refuse("give a new folder", "%s is not empty: it holds %s", f, entries[0].Name())
	}
	return nil
}

// checkStaging finds what an init that was interrupted left behind. It is not
// removed here: the root key's file may lie beside it, and whether that belongs
// to it is for a person to say.
func checkStaging(f folder, i initOptions) error {
	if _, err := os.Lstat(f.staging()); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	lock, err := durable.LockDir(f.staging())
	if errors.Is(err, durable.ErrLocked) {
		return &failure{Code: exitInUse, Err: fmt.Errorf("another init is at work on %s", f), Hint: "wait for it"}
	}
	if err != nil {
		return err
	}
	leftovers := quote(f.staging())
	if _, err := os.Lstat(i.key.file); i.key.file != "" && err == nil {
		leftovers += " " + quote(i.key.file)
	}
	return errors.Join(refuse("nothing in it was ever in use; remove it and start again: rm -rf "+leftovers,
		"an earlier init of %s was interrupted", f), lock.Unlock())
}

// ownHosts returns the names and addresses of this machine: its host name,
// localhost, and what its interfaces have, save for link-local addresses, which
// mean something else on every machine.
func ownHosts() []string {
	hosts := []string{}
	if name, err := os.Hostname(); err == nil {
		if _, _, err := certs.ParseHosts([]string{name}); err == nil {
			hosts = append(hosts, name)
		}
	}
	hosts = append(hosts, "localhost", "127.0.0.1", "::1")
	addresses, _ := net.InterfaceAddrs() // none: the names are enough to begin with
	for _, address := range addresses {
		if n, ok := address.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			hosts = append(hosts, n.IP.String())
		}
	}
	return hosts
}

// A made is what init prints as JSON.
type made struct {
	Data        string            `json:"data"`
	RootKey     string            `json:"root_key,omitempty"` // empty: from a passphrase
	Hosts       []string          `json:"hosts"`              // of the server's certificate
	Certificate admin.Thumbprints `json:"certificate"`
}

func (b *builder) made() made {
	return made{Data: string(b.folder), RootKey: b.options.key.file, Hosts: b.server.Hosts, Certificate: thumbprints(b.leaf)}
}

func (a *app) tellMade(b *builder) {
	f, program := b.folder, quote(a.program)
	a.print("made a store in %s\n", f)
	a.print("  keys           %s\n", f.store())
	a.print("  journal        %s\n", f.journal())
	a.print("  certificates   %s\n", f.tls())
	server := fmt.Sprintf("%s server --data %s", program, quote(string(f)))
	if file := b.options.key.file; file != "" {
		a.print("  root key       %s\n", file)
		a.print("keep a copy of the root key, apart from backups of the folder: without it nothing opens,\nand whoever has both has every key\n")
		if file != f.rootKey() {
			server += " --root-key " + quote(file)
		}
	} else {
		a.print("  root key       from the passphrase\n")
		a.print("keep the passphrase, apart from backups of the folder: without it nothing opens,\nand whoever has both has every key\n")
		if file := b.options.key.passphrase; file != fromTerminal {
			server += " --passphrase-file " + quote(file)
		}
	}
	print := thumbprints(b.leaf)
	a.print("the server's certificate is for %s\n", strings.Join(b.server.Hosts, ", "))
	a.print("  SHA-1          %s\n  SHA-256        %s\n", print.SHA1, print.SHA256)
	a.print("to serve it, and to let a first client in while it is served:\n  %s\n  %s\n", server, a.firstClient(f))
}

// firstClient is the command that enrols one, ready to be copied.
func (a *app) firstClient(f folder) string {
	return fmt.Sprintf("%s client add first --data %s --out first-bundle", quote(a.program), quote(string(f)))
}

// quote makes a word safe to be pasted into a shell.
func quote(word string) string {
	if word != "" && strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+:,@=") == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// errInterrupted stops a build between two steps.
func errInterrupted(ctx context.Context) error {
	if ctx.Err() != nil {
		return errors.New("interrupted; nothing was made")
	}
	return nil
}

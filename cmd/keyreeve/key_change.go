package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/admin"
)

// A keyChange is a command that changes a key, with what a person has to know
// before it is done.
type keyChange struct {
	verb, short string
	happens     string // what happens, as a sentence
	undo        string // how it is undone
	done        string // what the key is then
	call        keyCall
}

type keyCall func(ctx context.Context, server *admin.Client, uid string, why keyReason) (admin.KeyChanged, error)

// byReason makes a call that takes nothing but the reason.
func byReason(call func(server *admin.Client, ctx context.Context, uid, reason string) (admin.KeyChanged, error)) keyCall {
	return func(ctx context.Context, server *admin.Client, uid string, why keyReason) (admin.KeyChanged, error) {
		return call(server, ctx, uid, why.Reason)
	}
}

var keyChanges = []keyChange{
	{"activate", "let a pre-active key be used",
		"Clients may encrypt and decrypt with the key from now on.",
		"It does not become pre-active again; revoke ends its use.",
		"active", byReason((*admin.Client).ActivateKey)},
	{"revoke", "end a key's use, or say that it is compromised",
		"The key is deactivated: clients are told not to encrypt with it any more, and still get it to decrypt what there is,\n" +
			"unless the server's refuse_inactive is set. With --code key-compromise or ca-compromise it is compromised for good.",
		"A deactivated key: keyreeve key reactivate. A compromised one: nothing undoes that.",
		"revoked", func(ctx context.Context, s *admin.Client, uid string, why keyReason) (admin.KeyChanged, error) {
			return s.RevokeKey(ctx, uid, why.KeyRevocation)
		}},
	{"destroy", "destroy a key; it can be recovered for the grace period",
		"No client gets the key any more: what was encrypted with it, virtual machines among it, cannot be read.",
		"keyreeve key recover, until the grace period (30 days unless set otherwise) is over. Then the key is gone.",
		"destroyed", func(ctx context.Context, s *admin.Client, uid string, why keyReason) (admin.KeyChanged, error) {
			if why.usedBy != "" {
				return s.DestroyUsedKey(ctx, uid, why.usedBy, why.Reason)
			}
			return s.DestroyKey(ctx, uid, why.Reason)
		}},
	{"recover", "bring a destroyed key back, within its grace period",
		"The key is again what it was before it was destroyed. (KMIP's own Recover, of archived keys, is a client's operation\n" +
			"and another thing.)",
		"keyreeve key destroy.",
		"back", byReason((*admin.Client).RecoverKey)},
	{"reactivate", "undo the revocation of a deactivated key",
		"The key is active again: clients may encrypt with it. KMIP itself knows no such step.",
		"keyreeve key revoke.",
		"active", byReason((*admin.Client).ReactivateKey)},
}

type keyChangeOptions struct {
	reason, code, occurred, usedBy string
	yes                            bool
}

// keyReason is why a key is changed.
type keyReason struct {
	admin.KeyRevocation
	usedBy string // the machine in spite of which it is destroyed
}

func (a *app) keyChangeCommand(o *options, c keyChange) *cobra.Command {
	var given keyChangeOptions
	cmd := &cobra.Command{
		Use: c.verb + " UID", Short: c.short, Args: takes(1, "the key's unique identifier"),
		Long: c.happens + "\n\nTo undo it: " + c.undo + "\n\nOn a key that is so already it changes nothing and succeeds.",
		RunE: func(cmd *cobra.Command, args []string) error { return a.changeKey(cmd, o, c, given, args[0]) },
	}
	f := cmd.Flags()
	f.StringVar(&given.reason, "reason", "", "why; it goes into the journal")
	f.BoolVar(&given.yes, "yes", false, "do not ask")
	if c.verb == "destroy" {
		f.StringVar(&given.usedBy, "used-by", "", "destroy it although this machine or host uses it, as key show says; it cannot be read after that")
	}
	if c.verb == "revoke" {
		f.StringVar(&given.code, "code", "", strings.Join(admin.RevocationReason("").Values(), ", "))
		f.StringVar(&given.occurred, "occurred", "", "with a compromise: since when (default: since the key was made)")
	}
	o.outputFlag(cmd)
	return cmd
}

func (a *app) changeKey(cmd *cobra.Command, o *options, c keyChange, given keyChangeOptions, uid string) error {
	if strings.TrimSpace(given.reason) == "" {
		return usage(cmd, "say why, for the journal: --reason TEXT")
	}
	why := keyReason{admin.KeyRevocation{Reason: given.reason, Code: admin.RevocationReason(given.code)}, given.usedBy}
	var err error
	if why.OccurredAt, err = moment(given.occurred); err != nil {
		return usage(cmd, "--occurred: %w", err)
	}
	server, err := a.adminClient(cmd, o)
	if err != nil {
		return err
	}
	defer server.Close()
	if !given.yes {
		key, err := server.Key(cmd.Context(), uid)
		if err != nil {
			return err
		}
		if err := commands.Confirm(cmd, question(c, key)); err != nil {
			return err
		}
	}
	done, err := c.call(cmd.Context(), server, uid, why)
	if err != nil {
		return err
	}
	return a.show(cmd, o, done, func(w io.Writer) { _, _ = fmt.Fprint(w, c.outcome(done)) })
}

func question(c keyChange, k admin.Key) string {
	what := printable(k.UniqueIdentifier)
	if len(k.Names) > 0 {
		what += " (" + printable(strings.Join(k.Names, ", ")) + ")"
	}
	return fmt.Sprintf("%s key %s of group %s, now %s?\n%s\nTo undo it: %s\n", c.verb, what, printable(k.Group), k.State, c.happens, c.undo)
}

func (c keyChange) outcome(done admin.KeyChanged) string {
	k := done.Key
	if !done.Changed {
		return fmt.Sprintf("key %s was %s already; nothing was changed\n", k.UniqueIdentifier, strings.ToLower(k.State))
	}
	text := fmt.Sprintf("key %s is %s: its state is %s\n", k.UniqueIdentifier, c.done, k.State)
	if !k.RecoverableUntil.IsZero() {
		text += fmt.Sprintf("it can be brought back until %s: keyreeve key recover %s\n", date(k.RecoverableUntil), k.UniqueIdentifier)
	} else if c.verb == "destroy" {
		text += "nothing is left of it: this server keeps no grace period\n"
	}
	return text
}

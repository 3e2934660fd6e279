package main

import (
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/admin"
)

func (a *app) keyCommand(o *options) *cobra.Command {
	verbs := []*cobra.Command{a.keyListCommand(o), a.keyShowCommand(o)}
	for _, c := range keyChanges {
		verbs = append(verbs, a.keyChangeCommand(o, c))
	}
	return noun("key", "what the store holds: metadata, never a key", verbs...)
}

func algorithm(k admin.Key) string {
	if k.LengthBits == 0 {
		return k.Algorithm
	}
	return k.Algorithm + "-" + strconv.Itoa(int(k.LengthBits))
}

func (a *app) keyShowCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "show UID", Short: "show one key's metadata", Args: takes(1, "the key's unique identifier"),
		RunE: func(cmd *cobra.Command, args []string) error {
			server, err := a.adminClient(cmd, o)
			if err != nil {
				return err
			}
			defer server.Close()
			k, err := server.Key(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.show(cmd, o, k, func(w io.Writer) { keyFields(w, k) })
		},
	}
	o.outputFlag(cmd)
	return cmd
}

func keyFields(w io.Writer, k admin.Key) {
	field(w, "unique identifier", k.UniqueIdentifier)
	field(w, "object type", k.ObjectType)
	field(w, "algorithm", algorithm(k))
	field(w, "usage", strings.Join(k.Usage, ", "))
	field(w, "state", k.State)
	field(w, "group", k.Group)
	field(w, "user", k.User)
	field(w, "made by client", k.Client)
	field(w, "names", strings.Join(k.Names, ", "))
	keyDates(w, k)
	field(w, "in the last backup", map[bool]string{true: "yes", false: "no"}[k.BackedUp])
	field(w, "revocation reason", k.RevocationReason)
	field(w, "revocation message", k.RevocationMessage)
	field(w, "recoverable until", date(k.RecoverableUntil))
	for _, u := range k.UsedBy {
		line(w, "used in vCenter "+u.VCenter, usedBy(u))
	}
	for _, at := range k.Attributes {
		name := at.Name
		if at.Index > 0 {
			name += " [" + strconv.Itoa(int(at.Index)) + "]"
		}
		line(w, name, at.Value)
	}
}

func keyDates(w io.Writer, k admin.Key) {
	field(w, "initial date", date(k.InitialDate))
	field(w, "activation date", date(k.ActivationDate))
	field(w, "process start date", date(k.ProcessStartDate))
	field(w, "protect stop date", date(k.ProtectStopDate))
	field(w, "deactivation date", date(k.DeactivationDate))
	field(w, "compromise occurred", date(k.CompromiseOccurrenceDate))
	field(w, "compromise date", date(k.CompromiseDate))
	field(w, "destroy date", date(k.DestroyDate))
	field(w, "archive date", date(k.ArchiveDate))
	field(w, "last change date", date(k.LastChangeDate))
}

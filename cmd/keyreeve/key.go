package main

import (
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/admin"
)

const keyPage = 10000 // keys asked for at once

func (a *app) keyCommand(o *options) *cobra.Command {
	return noun("key", "what the store holds: metadata, never a key", a.keyListCommand(o), a.keyShowCommand(o))
}

func (a *app) keyListCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "list the keys, oldest first", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			server, err := a.adminClient(cmd, o)
			if err != nil {
				return err
			}
			defer server.Close()
			keys, err := allKeys(cmd, server)
			if err != nil {
				return err
			}
			return a.show(cmd, o, keys, func(w io.Writer) {
				line(w, "UNIQUE IDENTIFIER", "TYPE", "ALGORITHM", "STATE", "GROUP", "CREATED", "NAMES")
				for _, k := range keys {
					line(w, k.UniqueIdentifier, k.ObjectType, dash(algorithm(k)), k.State, k.Group, date(k.InitialDate), dash(strings.Join(k.Names, ", ")))
				}
			})
		},
	}
	o.outputFlag(cmd)
	return cmd
}

func allKeys(cmd *cobra.Command, server *admin.Client) ([]admin.Key, error) {
	keys := []admin.Key{}
	for after := ""; ; {
		page, err := server.Keys(cmd.Context(), admin.KeyQuery{After: after, Limit: keyPage})
		if err != nil {
			return nil, err
		}
		keys = append(keys, page.Keys...)
		if after = page.Next; after == "" {
			return keys, nil
		}
	}
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
	field(w, "state", k.State)
	field(w, "group", k.Group)
	field(w, "user", k.User)
	field(w, "made by client", k.Client)
	field(w, "names", strings.Join(k.Names, ", "))
	field(w, "initial date", date(k.InitialDate))
	field(w, "activation date", date(k.ActivationDate))
	field(w, "deactivation date", date(k.DeactivationDate))
	field(w, "compromise date", date(k.CompromiseDate))
	field(w, "destroy date", date(k.DestroyDate))
	field(w, "last change date", date(k.LastChangeDate))
	field(w, "other attributes", strings.Join(k.Attributes, ", "))
}

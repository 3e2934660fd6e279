package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/admin"
)

// completeTime is how long a person waits for a TAB.
const completeTime = 2 * time.Second

type completion = cobra.CompletionFunc

// completeWords offers fixed words for a flag.
func completeWords(cmd *cobra.Command, flag string, words ...string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

// completeFrom offers for the first argument what the server knows. It is quiet
// where there is no server: whoever presses TAB has not asked for an error.
func (a *app) completeFrom(o *options, ask func(context.Context, *admin.Client) ([]string, error)) completion {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		server, err := a.adminClient(cmd, o)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer server.Close()
		ctx, cancel := context.WithTimeout(context.Background(), completeTime)
		defer cancel()
		words, err := ask(ctx, server)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return words, cobra.ShellCompDirectiveNoFileComp
	}
}

func clientNames(ctx context.Context, server *admin.Client) (names []string, err error) {
	clients, err := server.Clients(ctx)
	for _, c := range clients {
		names = append(names, c.Name)
	}
	return names, err
}

// completeKeys bounds how many keys are offered.
const completeKeys = 200

func keyNames(ctx context.Context, server *admin.Client) (names []string, err error) {
	page, err := server.Keys(ctx, admin.KeyQuery{Limit: completeKeys})
	for _, k := range page.Keys {
		names = append(names, k.UniqueIdentifier)
	}
	return names, err
}

// addCompletions gives the commands below root what they can complete, by the
// noun that they are about. Commands that have completions of their own keep
// them.
func (a *app) addCompletions(root *cobra.Command, o *options) {
	known := map[string]func(context.Context, *admin.Client) ([]string, error){"client": clientNames, "key": keyNames}
	for _, noun := range root.Commands() {
		for _, verb := range append(noun.Commands(), noun) {
			completeFlags(verb)
			if ask := known[noun.Name()]; ask != nil && verb.ValidArgsFunction == nil && wantsName(verb) {
				verb.ValidArgsFunction = a.completeFrom(o, ask)
			}
		}
	}
}

// wantsName tells the verbs about one that exists from those that make one.
func wantsName(cmd *cobra.Command) bool {
	return cmd.HasParent() && !cmd.HasSubCommands() && cmd.Name() != "add" && cmd.Name() != "list"
}

var flagWords = map[string][]string{
	"log-level": {"debug", "info", "warn", "error"}, "log-format": {"text", "json"}, "key-type": {"rsa2048", "p256"},
}

func completeFlags(cmd *cobra.Command) {
	for flag, words := range flagWords {
		if cmd.Flags().Lookup(flag) != nil {
			completeWords(cmd, flag, words...)
		}
	}
	if f := cmd.Flags().Lookup("output"); f != nil && f.DefValue == "table" {
		completeWords(cmd, "output", "table", "json")
	}
}

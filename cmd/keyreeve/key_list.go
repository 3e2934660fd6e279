package main

import (
	"context"
	"encoding/json"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/admin"
)

const keyListHelp = `Lists the keys of all groups, oldest first. All filters that are given must hold:

  keyreeve key list --state active --group storage
  keyreeve key list --name disk-7
  keyreeve key list --attribute x-env=prod --algorithm AES-256
  keyreeve key list --created-after 2026-11-01 --created-before 2026-12-01

Times are dates (of UTC) or RFC 3339. Keys are printed as they arrive, so that a
list of many begins at once; --limit ends it early.`

type keyListOptions struct {
	query         admin.KeyQuery
	after, before string
	limit         int
	inUse, unused bool
}

func (a *app) keyListCommand(o *options) *cobra.Command {
	var list keyListOptions
	cmd := &cobra.Command{
		Use: "list", Short: "list the keys, oldest first", Long: keyListHelp, Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.keyList(cmd, o, list) },
	}
	f, q := cmd.Flags(), &list.query
	f.StringVar(&q.State, "state", "", "pre-active, active, deactivated, compromised, destroyed or destroyed-compromised")
	f.StringVar(&q.Type, "type", "", "object type, for example symmetric-key or secret-data")
	f.StringVar(&q.Group, "group", "", "group that the key belongs to")
	f.StringVar(&q.Owner, "owner", "", "user in the group")
	f.StringVar(&q.Client, "client", "", "client that made it")
	f.StringVar(&q.Name, "name", "", "one of the key's names, exactly")
	f.StringVar(&q.Algorithm, "algorithm", "", "for example AES or AES-256")
	f.StringArrayVar(&q.Attributes, "attribute", nil, "NAME=VALUE of another attribute, x-… among them; may be given many times")
	f.BoolVar(&list.inUse, "in-use", false, "only keys that an inventory says are in use")
	f.BoolVar(&list.unused, "unused", false, "only keys that no inventory says are in use")
	f.StringVar(&list.after, "created-after", "", "made at or after this time")
	f.StringVar(&list.before, "created-before", "", "made before this time")
	f.IntVar(&list.limit, "limit", 0, "at most so many (0: all)")
	o.outputFlag(cmd)
	return cmd
}

func (a *app) keyList(cmd *cobra.Command, o *options, list keyListOptions) error {
	if list.limit < 0 {
		return usage(cmd, "--limit %d is less than none", list.limit)
	}
	switch {
	case list.inUse && list.unused:
		return usage(cmd, "--in-use and --unused exclude each other")
	case list.inUse:
		list.query.Use = "in-use"
	case list.unused:
		list.query.Use = "unused"
	}
	var err error
	if list.query.CreatedAfter, err = moment(list.after); err != nil {
		return usage(cmd, "--created-after: %w", err)
	}
	if list.query.CreatedBefore, err = moment(list.before); err != nil {
		return usage(cmd, "--created-before: %w", err)
	}
	out, err := a.keyWriter(cmd, o)
	if err != nil {
		return err
	}
	server, err := a.adminClient(cmd, o)
	if err != nil {
		return err
	}
	defer server.Close()
	if err := eachKeyPage(cmd.Context(), server, list.query, list.limit, out.page); err != nil {
		return err
	}
	return out.end()
}

// moment reads a date or a time; the empty text is none.
func moment(text string) (t time.Time, err error) {
	if text == "" {
		return t, nil
	}
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		return t, nil
	}
	if t, err = time.Parse(time.RFC3339, text); err != nil {
		return t, errMoment(text)
	}
	return t, nil
}

type errMoment string

func (e errMoment) Error() string {
	return string(e) + " is no time: want for example 2026-11-26 or 2026-11-26T14:00:00Z"
}

// eachKeyPage calls fn for each page, until there are no more or limit keys have
// come (0: all).
func eachKeyPage(ctx context.Context, server *admin.Client, q admin.KeyQuery, limit int, fn func([]admin.Key) error) error {
	for left := limit; ; {
		if limit > 0 {
			q.Limit = min(left, keyPage)
		}
		page, err := server.Keys(ctx, q)
		if err != nil {
			return err
		}
		if err := fn(page.Keys); err != nil {
			return err
		}
		left -= len(page.Keys)
		if q.After = page.Next; q.After == "" || limit > 0 && left <= 0 {
			return nil
		}
	}
}

const keyPage = 10000 // keys in an answer: what the server gives at most

// A keyWriter prints pages of keys as they come.
type keyWriter struct {
	page func([]admin.Key) error
	end  func() error
}

func (a *app) keyWriter(cmd *cobra.Command, o *options) (keyWriter, error) {
	switch o.output {
	case "json":
		return jsonKeys(a.out), nil
	case "table":
		return tableKeys(a.out), nil
	}
	return keyWriter{}, usage(cmd, "unknown output %q: want table or json", o.output)
}

// called is what a key is known by: its names, or what vCenter has written on it
// about the machine or host that uses it.
func called(k admin.Key) string {
	words := []string{strings.Join(k.Names, ", ")}
	for _, mark := range []string{"x-Component", "x-Name", "x-Identifier"} {
		for _, a := range k.Attributes {
			if a.Name == mark {
				words = append(words, a.Value)
			}
		}
	}
	return strings.TrimSpace(strings.Join(words, " "))
}

// tableKeys aligns the columns of each page by itself: what comes later is not
// waited for.
func tableKeys(out io.Writer) keyWriter {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line(w, "UNIQUE IDENTIFIER", "TYPE", "ALGORITHM", "STATE", "GROUP", "CREATED", "NAMES")
	page := func(keys []admin.Key) error {
		for _, k := range keys {
			line(w, k.UniqueIdentifier, k.ObjectType, dash(algorithm(k)), k.State, k.Group, date(k.InitialDate), dash(called(k)))
		}
		if len(keys) == 0 {
			return nil
		}
		return w.Flush()
	}
	return keyWriter{page: page, end: w.Flush}
}

// jsonKeys writes one array, element by element.
func jsonKeys(out io.Writer) keyWriter {
	before := "[\n  "
	page := func(keys []admin.Key) error {
		for _, k := range keys {
			text, err := json.MarshalIndent(k, "  ", "  ")
			if err != nil {
				return err
			}
			if _, err := io.WriteString(out, before+string(text)); err != nil {
				return err
			}
			before = ",\n  "
		}
		return nil
	}
	end := func() error {
		closing := "\n]\n"
		if strings.HasPrefix(before, "[") {
			closing = "[]\n"
		}
		_, err := io.WriteString(out, closing)
		return err
	}
	return keyWriter{page: page, end: end}
}

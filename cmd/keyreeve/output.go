package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"
)

// show prints value as JSON, or calls table with a writer that aligns columns
// parted by tabs.
func (a *app) show(cmd *cobra.Command, o *options, value any, table func(io.Writer)) error {
	switch o.output {
	case "json":
		enc := json.NewEncoder(a.out)
		enc.SetIndent("", "  ")
		return enc.Encode(value)
	case "table":
		w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
		table(w)
		return w.Flush()
	}
	return o.checkOutput(cmd)
}

// checkOutput refuses an output that there is not, before anything is done.
func (o *options) checkOutput(cmd *cobra.Command) error {
	if o.output != "json" && o.output != "table" {
		return usage(cmd, "unknown output %q: want table or json", o.output)
	}
	return nil
}

func line(w io.Writer, columns ...string) {
	for i, c := range columns {
		columns[i] = printable(c)
	}
	_, _ = fmt.Fprintln(w, strings.Join(columns, "\t"))
}

// printable escapes what would move the cursor, break the table or turn the text
// around: names and attributes are what clients made them.
func printable(s string) string {
	if strings.IndexFunc(s, unprintable) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unprintable(r) {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// field is a line of a single record; empty values are left out.
func field(w io.Writer, name, value string) {
	if value != "" {
		line(w, name, value)
	}
}

func date(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

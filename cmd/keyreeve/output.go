package main

import (
	"encoding/json"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/internal/program"
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

func line(w io.Writer, columns ...string) { program.Line(w, columns...) }

func printable(s string) string { return program.Printable(s) }

// field is a line of a single record; empty values are left out.
func field(w io.Writer, name, value string) { program.Field(w, name, value) }

func date(t time.Time) string { return program.Date(t) }

func dash(s string) string { return program.Dash(s) }

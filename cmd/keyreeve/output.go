package main

import (
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/internal/program"
)

func (a *app) show(cmd *cobra.Command, o *options, value any, table func(io.Writer)) error {
	if err := o.checkOutput(cmd); err != nil {
		return err
	}
	return program.Show(a.out, o.output, value, table)
}

func (o *options) checkOutput(cmd *cobra.Command) error { return commands.CheckOutput(cmd, o.output) }

func line(w io.Writer, columns ...string) { program.Line(w, columns...) }

func printable(s string) string { return program.Printable(s) }

// field is a line of a single record; empty values are left out.
func field(w io.Writer, name, value string) { program.Field(w, name, value) }

func date(t time.Time) string { return program.Date(t) }

func dash(s string) string { return program.Dash(s) }

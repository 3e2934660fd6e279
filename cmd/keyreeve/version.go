package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/internal/program"
)

func (a *app) versionCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "version", Short: "print the version", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.show(cmd, o, map[string]string{"version": version()}, func(w io.Writer) {
				_, _ = fmt.Fprintf(w, "keyreeve %s\n", version())
			})
		},
	}
	o.outputFlag(cmd)
	return cmd
}

func version() string { return program.Version() }

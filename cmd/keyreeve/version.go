package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
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

// version says what was built: the module's version, or the commit, and with
// which Go.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	name := info.Main.Version
	if name == "" || name == "(devel)" {
		name = "devel"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && name == "devel" {
			name += " " + s.Value[:min(12, len(s.Value))]
		}
	}
	return fmt.Sprintf("%s (%s %s/%s)", name, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

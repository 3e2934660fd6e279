package program

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// What a command line ends with, and what its author is told.
func TestRun(t *testing.T) {
	c := Commands{UsageCode: 2}
	errLost := errors.New("the ship is lost")
	judge := func(err error) (int, string) {
		if f, ok := errors.AsType[*Failure](err); ok {
			return f.Code, f.Hint
		}
		return 1, ""
	}
	for _, tc := range []struct {
		args string
		code int
		said string
	}{
		{"ship sail Argo", 0, ""},
		{"ship sink Argo", 1, "navy: error: sinking: the ship is lost\n"},
		{"ship", 0, ""},
		{"ship burn", 2, "navy: error: unknown command \"burn\" for \"navy ship\"\nhint: navy ship --help shows what it takes\n"},
		{"ship sail", 2, "navy: error: the ship's name is missing\nhint: navy ship sail --help shows what it takes\n"},
		{"ship sail Argo now", 2, "navy: error: \"now\" is one argument too many\nhint: navy ship sail --help shows what it takes\n"},
		{"ship paint red", 7, "navy: error: unknown output \"red\": want table or json\nhint: navy ship paint --help shows what it takes\n"},
	} {
		does := func(use string, args cobra.PositionalArgs, run func(cmd *cobra.Command, args []string) error) *cobra.Command {
			return &cobra.Command{Use: use, Args: args, RunE: run}
		}
		root := &cobra.Command{Use: "navy", SilenceErrors: true, SilenceUsage: true}
		root.AddCommand(c.Noun("ship", "ships",
			does("sail", c.Takes(1, "the ship's name"), func(*cobra.Command, []string) error { return nil }),
			does("sink", c.Takes(1, "the ship's name"), func(*cobra.Command, []string) error { return fmt.Errorf("sinking: %w", errLost) }),
			does("paint", c.Takes(1, "the colour"), func(cmd *cobra.Command, args []string) error {
				return Commands{UsageCode: 7}.CheckOutput(cmd, args[0])
			})))
		var out, said bytes.Buffer
		root.SetOut(&out)
		root.SetErr(&said)
		code := Run(context.Background(), root, strings.Fields(tc.args), judge)
		if code != tc.code || said.String() != tc.said {
			t.Errorf("%s ends with %d: %s", tc.args, code, said.String())
		}
	}
}

func TestExitHelp(t *testing.T) {
	meanings := make([]string, 11)
	meanings[0], meanings[10] = "done", "usage"
	want := "Exit codes:\n   0  done\n   1  \n   2  \n   3  \n   4  \n   5  \n   6  \n   7  \n   8  \n   9  \n  10  usage"
	if got := ExitHelp(meanings); got != want {
		t.Errorf("%q", got)
	}
}

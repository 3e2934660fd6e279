package program

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// Confirm asks at the terminal whether to go on. Where there is none it does not
// guess: a script says --yes.
func (c Commands) Confirm(cmd *cobra.Command, question string) error {
	terminal, ok := cmd.InOrStdin().(*os.File)
	if !ok || !IsTerminal(terminal) {
		return c.Usage(cmd, "there is no terminal to ask at; add --yes to go on without a question")
	}
	if !answersYes(cmd.Context(), terminal, cmd.ErrOrStderr(), question) {
		return &Failure{Code: c.RefusedCode, Err: errors.New("nothing was done")}
	}
	return nil
}

// answersYes is saysYes for a person who may press Ctrl-C instead: that is a no,
// at once. The program ends then, and with it the reading.
func answersYes(ctx context.Context, in io.Reader, out io.Writer, question string) bool {
	answer := make(chan bool, 1)
	go func() { answer <- saysYes(in, out, question) }()
	select {
	case yes := <-answer:
		return yes && ctx.Err() == nil
	case <-ctx.Done():
		_, _ = fmt.Fprintln(out)
		return false
	}
}

// saysYes takes "yes" and nothing else for yes: not what a key that was held
// down, or a paste, may send.
func saysYes(in io.Reader, out io.Writer, question string) bool {
	_, _ = fmt.Fprintf(out, "%sType yes to go on: ", question)
	typed, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && typed == "" {
		_, _ = fmt.Fprintln(out)
	}
	return strings.TrimSpace(typed) == "yes"
}

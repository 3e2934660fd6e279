package program

import (
	"bufio"
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
	if !saysYes(terminal, cmd.ErrOrStderr(), question) {
		return &Failure{Code: c.RefusedCode, Err: errors.New("nothing was done")}
	}
	return nil
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

package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// confirm asks at the terminal whether to go on. Where there is none it does not
// guess: a script says --yes.
func (a *app) confirm(cmd *cobra.Command, question string) error {
	terminal, ok := a.in.(*os.File)
	if !ok || !isTerminal(terminal) {
		return usage(cmd, "there is no terminal to ask at; add --yes to go on without a question")
	}
	return a.answer(terminal, question)
}

// answer takes "yes" and nothing else for yes: not what a key that was held
// down, or a paste, may send.
func (a *app) answer(in io.Reader, question string) error {
	_, _ = fmt.Fprintf(a.err, "%sType yes to go on: ", question)
	typed, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && typed == "" {
		_, _ = fmt.Fprintln(a.err)
	}
	if strings.TrimSpace(typed) != "yes" {
		return refuse("", "nothing was done")
	}
	return nil
}

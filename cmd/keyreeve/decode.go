package main

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/kmip/transcript"
)

const decodeHelp = `Prints a KMIP message, given as its bytes or in hexadecimal (with or without 0x,
spaces, colons and line ends), from FILE or from standard input.

Keys, passwords and whatever else could be secret are left out unless --show-keys
is given.`

// maxMessage bounds what is read: more than a server ever takes.
const maxMessage = 64 << 20

func (a *app) decodeCommand(*options) *cobra.Command {
	var form string
	var showKeys bool
	cmd := &cobra.Command{
		Use: "decode [FILE|-]", Short: "print a KMIP message for people", Long: decodeHelp, Args: atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(transcript.Forms, form) {
				return usage(cmd, "unknown output %q: want one of %s", form, strings.Join(transcript.Forms, ", "))
			}
			return a.decode(args, form, showKeys)
		},
	}
	cmd.Flags().StringVarP(&form, "output", "o", "text", strings.Join(transcript.Forms, ", "))
	cmd.Flags().BoolVar(&showKeys, "show-keys", false, "show keys and passwords too")
	completeWords(cmd, "output", transcript.Forms...)
	return cmd
}

// atMost takes n arguments or fewer.
func atMost(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > n {
			return usage(cmd, "%q is one argument too many", args[n])
		}
		return nil
	}
}

func (a *app) decode(args []string, form string, showKeys bool) error {
	from, name := a.in, "standard input"
	if len(args) > 0 && args[0] != "-" {
		name = args[0]
		file, err := os.Open(name)
		if err != nil {
			return &failure{Code: exitUsage, Err: err}
		}
		defer func() { _ = file.Close() }()
		from = file
	}
	input, err := io.ReadAll(io.LimitReader(from, 2*maxMessage+1))
	defer secret.Clear(input)
	switch {
	case err != nil:
		return fmt.Errorf("reading %s: %w", name, err)
	case len(input) > 2*maxMessage:
		return fmt.Errorf("reading %s: it is longer than any message", name)
	}
	message := fromHex(input)
	defer secret.Clear(message)
	var out bytes.Buffer
	if err := transcript.Print(&out, form, message, showKeys); err != nil {
		hint := "give one whole message, from its first byte 42 on"
		if errors.Is(err, transcript.ErrCostly) {
			hint = "-o notation prints it all the same"
		}
		return &failure{Code: exitOther, Err: fmt.Errorf("%s: %w", name, err), Hint: hint}
	}
	a.print("%s", out.Bytes())
	return nil
}

// fromHex reads what is hexadecimal; else the input is the message itself.
func fromHex(input []byte) []byte {
	digits := bytes.Map(func(r rune) rune {
		if r == ':' || unicode.IsSpace(r) {
			return -1
		}
		return r
	}, bytes.TrimPrefix(bytes.TrimSpace(input), []byte("0x")))
	defer secret.Clear(digits)
	message := make([]byte, hex.DecodedLen(len(digits)))
	if n, err := hex.Decode(message, digits); err != nil || n == 0 || len(digits)%2 != 0 {
		return bytes.Clone(input)
	}
	return message
}

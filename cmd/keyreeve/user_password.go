package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/internal/durable"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/users"
)

const passwordHelp = `The password is asked for at the terminal. Or it is the first line of
--password-file FILE, of standard input with --password-file -, or, with
--generate, made here and printed once. It is never an argument: those can be
seen by every user of the machine.`

// passwordOptions say where a new password comes from; both empty asks.
type passwordOptions struct {
	file     string
	generate bool
}

func (p *passwordOptions) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.file, "password-file", "", "file whose first line is the password; - is standard input")
	cmd.Flags().BoolVar(&p.generate, "generate", false, "make a password, and print it once")
}

// newPassword gets a new password. The caller clears it.
func (a *app) newPassword(cmd *cobra.Command, p passwordOptions) (password *secret.Bytes, err error) {
	switch {
	case p.generate && p.file != "":
		return nil, usage(cmd, "--generate and --password-file exclude each other")
	case p.generate:
		return secret.Own([]byte(generated())), nil
	case p.file == fromTerminal:
		password, err = firstLine(a.in)
	case p.file != "":
		password, err = passwordFile(p.file)
	default:
		password, err = a.typedPassword(cmd)
	}
	if err == nil && password.Len() == 0 {
		err = refuse("", "the password is empty")
	}
	return password, err
}

// generated is a password of 130 random bits that can be read out and typed.
func generated() string {
	text := strings.ToLower(rand.Text())
	return text[:6] + "-" + text[6:13] + "-" + text[13:19] + "-" + text[19:]
}

func passwordFile(path string) (*secret.Bytes, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &failure{Code: exitUsage, Err: fmt.Errorf("there is no file %s", path)}
	}
	if err != nil {
		return nil, err
	}
	if open := info.Mode().Perm() & 0o077; open != 0 {
		return nil, refuse("run: chmod 600 "+path, "the password file %s is open to others: its mode is %#o", path, info.Mode().Perm())
	}
	text, err := durable.ReadFile(durable.OS, path, maxPassphrase)
	if err != nil {
		return nil, err
	}
	defer secret.Clear(text)
	return firstLine(bytes.NewReader(text))
}

// firstLine reads a line, without its end, and clears what it read it into.
func firstLine(in io.Reader) (*secret.Bytes, error) {
	buf := make([]byte, 0, users.MaxPassword+3) // one more than is taken, and a line end
	defer func() { secret.Clear(buf[:cap(buf)]) }()
	r := bufio.NewReaderSize(in, 16)
	for len(buf) < cap(buf) {
		c, err := r.ReadByte()
		if errors.Is(err, io.EOF) || err == nil && c == '\n' {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading the password: %w", err)
		}
		buf = append(buf, c)
	}
	line := bytes.TrimSuffix(buf, []byte("\r"))
	password := secret.New(len(line))
	copy(password.Expose(), line)
	return password, nil
}

func (a *app) typedPassword(cmd *cobra.Command) (*secret.Bytes, error) {
	terminal, ok := a.in.(*os.File)
	if !ok || !isTerminal(terminal) {
		return nil, usage(cmd, "no password: there is no terminal to ask at; give --password-file FILE, --password-file - for standard input, or --generate")
	}
	return a.askTwice(terminal, "password of the user: ", "the two passwords differ")
}

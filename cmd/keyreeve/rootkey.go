package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/keyreeve/keyreeve/internal/durable"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/keystore/rootkey"
)

// keyOptions say where the root key comes from; both empty is the file beside
// the data folder, or a passphrase when the store was made with one.
type keyOptions struct {
	file       string
	passphrase string
}

// rootKey gets the root key of a store. The caller clears it.
func (a *app) rootKey(f folder, k keyOptions) (key *secret.Bytes, from string, err error) {
	_, err = os.Stat(f.passphrase())
	switch {
	case err == nil:
		return a.fromPassphrase(f, k)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, "", err
	case k.passphrase != "":
		return nil, "", refuse("leave --passphrase-file out", "the store in %s was made with a root key file, not with a passphrase", f)
	}
	if k.file == "" {
		k.file = f.rootKey()
	}
	return take(rootkey.FromFile(k.file))
}

func take(source rootkey.Source) (*secret.Bytes, string, error) {
	key, err := source.RootKey()
	return key, source.Describe(), err
}

func (a *app) fromPassphrase(f folder, k keyOptions) (*secret.Bytes, string, error) {
	if k.file != "" {
		return nil, "", refuse("give --passphrase-file, or type it", "the store in %s was made with a passphrase, not with a root key file", f)
	}
	params, err := rootkey.ReadParams(f.passphrase())
	if err != nil {
		return nil, "", err
	}
	passphrase, err := a.passphrase(k.passphrase, false)
	if err != nil {
		return nil, "", err
	}
	defer passphrase.Clear()
	return take(rootkey.FromPassphrase(params, passphrase))
}

const maxPassphrase = 4096 // bytes

// fromTerminal as a path means: ask.
const fromTerminal = "-"

// passphrase reads it from the first line of a file, or asks at the terminal,
// twice for a new one.
func (a *app) passphrase(path string, isNew bool) (*secret.Bytes, error) {
	if path == "" || path == fromTerminal {
		return a.askPassphrase(isNew)
	}
	return a.passphraseFrom(path)
}

func (a *app) passphraseFrom(path string) (*secret.Bytes, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &failure{Code: exitWrongKey, Err: fmt.Errorf("there is no passphrase file %s", path)}
	}
	if err != nil {
		return nil, err
	}
	if open := info.Mode().Perm() & 0o077; open != 0 {
		return nil, fmt.Errorf("passphrase file %s: %w: its mode is %#o", path, rootkey.ErrTooOpen, info.Mode().Perm())
	}
	text, err := durable.ReadFile(durable.OS, path, maxPassphrase)
	if err != nil {
		return nil, err
	}
	first, _, _ := bytes.Cut(text, []byte("\n"))
	passphrase := secret.New(len(bytes.TrimSuffix(first, []byte("\r"))))
	copy(passphrase.Expose(), first)
	secret.Clear(text)
	return passphrase, nil
}

func (a *app) askPassphrase(isNew bool) (*secret.Bytes, error) {
	terminal, ok := a.in.(*os.File)
	if !ok || !isTerminal(terminal) {
		return nil, &failure{Code: exitWrongKey, Err: errors.New("the store needs its passphrase, and there is no terminal to ask at"),
			Hint: "give --passphrase-file FILE, or set KEYREEVE_PASSPHRASE_FILE"}
	}
	if isNew {
		return a.askTwice(terminal, "passphrase of the root key: ", "the two passphrases differ")
	}
	return a.ask(terminal, "passphrase of the root key: ")
}

// askTwice is ask for what is new, where a typing error would lock it away.
func (a *app) askTwice(terminal *os.File, prompt, differ string) (*secret.Bytes, error) {
	first, err := a.ask(terminal, prompt)
	if err != nil {
		return nil, err
	}
	second, err := a.ask(terminal, "once more: ")
	defer second.Clear()
	if err == nil && !first.Equal(second) {
		err = refuse("", "%s", differ)
	}
	if err != nil {
		first.Clear()
		return nil, err
	}
	return first, nil
}

// ask reads a line that the terminal does not show.
func (a *app) ask(terminal *os.File, prompt string) (*secret.Bytes, error) {
	restore, err := hideInput(terminal)
	if err != nil {
		return nil, err
	}
	defer restore()
	_, _ = fmt.Fprint(a.err, prompt)
	buf := make([]byte, maxPassphrase)
	defer secret.Clear(buf)
	n, err := terminal.Read(buf) // a terminal gives a line at a time
	_, _ = fmt.Fprintln(a.err)
	if err != nil {
		return nil, fmt.Errorf("reading from the terminal: %w", err)
	}
	typed := bytes.TrimRight(buf[:n], "\r\n")
	passphrase := secret.New(len(typed))
	copy(passphrase.Expose(), typed)
	return passphrase, nil
}

package main

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/audit"
)

func (a *app) auditCommand(o *options) *cobra.Command {
	return noun("audit", "the journal: who did what with which key",
		a.auditTailCommand(o), a.auditVerifyCommand(o), a.auditExportCommand(o), a.auditKeyCommand(o))
}

const auditFolderHelp = `The journal is read from the data folder, or from DIR: a copy of a journal folder,
or an archive. Neither a running server nor the root key is needed, only the right
to read the files.`

// journalFolder returns the configuration of the journal that a command is about.
func (a *app) journalFolder(cmd *cobra.Command, o *options, args []string) (cfg audit.Config, err error) {
	dir := ""
	if len(args) > 0 {
		dir = args[0]
	} else {
		data, err := a.dataFolder(cmd, o)
		if err != nil {
			return cfg, err
		}
		dir = folder(data).journal()
	}
	cfg = audit.Config{Dir: dir, Now: a.now}
	cfg.StoreID, err = audit.StoreOf(cfg)
	return cfg, err
}

func (a *app) auditKeyCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "key [DIR]", Short: "print the public key that checks the journal's signatures", Args: atMost(1),
		Long: "Prints the public key that checks the journal's checkpoints, as PEM. Keep it and\nthe checkpoints away from the server: then nobody there can change the past.\n\n" + auditFolderHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := a.journalFolder(cmd, o, args)
			if err != nil {
				return err
			}
			key, err := readPublicKey(publicKeyPath(cfg.Dir))
			if errors.Is(err, fs.ErrNotExist) {
				return &failure{Code: exitNotFound, Err: fmt.Errorf("there is no %s: this journal was never signed", publicKeyPath(cfg.Dir)), Hint: "the server makes it when it starts"}
			}
			if err != nil {
				return err
			}
			a.print("%s", publicKeyPEM(key))
			return nil
		},
	}
	return cmd
}

// publicKeyPath is where the server leaves the key, for whoever copies the
// folder. Nobody who checks a journal should take it from there.
func publicKeyPath(journal string) string { return journal + "/journal.pub" }

func publicKeyPEM(key ed25519.PublicKey) []byte {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		panic(err) // an Ed25519 key can be written
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func readPublicKey(path string) (ed25519.PublicKey, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s holds no public key in PEM", path)
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	ed, ok := key.(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("%s holds a %T, want an Ed25519 key", path, key)
	}
	return ed, nil
}

// A filter says which events a command shows. Empty fields let all pass.
type filter struct {
	operation, client, user, group, object, outcome string
	since, until                                    int64 // Unix nanoseconds; 0: none
}

func (f *filter) flags(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.operation, "operation", "", "only this operation, for example Get or 'Enrol Client'")
	fl.StringVar(&f.client, "client", "", "only this client or administrator")
	fl.StringVar(&f.user, "user", "", "only this user")
	fl.StringVar(&f.group, "group", "", "only this group")
	fl.StringVar(&f.object, "object", "", "only the key with this unique identifier")
	fl.StringVar(&f.outcome, "outcome", "", "only success, failure or denied")
	completeWords(cmd, "outcome", "success", "failure", "denied")
}

func (f *filter) check(cmd *cobra.Command) error {
	switch f.outcome {
	case "", "success", "failure", "denied":
		return nil
	}
	return usage(cmd, "unknown outcome %q: want success, failure or denied", f.outcome)
}

func (f *filter) passes(l *audit.Line) bool {
	at := l.Time.UnixNano()
	return is(f.operation, l.Operation) && is(f.client, l.Client) && is(f.user, l.User) && is(f.group, l.Group) &&
		is(f.object, l.Object) && is(f.outcome, l.Outcome) && at >= f.since && (f.until == 0 || at < f.until)
}

func is(want, got string) bool { return want == "" || strings.EqualFold(want, got) }

// eventText is one event on a line, for people: when, how it ended, what, who,
// which key, why.
func eventText(l *audit.Line) string {
	who := dash(l.Client)
	if l.User != "" {
		who = l.User + "@" + who
	}
	if l.Group != "" && l.Group != l.Client {
		who += " (" + l.Group + ")"
	}
	columns := []struct {
		text string
		wide int
	}{
		{l.Time.UTC().Format("2006-01-02 15:04:05.000Z"), 24}, {l.Outcome, 7}, {l.Operation, 20}, {who, 24}, {dash(l.Object), 36}, {l.Remote, 21}, {l.Reason, 0},
	}
	var b strings.Builder
	for _, c := range columns {
		text := printable(c.text)
		b.WriteString(text)
		for n := len([]rune(text)); n < c.wide; n++ {
			b.WriteByte(' ')
		}
		b.WriteString("  ")
	}
	return strings.TrimRight(b.String(), " ")
}

// groups calls fn for each group behind sequence after that is there now.
func groups(ctx context.Context, r *audit.Reader, fn func(*audit.Group) error) error {
	for ctx.Err() == nil {
		g, ok, err := r.Next()
		if err != nil || !ok {
			return err
		}
		if err := fn(&g); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func hexHash(h [32]byte) string { return hex.EncodeToString(h[:]) }

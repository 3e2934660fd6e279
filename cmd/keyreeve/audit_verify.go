package main

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/audit"
)

const auditVerifyHelp = `Reads the whole journal and holds it against its signatures: edits, pieces that
were dropped, put in another order or taken from elsewhere, and with a checkpoint
that was kept away from the server also an end that was cut off.

The public key has to come from elsewhere too (--public-key): whoever can rewrite a
journal can put another key beside it. Without the flag the one in the folder is
used, and the answer says so.

Instead of a folder it takes exported files (keyreeve audit export), in order.

` + auditFolderHelp

type auditVerify struct {
	publicKey   string
	checkpoints []string
}

// journalReport is what audit verify prints.
type journalReport struct {
	StoreID      string   `json:"store_id,omitempty"`
	After        uint64   `json:"begins_after"`
	End          uint64   `json:"ends_at"`
	Hash         string   `json:"hash"`
	Entries      uint64   `json:"entries"`
	Checkpoints  int      `json:"checkpoints"`
	SignedUpTo   uint64   `json:"signed_up_to"`
	SignedOn     string   `json:"signed_on,omitempty"`
	KeyFromThere bool     `json:"key_from_the_journal"` // so the signatures prove nothing against whoever could write there
	Unfinished   int64    `json:"unfinished,omitempty"`
	Remarks      []string `json:"remarks"`
}

func (a *app) auditVerifyCommand(o *options) *cobra.Command {
	v := &auditVerify{}
	cmd := &cobra.Command{
		Use: "verify [DIR | FILE…]", Short: "hold the journal against its signatures", Long: auditVerifyHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.checkOutput(cmd); err != nil {
				return err
			}
			report, err := a.auditVerify(cmd, o, v, args)
			if err != nil {
				return err
			}
			return a.show(cmd, o, report, func(w io.Writer) { journalFields(w, &report) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&v.publicKey, "public-key", "", "the journal's public key, kept elsewhere (keyreeve audit key)")
	f.StringArrayVar(&v.checkpoints, "checkpoint", nil, "a file with checkpoints, kept elsewhere; may be given again")
	o.outputFlag(cmd)
	return cmd
}

func (a *app) auditVerify(cmd *cobra.Command, o *options, v *auditVerify, args []string) (journalReport, error) {
	given, err := v.read()
	if err != nil {
		return journalReport{}, err
	}
	if len(args) > 0 && !isFolder(args[0]) {
		return v.exports(cmd, args, given)
	}
	if err := atMost(1)(cmd, args); err != nil {
		return journalReport{}, err
	}
	cfg, err := a.journalFolder(cmd, o, args)
	if err != nil {
		return journalReport{}, err
	}
	key, own, err := v.key(publicKeyPath(cfg.Dir))
	if err != nil {
		return journalReport{}, err
	}
	if key == nil {
		if len(given) > 0 {
			return journalReport{}, usage(cmd, "--checkpoint needs --public-key: there is no key in %s", cfg.Dir)
		}
		r, err := audit.Verify(cfg)
		return newJournalReport(cfg.StoreID, r, key, own), err
	}
	r, err := audit.VerifySigned(cfg, key, given)
	return newJournalReport(cfg.StoreID, r, key, own), err
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// read reads the checkpoints that were given: files of them, or exported lines.
func (v *auditVerify) read() (all []audit.Checkpoint, err error) {
	for _, path := range v.checkpoints {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		found, err := parseCheckpoints(data)
		if err == nil && len(found) == 0 {
			err = fmt.Errorf("%w: there is none", audit.ErrCheckpoint)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, found...)
	}
	return all, nil
}

func parseCheckpoints(data []byte) ([]audit.Checkpoint, error) {
	if !strings.HasPrefix(string(data), "{") {
		all, _, err := audit.ParseCheckpoints(data)
		return all, err
	}
	var all []audit.Checkpoint
	for text := range strings.Lines(string(data)) {
		var l audit.Line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			return nil, err
		}
		if l.Type != audit.LineCheckpoint {
			continue
		}
		c, err := audit.ParseCheckpoint(l.Text)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// key returns the public key, nil if there is none, and whether it is the
// journal's own.
func (v *auditVerify) key(beside string) (key ed25519.PublicKey, own bool, err error) {
	if v.publicKey != "" {
		key, err = readPublicKey(v.publicKey)
		return key, false, err
	}
	key, err = readPublicKey(beside)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, true, nil
	}
	return key, true, err
}

// exports verifies exported files, one after the other.
func (v *auditVerify) exports(cmd *cobra.Command, paths []string, given []audit.Checkpoint) (journalReport, error) {
	if v.publicKey == "" && len(given) > 0 {
		return journalReport{}, usage(cmd, "--checkpoint needs --public-key")
	}
	var key ed25519.PublicKey
	if v.publicKey != "" {
		var err error
		if key, err = readPublicKey(v.publicKey); err != nil {
			return journalReport{}, err
		}
	}
	var files []io.Reader
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return journalReport{}, err
		}
		defer func() { _ = f.Close() }()
		files = append(files, f)
	}
	r, err := audit.VerifyLines(io.MultiReader(files...), key, given)
	return newJournalReport([16]byte{}, r, key, false), err
}

func newJournalReport(store [16]byte, r audit.Report, key ed25519.PublicKey, own bool) journalReport {
	out := journalReport{
		After: r.Base.Seq, End: r.End.Seq, Hash: hexHash(r.End.Hash), Entries: r.Entries,
		Checkpoints: r.Checkpoints, SignedUpTo: r.Signed.Seq, KeyFromThere: own && key != nil, Unfinished: r.Torn, Remarks: []string{},
	}
	if store != ([16]byte{}) {
		out.StoreID = hexadecimal(store)
	}
	if r.Signed.Seq > 0 {
		out.SignedOn = date(r.Signed.Time)
	}
	say := func(when bool, format string, args ...any) {
		if when {
			out.Remarks = append(out.Remarks, fmt.Sprintf(format, args...))
		}
	}
	say(key == nil, "no public key: only the chain was checked, which whoever could write it can compute anew")
	say(out.KeyFromThere, "the public key lay beside the journal: give --public-key, kept elsewhere, to be sure")
	say(r.Base.Seq > 0, "entries up to %d are not here: they were archived, or belong to a store of which this is the restored copy", r.Base.Seq)
	say(key != nil && r.Signed.Seq < r.End.Seq, "entries %d to %d are not signed yet", r.Signed.Seq+1, r.End.Seq)
	return out
}

func journalFields(w io.Writer, r *journalReport) {
	field(w, "store", r.StoreID)
	line(w, "entries", fmt.Sprintf("%d, from %d to %d", r.Entries, r.After+1, r.End))
	line(w, "hash at the end", r.Hash)
	line(w, "checkpoints", fmt.Sprint(r.Checkpoints))
	if r.SignedUpTo > 0 {
		line(w, "signed", fmt.Sprintf("up to %d, on %s", r.SignedUpTo, r.SignedOn))
	}
	for _, remark := range r.Remarks {
		line(w, "note", remark)
	}
	line(w, "result", "all is as it was written")
}

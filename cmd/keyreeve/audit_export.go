package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/audit/forward"
	"github.com/keyreeve/keyreeve/internal/durable"
)

const auditExportHelp = `Writes the journal to standard output or to --file: as JSON lines, which
'keyreeve audit verify FILE' checks without the journal, or as syslog messages
(RFC 5424), one a line. The signed checkpoints are among them.

What is journalled together is exported together, so the output may begin a little
before --from and end a little after --to. With --position FILE it goes on where the
last export with that file ended; the position is written when all else is.

` + auditFolderHelp

type export struct {
	from, to       uint64
	format         string
	file, position string
}

func (a *app) auditExportCommand(o *options) *cobra.Command {
	e := &export{}
	cmd := &cobra.Command{
		Use: "export [DIR]", Short: "write the journal as JSON lines or syslog messages", Long: auditExportHelp, Args: atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if e.format != "jsonl" && e.format != "syslog" {
				return usage(cmd, "unknown output %q: want jsonl or syslog", e.format)
			}
			if e.position != "" && e.from != 0 {
				return usage(cmd, "--position says where to begin; leave --from out")
			}
			cfg, err := a.journalFolder(cmd, o, args)
			if err != nil {
				return err
			}
			return a.export(cmd.Context(), cfg, e)
		},
	}
	f := cmd.Flags()
	f.Uint64Var(&e.from, "from", 0, "the first sequence (default: the oldest there is)")
	f.Uint64Var(&e.to, "to", 0, "the last sequence (default: the newest there is)")
	f.StringVarP(&e.format, "output", "o", "jsonl", "jsonl or syslog")
	completeWords(cmd, "output", "jsonl", "syslog")
	f.StringVar(&e.file, "file", "", "append to this file instead of standard output")
	f.StringVar(&e.position, "position", "", "file that remembers where the next export goes on")
	return cmd
}

func (a *app) export(ctx context.Context, cfg audit.Config, e *export) (err error) {
	after := max(e.from, 1) - 1
	if e.position != "" {
		if after, err = readPosition(e.position, cfg.StoreID); err != nil {
			return err
		}
	}
	out, done := a.out, func() error { return nil }
	if e.file != "" {
		f, err := os.OpenFile(e.file, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return err
		}
		out, done = f, func() error { return errors.Join(f.Sync(), f.Close()) }
	}
	end, err := writeExport(ctx, cfg, e, after, out)
	if err := errors.Join(err, done()); err != nil {
		return err
	}
	if e.position == "" || end.Seq == 0 {
		return nil
	}
	return writePosition(e.position, cfg.StoreID, end)
}

// writeExport writes what is behind sequence after, and returns where that ended; nothing there is the zero Position.
func writeExport(ctx context.Context, cfg audit.Config, e *export, after uint64, to io.Writer) (end audit.Position, err error) {
	notes, err := audit.Checkpoints(cfg)
	if err != nil {
		return end, err
	}
	slices.SortStableFunc(notes, func(x, y audit.Checkpoint) int { return cmp.Compare(x.Seq, y.Seq) })
	w := bufio.NewWriterSize(to, 64<<10)
	last := e.to
	if last == 0 {
		last = math.MaxUint64
	}
	r := audit.NewReader(cfg, after)
	defer func() { _ = r.Close() }()
	err = groups(ctx, r, func(g *audit.Group) error {
		if g.Before.Seq >= last {
			return errEnough
		}
		lines := g.Lines()
		if end.Seq == 0 {
			lines = append([]audit.Line{audit.BeginLine(cfg.StoreID, g.Before)}, lines...)
		}
		for len(notes) > 0 && notes[0].Seq <= g.End.Seq {
			if notes[0].Seq > g.Before.Seq {
				lines = append(lines, audit.CheckpointLine(&notes[0]))
			}
			notes = notes[1:]
		}
		end = g.End
		return e.write(w, lines)
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return end, errors.Join(err, w.Flush())
}

func (e *export) write(w io.Writer, lines []audit.Line) error {
	host, _ := os.Hostname() // without one the field says so
	var b []byte
	for i := range lines {
		if e.format == "jsonl" {
			b = lines[i].Append(b)
		} else {
			b = append(forward.Format{Host: host}.Append(b, &lines[i]), '\n')
		}
	}
	_, err := w.Write(b)
	return err
}

// exportPosition is what --position keeps.
type exportPosition struct {
	StoreID string `json:"store_id"`
	Seq     uint64 `json:"seq"`
	Hash    string `json:"hash"`
}

func readPosition(path string, store [16]byte) (uint64, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	var p exportPosition
	if err == nil {
		err = json.Unmarshal(data, &p)
	}
	if err != nil {
		return 0, fmt.Errorf("reading the position %s: %w", path, err)
	}
	if p.StoreID != hexadecimal(store) {
		return 0, refuse("name another file with --position", "the position in %s is that of store %s, this is the journal of store %x", path, p.StoreID, store)
	}
	return p.Seq, nil
}

func writePosition(path string, store [16]byte, end audit.Position) error {
	data, err := json.Marshal(exportPosition{hexadecimal(store), end.Seq, hex.EncodeToString(end.Hash[:])})
	if err != nil {
		return err
	}
	return durable.WriteFile(durable.OS, path, append(data, '\n'), 0o600)
}

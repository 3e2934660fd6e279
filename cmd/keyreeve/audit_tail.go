package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/internal/ctxtime"
)

const auditTailHelp = `Shows the last events of the journal, one on a line: when, outcome, operation, who,
which key, from where, why. With -f it goes on as more come in; with -o json each
line is a JSON object (docs/audit.md names the fields).

` + auditFolderHelp

type tail struct {
	filter
	follow bool
	lines  int
	since  string
}

func (a *app) auditTailCommand(o *options) *cobra.Command {
	t := &tail{}
	cmd := &cobra.Command{
		Use: "tail [DIR]", Short: "show the last events", Long: auditTailHelp, Args: atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := errors.Join(t.check(cmd), o.checkOutput(cmd), t.parseSince(cmd, a.now())); err != nil {
				return err
			}
			cfg, err := a.journalFolder(cmd, o, args)
			if err != nil {
				return err
			}
			return a.tail(cmd.Context(), cfg, t, o.output == "json")
		},
	}
	t.flags(cmd)
	f := cmd.Flags()
	f.BoolVarP(&t.follow, "follow", "f", false, "go on as more events come in")
	f.IntVarP(&t.lines, "lines", "n", 20, "how many events; all since the time with --since")
	f.StringVar(&t.since, "since", "", "all from this time on: 2026-11-26T14:00:00Z, or for example 2h for the last two hours")
	o.outputFlag(cmd)
	return cmd
}

func (t *tail) parseSince(cmd *cobra.Command, now time.Time) error {
	if t.since == "" {
		return nil
	}
	if d, err := time.ParseDuration(t.since); err == nil {
		t.filter.since = now.Add(-d).UnixNano()
		return nil
	}
	at, err := time.Parse(time.RFC3339, t.since)
	if err != nil {
		return usage(cmd, "--since %q is neither a time such as 2026-11-26T14:00:00Z nor a duration such as 2h", t.since)
	}
	t.filter.since = at.UnixNano()
	return nil
}

func (a *app) tail(ctx context.Context, cfg audit.Config, t *tail, json bool) error {
	begin, err := t.begin(cfg)
	if err != nil {
		return err
	}
	r := audit.NewReader(cfg, begin)
	defer func() { _ = r.Close() }()
	last := newLast(t)
	err = groups(ctx, r, func(g *audit.Group) error {
		for _, l := range g.Lines() {
			if t.passes(&l) {
				last.add(l, func(l *audit.Line) { a.printEvent(l, json) })
			}
		}
		return nil
	})
	for i := range last.kept {
		a.printEvent(&last.kept[i], json)
	}
	for t.follow && err == nil && ctxtime.Sleep(ctx, 300*time.Millisecond) == nil {
		err = groups(ctx, r, func(g *audit.Group) error {
			for _, l := range g.Lines() {
				if t.passes(&l) {
					a.printEvent(&l, json)
				}
			}
			return nil
		})
	}
	if errors.Is(err, context.Canceled) {
		return nil // that is how -f ends
	}
	return err
}

func (a *app) printEvent(l *audit.Line, json bool) {
	if json {
		_, _ = a.out.Write(l.Append(nil))
		return
	}
	a.print("%s\n", eventText(l))
}

// last keeps the newest lines, or hands all on when a time bounds them.
type last struct {
	limit int
	kept  []audit.Line
}

func newLast(t *tail) *last {
	if t.since != "" {
		return &last{limit: -1}
	}
	return &last{limit: t.lines}
}

func (k *last) add(l audit.Line, show func(*audit.Line)) {
	switch {
	case k.limit < 0:
		show(&l)
	case k.limit > 0:
		if len(k.kept) == k.limit {
			k.kept = append(k.kept[:0], k.kept[1:]...)
		}
		k.kept = append(k.kept, l)
	}
}

// begin returns the sequence after which to read: the end of the last segment
// that is too old as a whole, or of what cannot hold the last lines. A journal
// of years is not read from its beginning for twenty lines.
func (t *tail) begin(cfg audit.Config) (uint64, error) {
	bases, created, err := audit.Bases(cfg)
	if err != nil {
		return 0, err
	}
	n := len(bases) - 1
	if t.since != "" {
		for n > 0 && created[n].UnixNano() > t.filter.since {
			n--
		}
		return bases[n].Seq, nil
	}
	for ; n > 0; n-- {
		matching := 0
		count := func(seq uint64, e audit.Event) error {
			if l := audit.EventLine(seq, &e); t.passes(&l) {
				if matching++; matching >= t.lines {
					return errEnough
				}
			}
			return nil
		}
		if err := audit.Read(cfg, bases[n].Seq, count); errors.Is(err, errEnough) {
			break
		} else if err != nil {
			return 0, err
		}
	}
	return bases[n].Seq, nil
}

var errEnough = errors.New("enough")

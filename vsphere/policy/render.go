package policy

import (
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// WriteTable writes a plan for people at a terminal.
func (p *Plan) WriteTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	line := func(cells ...string) { _, _ = fmt.Fprintln(t, strings.Join(clean(cells), "\t")) } // the writer keeps its error for Flush
	line("MACHINE", "WHAT", "RULE", "WHY")
	for _, a := range p.Actions {
		line(a.Path, a.what(), a.rule(), a.Why)
	}
	for _, h := range p.Held {
		for _, b := range h.Because {
			line(h.Path, h.word()+" "+string(h.Op), h.rule(), b.String())
		}
	}
	for _, a := range p.Alarms {
		line(a.Path, "alarm", "", a.Because.String())
	}
	line("")
	line(p.Summary())
	for _, why := range p.Partial {
		line("not all was seen: " + why)
	}
	return t.Flush()
}

// clean keeps what somebody named a machine from moving the cursor, or from
// looking like a column.
func clean(cells []string) []string {
	out := make([]string, len(cells))
	for i, c := range cells {
		out[i] = strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
				return '\ufffd'
			}
			return r
		}, c)
	}
	return out
}

// Summary is the plan in one line.
func (p *Plan) Summary() string {
	blocked := 0
	for _, h := range p.Held {
		if h.Blocked {
			blocked++
		}
	}
	return fmt.Sprintf("%s: %d machines, %d in sync, %d without a rule; %d to do, %d waiting, %d blocked, %d alarms",
		p.State(), p.Machines, p.InSync, p.Unruled, len(p.Actions), len(p.Held)-blocked, blocked, len(p.Alarms))
}

func (a *Action) what() string {
	text := string(a.Op)
	if a.Op == VMotionOp {
		text += " " + a.VMotion
	}
	if a.ShutDown {
		text += ", shut down for it"
	}
	return text
}

func (a *Action) rule() string {
	if a.Line == 0 {
		return a.Rule
	}
	return fmt.Sprintf("%s (line %d)", a.Rule, a.Line)
}

func (h *Held) word() string {
	if h.Blocked {
		return "blocked"
	}
	return "waiting"
}

// String is the reason, its detail, and what to do.
func (b Because) String() string {
	text := string(b.Reason)
	if b.Detail != "" {
		text += " (" + b.Detail + ")"
	}
	return text + ": " + b.Reason.Todo()
}

// WriteJSON writes a plan for programs. The same plan is the same bytes.
func (p *Plan) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(struct {
		State   State  `json:"state"`
		Summary string `json:"summary"`
		*Plan
	}{p.State(), p.Summary(), p})
}

// ReadJSON reads a plan that WriteJSON wrote.
func ReadJSON(r io.Reader) (p Plan, err error) {
	if err := json.NewDecoder(r).Decode(&p); err != nil {
		return p, fmt.Errorf("reading the plan: %w", err)
	}
	return p, nil
}

// WriteHTML writes a plan as a page that needs nothing else. Names come from
// whoever may name machines; the template escapes them.
func (p *Plan) WriteHTML(w io.Writer) error {
	return page.Execute(w, struct {
		*Plan
		Done []row
	}{p, p.rows()})
}

// A row is one line of the page.
type row struct{ Class, Path, What, Rule, Why, Todo string }

func (p *Plan) rows() (list []row) {
	for _, a := range p.Actions {
		list = append(list, row{"todo", a.Path, a.what(), a.rule(), a.Why, ""})
	}
	for _, h := range p.Held {
		for _, b := range h.Because {
			list = append(list, row{h.word(), h.Path, h.word() + " " + string(h.Op), h.rule(), b.name(), b.Reason.Todo()})
		}
	}
	for _, a := range p.Alarms {
		list = append(list, row{"alarm", a.Path, "alarm", "", a.name(), a.Reason.Todo()})
	}
	return list
}

func (b Because) name() string {
	if b.Detail == "" {
		return string(b.Reason)
	}
	return string(b.Reason) + ": " + b.Detail
}

var page = template.Must(template.New("plan").Funcs(template.FuncMap{"utc": func(t time.Time) string { return t.UTC().Format(time.RFC3339) }}).Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Plan of vCenter {{.VCenter}}</title>
<style>body{font:14px/1.4 sans-serif;margin:2em}table{border-collapse:collapse}td,th{padding:.2em .8em;text-align:left;border-bottom:1px solid #ccc}
.blocked td:nth-child(2),.alarm td:nth-child(2){color:#a00}.waiting td:nth-child(2){color:#850}.todo td:nth-child(2){color:#060}</style>
<h1>Plan of vCenter {{.VCenter}}</h1>
<p>{{utc .Time}}. {{.Summary}}</p>
{{range .Partial}}<p>Not all was seen: {{.}}</p>
{{end}}<table><tr><th>Machine<th>What<th>Rule<th>Why<th>What to do</tr>
{{range .Done}}<tr class="{{.Class}}"><td>{{.Path}}<td>{{.What}}<td>{{.Rule}}<td>{{.Why}}<td>{{.Todo}}</tr>
{{end}}</table></html>
`))

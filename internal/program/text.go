package program

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// Show writes value as JSON where output is json, or calls table with a writer
// that aligns columns parted by tabs.
func Show(out io.Writer, output string, value any, table func(io.Writer)) error {
	if output == "json" {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(value)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	table(w)
	return w.Flush()
}

// Env is the value of a variable among pairs as os.Environ returns them.
func Env(environ []string, name string) string {
	for _, pair := range environ {
		if value, ok := strings.CutPrefix(pair, name+"="); ok {
			return value
		}
	}
	return ""
}

// Line writes a line of a table; its columns are made Printable.
func Line(w io.Writer, columns ...string) {
	for i, c := range columns {
		columns[i] = Printable(c)
	}
	_, _ = fmt.Fprintln(w, strings.Join(columns, "\t"))
}

// Printable escapes what would move the cursor, break the table or turn the text
// around: names and attributes are what clients made them.
func Printable(s string) string {
	if strings.IndexFunc(s, unprintable) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unprintable(r) {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// Field is a line of a single record; empty values are left out.
func Field(w io.Writer, name, value string) {
	if value != "" {
		Line(w, name, value)
	}
}

// Date is a moment in UTC, to the second; nothing for the zero time.
func Date(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

// Dash stands for what is empty.
func Dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

package program

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
)

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

package forward

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/keyreeve/keyreeve/audit"
)

// sdID names our structured data. Names with @ want a private enterprise number (RFC 5424 section 7.2.2); ours is the
// one set aside for documentation (RFC 5612), since no other uses the name keyreeve with it.
const sdID = "keyreeve@32473"

// facility is "log audit".
const facility = 13

// severities of RFC 5424 section 6.2.1.
const (
	warning       = 4
	notice        = 5
	informational = 6
)

// Format is how lines become syslog messages.
type Format struct {
	Host string // HOSTNAME; empty is "-"
	App  string // APP-NAME; empty is "keyreeve"
}

// Append adds a line as one message of RFC 5424, without a frame and without a newline anywhere in it.
func (f Format) Append(b []byte, l *audit.Line) []byte {
	app := f.App
	if app == "" {
		app = "keyreeve"
	}
	b = append(b, '<')
	b = strconv.AppendInt(b, int64(facility*8+severity(l)), 10)
	b = append(b, ">1 "...)
	if l.Time == nil {
		b = append(b, '-')
	} else {
		b = l.Time.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z")
	}
	b = append(b, ' ')
	b = append(b, header(f.Host, 255)...)
	b = append(b, ' ')
	b = append(b, header(app, 48)...)
	b = append(b, " - "...)
	b = append(b, header(l.Type, 32)...)
	b = append(b, " ["+sdID...)
	for _, p := range params(l) {
		if p.value != "" {
			b = append(b, ' ')
			b = append(b, p.name...)
			b = append(b, `="`...)
			b = appendValue(b, p.value)
			b = append(b, '"')
		}
	}
	b = append(b, "] "...)
	return append(b, text(l)...)
}

func severity(l *audit.Line) int {
	switch {
	case l.Type != audit.LineEvent:
		return notice
	case l.Outcome == "denied":
		return warning
	case l.Outcome == "failure":
		return notice
	}
	return informational
}

// header is a field of the header: printable ASCII without spaces, or "-".
func header(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '_'
		}
		return r
	}, s)
	if s == "" {
		return "-"
	}
	return s[:min(len(s), most)]
}

type param struct{ name, value string }

// params lists the structured data: the names are those of the JSON lines.
func params(l *audit.Line) []param {
	all := []param{{"seq", strconv.FormatUint(l.Seq, 10)}}
	switch l.Type {
	case audit.LineJournal:
		return append(all, param{"store", l.Store}, param{"hash", l.Hash})
	case audit.LineCheckpoint:
		return append(all, param{"hash", l.Hash}, param{"text", strings.ReplaceAll(l.Text, "\n", "|")})
	}
	all = append(all, param{"class", l.Class}, param{"operation", l.Operation}, param{"outcome", l.Outcome}, param{"object", l.Object},
		param{"client", l.Client}, param{"user", l.User}, param{"group", l.Group}, param{"remote", l.Remote}, param{"reason", l.Reason})
	if l.Message != 0 {
		all = append(all, param{"message", strconv.FormatUint(l.Message, 10)}, param{"item", strconv.FormatUint(uint64(l.Item), 10)})
	}
	if l.Chain != nil {
		all = append(all, param{"hash", l.Chain.Hash})
	}
	return all
}

// appendValue escapes what RFC 5424 section 6.3.3 says, and what would break a line or turn text around: names are what
// clients made them, and not every server that stores lines escapes.
func appendValue(b []byte, s string) []byte {
	for _, r := range s {
		switch {
		case r == '"' || r == '\\' || r == ']':
			b = append(b, '\\', byte(r))
		case unicode.IsPrint(r):
			b = utf8.AppendRune(b, r)
		default:
			b = append(b, strings.Trim(strconv.QuoteRune(r), "'")...)
			// A single backslash before another character stands for itself (section 6.3.3).
		}
	}
	return b
}

// text is the message for people.
func text(l *audit.Line) string {
	switch l.Type {
	case audit.LineJournal:
		return "the audit journal goes on after sequence " + strconv.FormatUint(l.Seq, 10)
	case audit.LineCheckpoint:
		return "signed checkpoint of the audit journal at sequence " + strconv.FormatUint(l.Seq, 10)
	}
	s := l.Operation
	if l.Object != "" {
		s += " of " + l.Object
	}
	if l.Client != "" {
		s += " by " + l.Client
	}
	s += ": " + l.Outcome
	if l.Reason != "" {
		s += ", " + l.Reason
	}
	return string(appendText(nil, s))
}

func appendText(b []byte, s string) []byte {
	for _, r := range s {
		if unicode.IsPrint(r) {
			b = utf8.AppendRune(b, r)
			continue
		}
		b = append(b, strings.Trim(strconv.QuoteRune(r), "'")...)
	}
	return b
}

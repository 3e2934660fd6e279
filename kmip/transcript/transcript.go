package transcript

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Transcript is a conversation with a server: connections, requests and the
// answers that they must get. Its file has the txtar form: a comment that says
// where the conversation is known from, then sections, each a step, in their
// order.
//
//	-- connect A --        opens a TLS connection called A; several names open
//	                       at once. Options: as=NAME the client to be (vcenter
//	                       unless told), as=none without certificate; tls=1.3
//	                       (1.2 unless told); within=2s all of them must be
//	                       open by then; refused: the handshake must fail
//	-- A send --           sends the section's message
//	-- A receive --        the next answer must be the section's message
//	-- A close --          closes from our side
//	-- A closed --         the server must close, without another byte
//	-- log --              when all is over, the server's log has exactly these
//	                       warnings and errors: one line each that has the text.
//	                       Without this section there must be none
type Transcript struct {
	Comment string
	Steps   []Step
	Log     []string
}

// A Step is one section.
type Step struct {
	Line  int
	Verb  Verb
	Names []string // of connections; one, save for Connect

	Client  string        // Connect: "none" for no certificate
	TLS     string        // Connect: "1.2" or "1.3"
	Within  time.Duration // Connect; 0: no bound
	Refused bool          // Connect

	Message *Message // Send, Receive
}

// A Verb is what a step does.
type Verb string

// The verbs.
const (
	Connect Verb = "connect"
	Send    Verb = "send"
	Receive Verb = "receive"
	Close   Verb = "close"
	Closed  Verb = "closed"
)

// ParseTranscript reads a transcript's file.
func ParseTranscript(data []byte) (*Transcript, error) {
	t := &Transcript{}
	for i, s := range sections(string(data)) {
		if i == 0 {
			t.Comment = s.body
			continue
		}
		if s.title == "log" {
			t.Log = nonEmptyLines(s.body)
			continue
		}
		step, err := parseStep(s)
		if err != nil {
			return nil, fmt.Errorf("line %d: -- %s --: %w", s.line, s.title, err)
		}
		t.Steps = append(t.Steps, step)
	}
	if len(t.Steps) == 0 {
		return nil, errors.New("a transcript without steps tests nothing")
	}
	return t, nil
}

type section struct {
	title string
	line  int // of the title
	body  string
}

// sections cuts a file in txtar form; the first has no title.
func sections(text string) []section {
	found := []section{{}}
	for i, l := range strings.SplitAfter(text, "\n") {
		trimmed := strings.TrimSpace(l)
		title, isTitle := strings.CutPrefix(trimmed, "-- ")
		if isTitle {
			title, isTitle = strings.CutSuffix(title, " --")
		}
		if isTitle {
			found = append(found, section{title: strings.TrimSpace(title), line: i + 1})
			continue
		}
		found[len(found)-1].body += l
	}
	return found
}

func nonEmptyLines(s string) []string {
	var lines []string
	for l := range strings.Lines(s) {
		if l = strings.TrimSpace(l); l != "" && !strings.HasPrefix(l, "#") {
			lines = append(lines, l)
		}
	}
	return lines
}

func parseStep(s section) (Step, error) {
	words := strings.Fields(s.title)
	if len(words) > 0 && words[0] == string(Connect) {
		return parseConnect(s, words[1:])
	}
	if len(words) != 2 {
		return Step{}, errors.New("expected a connection's name and a verb")
	}
	step := Step{Line: s.line, Verb: Verb(words[1]), Names: words[:1]}
	if !slices.Contains([]Verb{Send, Receive, Close, Closed}, step.Verb) {
		return Step{}, fmt.Errorf("%q is no verb", words[1])
	}
	if step.Verb == Send || step.Verb == Receive {
		var err error
		step.Message, err = ParseMessage(s.body, s.line+1)
		return step, err
	}
	if len(nonEmptyLines(s.body)) > 0 {
		return Step{}, errors.New("this step has no body")
	}
	return step, nil
}

func parseConnect(s section, words []string) (Step, error) {
	step := Step{Line: s.line, Verb: Connect, Client: DefaultClient, TLS: "1.2"}
	for _, w := range words {
		key, value, isOption := strings.Cut(w, "=")
		var err error
		switch {
		case w == "refused":
			step.Refused = true
		case !isOption:
			step.Names = append(step.Names, w)
		case key == "as":
			step.Client = value
		case key == "tls" && (value == "1.2" || value == "1.3"):
			step.TLS = value
		case key == "within":
			step.Within, err = time.ParseDuration(value)
		default:
			err = fmt.Errorf("%q is no option", w)
		}
		if err != nil {
			return Step{}, err
		}
	}
	if len(step.Names) == 0 {
		return Step{}, errors.New("a connection needs a name")
	}
	if len(nonEmptyLines(s.body)) > 0 {
		return Step{}, errors.New("this step has no body")
	}
	return step, nil
}

// Unset returns, by the line, the placeholders that a request uses before any
// answer has given them a value: the transcript cannot be played alone, because
// it begins in the middle of a conversation.
func (t *Transcript) Unset() []string {
	known, unset := map[string]bool{}, []string{}
	for _, s := range t.Steps {
		if s.Message == nil {
			continue
		}
		s.Message.root.placeholders(func(n *node, p placeholder) {
			switch {
			case s.Verb == Receive:
				known[p.name] = true
			case !known[p.name]:
				known[p.name] = true // told once
				unset = append(unset, fmt.Sprintf("line %d: $%s stands for what no answer before it gave", n.line, p.name))
			}
		})
	}
	return unset
}

package ovhcloud

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode"

	"github.com/ovh/go-ovh/ovh"
)

var (
	// ErrUnknownOutcome is wrapped when a call that changes something got no
	// answer: it may have been carried out. Observe tells.
	ErrUnknownOutcome = errors.New("it is not known whether OVHcloud has carried it out")
	// ErrNoEncryptionRight is wrapped when the vCenter user may not manage encryption.
	ErrNoEncryptionRight = errors.New("the right to manage encryption is missing")
	// ErrRightUnknown is wrapped when it cannot be told whether the user may.
	ErrRightUnknown = errors.New("it is not known whether the user may manage encryption")
	// ErrNotPossible is wrapped by refusals of what OVHcloud cannot take.
	ErrNotPossible = errors.New("OVHcloud cannot take this")
	// ErrBlocked is wrapped when a person has to do something first.
	ErrBlocked = errors.New("blocked")
)

// An Error is what OVHcloud answered to a call that did not succeed.
type Error struct {
	Do      string   // what was tried
	Status  int      // of HTTP
	Class   string   // OVHcloud's, such as Client::Forbidden; may be empty
	Message string   // OVHcloud's, fit to print
	QueryID string   // for OVHcloud's support; may be empty
	Missing []string // IAM actions that are missing
	Hint    string   // what to do; may be empty
}

// Error returns one line with OVHcloud's query id in it.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: OVHcloud answered %d", e.Do, e.Status)
	if e.Class != "" {
		fmt.Fprintf(&b, " %s", e.Class)
	}
	fmt.Fprintf(&b, ": %s", e.Message)
	if len(e.Missing) > 0 {
		fmt.Fprintf(&b, " (missing IAM actions: %s)", strings.Join(e.Missing, ", "))
	}
	if e.QueryID != "" {
		fmt.Fprintf(&b, " (query %s)", e.QueryID)
	}
	return b.String()
}

// A TaskError is a task that ended, and not well.
type TaskError struct {
	Task Task
	Do   string
}

// Error names the task, for OVHcloud's support.
func (e *TaskError) Error() string {
	text := fmt.Sprintf("%s: OVHcloud's task %d (%s) ended as %s", e.Do, e.Task.ID, e.Task.Name, e.Task.State)
	if e.Task.Description != "" {
		text += ": " + e.Task.Description
	}
	return text
}

// Hint says what to do about it.
func (e *TaskError) Hint() string {
	return "see that the server answers on port 5696 of that address from outside and that the thumbprint is that of its certificate, and run this again; if it stays so, give OVHcloud's support the task's number"
}

// explain turns what go-ovh returned into an error that says what was tried.
func explain(do string, err error) error {
	api, ok := errors.AsType[*ovh.APIError](err)
	if !ok {
		return fmt.Errorf("%s: %w", do, err)
	}
	e := &Error{Do: do, Status: api.Code, Class: clean(api.Class), Message: clean(api.Message), QueryID: clean(api.QueryID)}
	if e.Message == "" {
		e.Message = http.StatusText(api.Code)
	}
	for _, detail := range []string{"unauthorizedActionsByAuthentication", "unauthorizedActionsByIAM"} {
		for action := range strings.SplitSeq(api.Details[detail], ",") {
			if action = clean(strings.TrimSpace(action)); action != "" {
				e.Missing = append(e.Missing, action)
			}
		}
	}
	e.Hint = hint(e)
	return e
}

// hint is what to do, by what OVHcloud said.
func hint(e *Error) string {
	message := strings.ToLower(e.Message)
	switch {
	case len(e.Missing) > 0:
		return "allow these actions in the IAM policy of the service account, or in the rights of the application key"
	case e.Status == http.StatusUnauthorized, strings.Contains(message, "token is invalid"):
		return "the access token has expired or was revoked: get a new one"
	case strings.Contains(message, "timestamp"):
		return "this machine's clock is wrong: set it (NTP)"
	case strings.Contains(message, "signature"), strings.Contains(message, "application key"), strings.Contains(message, "credential"):
		return "application key, application secret and consumer key do not belong together, or the consumer key was not validated: make new ones for this endpoint"
	case e.Status == http.StatusForbidden:
		return "the credentials need GET /dedicatedCloud, GET /dedicatedCloud/*/task*, GET /dedicatedCloud/*/user* and GET, POST and DELETE /dedicatedCloud/*/vmEncryption*"
	case e.Status == http.StatusNotFound:
		return "see that the service's name (pcc-…) is right and belongs to these credentials' account and region"
	case e.Status == http.StatusConflict:
		return "somebody else changes the same thing: run this again in a minute"
	case e.Status == http.StatusTooManyRequests:
		return "OVHcloud wants fewer calls: run this again in a few minutes"
	case e.Status >= http.StatusInternalServerError:
		return "OVHcloud's API has a problem of its own: run this again later, and give its support the query id if it stays"
	}
	return ""
}

// longest is how much of a text of OVHcloud's is printed.
const longest = 300

// clean makes a text from outside fit to print: no control characters that
// would write to a terminal or forge lines of a log, and not too long.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	if s = strings.TrimSpace(s); len(s) > longest {
		s = strings.ToValidUTF8(s[:longest], "") + "…"
	}
	return s
}

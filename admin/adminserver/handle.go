package adminserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/users"
)

// handle answers one row of the table. Here, and nowhere else, is looked at
// who may: a handler is never called for a role that its row does not name.
func (s *Server) handle(r route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		c, err := s.identify(req)
		if err == nil && !r.may.allows(c.role) {
			err = s.deny(c, r)
		}
		if err == nil {
			req.Body = http.MaxBytesReader(w, req.Body, maxRequest)
			err = r.serve(s, w, c)
		}
		if err != nil {
			s.problem(w, req, err)
		}
	})
}

// deny writes down that a role was not enough, as the door does for a key.
func (s *Server) deny(c *call, r route) error {
	op := &keystore.Op{Name: r.method + " " + r.path, Class: keystore.OpObserve}
	why := fmt.Sprintf("the role %s is not enough for %.200s", c.role, c.http.URL.Path)
	err := do(c.context(), s.cfg.Store, c.by, op, func(tx *keystore.Tx) error { return tx.Refuse(why) })
	if !errors.Is(err, keystore.ErrPermission) {
		return err
	}
	return &admin.Error{Code: admin.CodeForbidden, Message: fmt.Sprintf("the role %s may not: %s", c.role, r.summary),
		Hint: "it takes the role " + strings.Join(rolesOf(r.may), " or ") + "; the owner is whoever uses the server's socket"}
}

// writeTimeout is how long a peer may take to read an answer, or a line of one.
const writeTimeout = time.Minute

func write(w http.ResponseWriter, status int, answer any) {
	hurry(w)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // the peer has gone: nobody to tell
}

// hurry gives the peer a time to read what comes: one that does not read must
// not hold a connection for ever.
func hurry(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout)) // a test's recorder has none
}

// bodyOf decodes a request's body. A field that is unknown is an error: an older
// server must not take half of what a newer command asks.
func bodyOf[T any](r *http.Request) (v T, err error) {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	err = dec.Decode(&v)
	if _, nothing := any(v).(none); nothing && errors.Is(err, io.EOF) {
		return v, nil
	}
	if err != nil {
		return v, badRequest("reading the request: %v", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return v, badRequest("reading the request: more than one value")
	}
	return v, nil
}

// A lineWriter sends an answer of many lines.
type lineWriter struct {
	w     http.ResponseWriter
	begun bool
}

func (l *lineWriter) line(v any) error {
	if !l.begun {
		l.w.Header().Set("Content-Type", "application/jsonl")
		l.begun = true
	}
	hurry(l.w)
	if err := json.NewEncoder(l.w).Encode(v); err != nil {
		return err
	}
	return http.NewResponseController(l.w).Flush()
}

// end closes the answer. Before the first line an error is answered as any
// other; after it, it is the last line, which tells it from a cut connection.
func (l *lineWriter) end(err error) error {
	switch {
	case err == nil && !l.begun:
		l.w.Header().Set("Content-Type", "application/jsonl")
		l.w.WriteHeader(http.StatusOK)
		return nil
	case err == nil || !l.begun:
		return err
	}
	e := explain(err)
	if e == nil {
		e = &admin.Error{Code: admin.CodeFailed, Message: "the server could not go on", Hint: "its log may have the reason"}
	}
	_ = l.line(admin.Failed{Error: e}) // the peer has gone: nobody to tell
	return nil
}

func badRequest(format string, args ...any) error {
	return &admin.Error{Code: admin.CodeBadRequest, Message: fmt.Sprintf(format, args...)}
}

var statusOf = map[admin.Code]int{
	admin.CodeBadRequest: http.StatusBadRequest,
	admin.CodeNotFound:   http.StatusNotFound,
	admin.CodeForbidden:  http.StatusForbidden,
	admin.CodeExists:     http.StatusConflict,
	admin.CodeRefused:    http.StatusUnprocessableEntity,
	admin.CodeDiskFull:   http.StatusInsufficientStorage,
	admin.CodeDamaged:    http.StatusInternalServerError,
	admin.CodeFailed:     http.StatusServiceUnavailable,
}

func (s *Server) problem(w http.ResponseWriter, r *http.Request, err error) {
	e := explain(err)
	if e == nil {
		s.cfg.Logger.Error("admin request failed", "method", r.Method, "path", r.URL.Path, "err", err)
		e = &admin.Error{Code: admin.CodeFailed, Message: "the server failed", Hint: "its log has the reason"}
	}
	write(w, statusOf[e.Code], e)
}

// mistakes are the errors of an admin's input. Their texts are for the admin.
var mistakes = []error{
	certs.ErrBadName, certs.ErrBadClient, certs.ErrBadDN, certs.ErrBadHost, certs.ErrWeakKey, certs.ErrOutsideDates,
	certs.ErrConflict, certs.ErrCAExpired, users.ErrBadUser, users.ErrConflict, users.ErrPassword,
}

// explain turns an error into what the peer is told; nil for one that it should
// not be told.
func explain(err error) *admin.Error {
	var e *admin.Error
	if errors.As(err, &e) {
		return e
	}
	for _, m := range mistakes {
		if errors.Is(err, m) {
			return &admin.Error{Code: admin.CodeRefused, Message: err.Error()}
		}
	}
	switch {
	case errors.Is(err, keystore.ErrInUse):
		return &admin.Error{Code: admin.CodeRefused, Message: err.Error(), Hint: "it was not destroyed; keyreeve key show says by whom it is used"}
	case errors.Is(err, keystore.ErrReport):
		return &admin.Error{Code: admin.CodeRefused, Message: err.Error()}
	case errors.Is(err, keystore.ErrDiskFull), errors.Is(err, audit.ErrDiskFull):
		return &admin.Error{Code: admin.CodeDiskFull, Message: err.Error(), Hint: "free space on the disk of the data folder; nothing was changed"}
	case errors.Is(err, keystore.ErrCorrupt), errors.Is(err, audit.ErrCorrupt):
		return &admin.Error{Code: admin.CodeDamaged, Message: err.Error(), Hint: "stop the server, run keyreeve verify, and restore a backup"}
	case errors.Is(err, keystore.ErrCommitUnknown), errors.Is(err, keystore.ErrFailed), errors.Is(err, audit.ErrFailed):
		return &admin.Error{Code: admin.CodeFailed, Message: err.Error(), Hint: "look at the disk, restart the server, run keyreeve verify"}
	}
	return nil
}

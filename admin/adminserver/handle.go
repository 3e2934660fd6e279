package adminserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/keystore"
)

// A handler returns what is encoded as the answer, or an error that problem
// turns into one.
type handler func(*http.Request, *keystore.Principal) (any, error)

func (s *Server) handle(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, ok := r.Context().Value(peerKey{}).(*keystore.Principal)
		if !ok {
			http.Error(w, "unknown peer", http.StatusForbidden)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
		answer, err := h(r, p)
		if err != nil {
			s.problem(w, r, err)
			return
		}
		write(w, http.StatusOK, answer)
	})
}

func write(w http.ResponseWriter, status int, answer any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // the peer has gone: nobody to tell
}

// body decodes a request's body. A field that is unknown is an error: an older
// server must not take half of what a newer command asks.
func body[T any](r *http.Request) (v T, err error) {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&v); err != nil {
		return v, badRequest("reading the request: %v", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return v, badRequest("reading the request: more than one value")
	}
	return v, nil
}

func badRequest(format string, args ...any) error {
	return &admin.Error{Code: admin.CodeBadRequest, Message: fmt.Sprintf(format, args...)}
}

var statusOf = map[admin.Code]int{
	admin.CodeBadRequest: http.StatusBadRequest,
	admin.CodeNotFound:   http.StatusNotFound,
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
	certs.ErrConflict, certs.ErrCAExpired,
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
	case errors.Is(err, keystore.ErrDiskFull), errors.Is(err, audit.ErrDiskFull):
		return &admin.Error{Code: admin.CodeDiskFull, Message: err.Error(), Hint: "free space on the disk of the data folder; nothing was changed"}
	case errors.Is(err, keystore.ErrCorrupt), errors.Is(err, audit.ErrCorrupt):
		return &admin.Error{Code: admin.CodeDamaged, Message: err.Error(), Hint: "stop the server, run keyreeve verify, and restore a backup"}
	case errors.Is(err, keystore.ErrCommitUnknown), errors.Is(err, keystore.ErrFailed), errors.Is(err, audit.ErrFailed):
		return &admin.Error{Code: admin.CodeFailed, Message: err.Error(), Hint: "look at the disk, restart the server, run keyreeve verify"}
	}
	return nil
}

package ovhcloud

import (
	"errors"
	"net/http"
	"time"

	"github.com/ovh/go-ovh/ovh"
)

const (
	firstWait = time.Second
	mostWait  = 30 * time.Second
	// mostAsked bounds what OVHcloud's Retry-After can make us wait.
	mostAsked = 2 * time.Minute
)

// backoff is the wait after so many attempts: doubled each time, and spread by
// jitter so that agents that failed together do not come back together.
func backoff(attempt int, jitter float64) time.Duration {
	d := min(mostWait, firstWait<<min(attempt-1, 10))
	return d/2 + time.Duration(jitter*float64(d)/2)
}

// statusOf is the HTTP status that the error came with.
func statusOf(err error) (status int, answered bool) {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Status, true
	}
	if e, ok := errors.AsType[*ovh.APIError](err); ok {
		return e.Code, true
	}
	return 0, false
}

func isServerFault(err error) bool {
	status, _ := statusOf(err)
	return status >= http.StatusInternalServerError
}

// mayRetry tells whether the same call may be made again. One that changes
// something may have been carried out although the answer says otherwise or
// did not come: doing it twice could make two entries.
func mayRetry(method string, err error) bool {
	status, answered := statusOf(err)
	switch {
	case status == http.StatusTooManyRequests:
		return true
	case answered && !isServerFault(err):
		return false
	case method == http.MethodGet:
		return true
	}
	return neverBegan(err)
}

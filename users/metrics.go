package users

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// counters count requests of clients that have users. Label values come from
// the table below, never from a request.
type counters struct {
	requests [presentations]prometheus.Counter
	hashes   prometheus.Counter
}

var outcomeNames = [presentations]string{
	nothing:     "none",
	right:       "right",
	wrong:       "wrong",
	unsupported: "unsupported",
	ambiguous:   "ambiguous",
}

func newCounters(reg prometheus.Registerer) *counters {
	f := promauto.With(reg)
	requests := f.NewCounterVec(prometheus.CounterOpts{
		Namespace: "keyreeve", Subsystem: "users", Name: "requests_total",
		Help: "Requests of clients that have users, by what their credentials amount to.",
	}, []string{"credentials"})
	c := &counters{hashes: f.NewCounter(prometheus.CounterOpts{
		Namespace: "keyreeve", Subsystem: "users", Name: "hashes_total",
		Help: "Passwords that were hashed to check them; those of credentials that were right lately are not.",
	})}
	for what, name := range outcomeNames {
		c.requests[what] = requests.WithLabelValues(name)
	}
	return c
}

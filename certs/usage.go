package certs

import (
	"sync/atomic"
	"time"
)

// Usage is when a certificate last let somebody in, or carried a request. It is safe for concurrent use.
type Usage struct{ seconds atomic.Int64 }

// Mark notes a use. It is meant for every request: most of them only read.
func (u *Usage) Mark(now time.Time) {
	if s := now.Unix(); u.seconds.Load() < s {
		u.seconds.Store(s)
	}
}

// Usage returns the note of a certificate, made when it is first asked for. Notes live in memory: they begin anew with
// the process.
func (r *Registry) Usage(sha256 string) *Usage {
	if u, ok := r.usage.Load(sha256); ok {
		return u.(*Usage)
	}
	u, _ := r.usage.LoadOrStore(sha256, &Usage{})
	return u.(*Usage)
}

// LastUsed returns when the certificate was last used since the process began; zero: not.
func (r *Registry) LastUsed(sha256 string) time.Time {
	u, ok := r.usage.Load(sha256)
	if !ok || u.(*Usage).seconds.Load() == 0 {
		return time.Time{}
	}
	return time.Unix(u.(*Usage).seconds.Load(), 0).UTC()
}

// EndUnused returns the record with the certificates ended at now that a renewal left behind and that nobody needs any
// more: the newest one has been used, and they were not, for as long as quiet. started is when notes of use began. It
// reports whether anything changed. The newest certificate never ends so.
func (c Client) EndUnused(lastUsed func(sha256 string) time.Time, started, now time.Time, quiet time.Duration) (Client, bool) {
	if len(c.Certificates) < 2 || c.Revoked != nil {
		return c, false
	}
	c = c.clone()
	newest := c.Certificates[len(c.Certificates)-1]
	if lastUsed(newest.SHA256).IsZero() {
		return c, false
	}
	changed := false
	for i := range c.Certificates[:len(c.Certificates)-1] {
		a := &c.Certificates[i]
		since := later(later(started, newest.Since), lastUsed(a.SHA256))
		if now.Before(a.end()) && now.Sub(since) >= quiet {
			a.Ends, changed = now, true
		}
	}
	return c, changed
}

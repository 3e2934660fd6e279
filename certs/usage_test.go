package certs_test

import (
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/certs"
)

// What a renewal left behind ends only when the new certificate is in use, and
// the old one has been watched, unused, for long enough.
func TestEndUnused(t *testing.T) {
	const quiet = 7 * 24 * time.Hour
	day := func(n int) time.Time { return start.Add(time.Duration(n) * 24 * time.Hour) }
	for name, tc := range map[string]struct {
		renewed, started int // days
		oldUsed, newUsed int // 0: never
		revoked          bool
		now              int
		ends             bool
	}{
		"a week unused":                   {1, 0, 2, 5, false, 9, true},
		"never used since the renewal":    {1, 0, 0, 5, false, 8, true},
		"used six days ago":               {1, 0, 3, 5, false, 9, false},
		"the new one was never used":      {1, 0, 2, 0, false, 60, false},
		"renewed six days ago":            {3, 0, 0, 5, false, 9, false},
		"the server runs for six days":    {1, 3, 0, 5, false, 9, false},
		"the client is revoked":           {1, 0, 2, 5, true, 60, false},
		"the new one used, the old today": {1, 0, 9, 5, false, 9, false},
	} {
		r := newRig(t, certs.P256)
		old := must(r.ca.IssueClient(request))
		r.put(t, old.Client)
		r.clock.advance(day(tc.renewed).Sub(start))
		next := must(r.ca.IssueClient(request))
		c := must(old.Client.WithCertificate(next.Certificate, r.clock.now(), old.Certificate.NotAfter))
		r.put(t, c)
		for print, used := range map[string]int{certs.SHA256(old.Certificate): tc.oldUsed, certs.SHA256(next.Certificate): tc.newUsed} {
			if used > 0 {
				r.registry.Usage(print).Mark(day(used))
				r.registry.Usage(print).Mark(day(used - 1)) // a late note takes nothing back
			}
		}
		if tc.revoked {
			c = c.Revoke(r.clock.now(), "")
		}
		after, changed := c.EndUnused(r.registry.LastUsed, day(tc.started), day(tc.now), quiet)
		if changed != tc.ends || after.Certificates[0].Ends.Equal(day(tc.now)) != tc.ends || !after.Certificates[1].Ends.IsZero() {
			t.Errorf("%s: changed %v, %+v", name, changed, after.Certificates)
		}
		if changed && c.Certificates[0].Ends.Equal(day(tc.now)) {
			t.Errorf("%s: the record that was asked was changed", name)
		}
		if changed {
			r.clock.advance(day(tc.now).Sub(r.clock.now()))
			r.put(t, after)
			_, oldErr := r.registry.Identify(issuedPair(old).certs())
			_, newErr := r.registry.Identify(issuedPair(next).certs())
			if oldErr == nil || newErr != nil {
				t.Errorf("%s: old %v, new %v", name, oldErr, newErr)
			}
		}
	}
}

package main

import (
	"crypto/x509"
	"slices"
	"strings"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/keystore"
)

func (s *service) journalStatus(info keystore.Info) admin.JournalStatus {
	signed := s.vault.journal.Signed()
	st := admin.JournalStatus{Sequence: info.Position.Seq, Signed: signed.Seq, SignedAt: signed.Time}
	for _, f := range s.journal.forwarders {
		name, entries, since := f.Lag()
		st.Exports = append(st.Exports, admin.Export{To: name, Behind: entries, CaughtUp: since.UTC()})
	}
	if err := s.vault.journal.Err(); err != nil {
		st.Problem = err.Error()
	}
	return st
}

func (s *service) diskStatus() admin.Disk {
	st := admin.Disk{Held: s.config.MinFree}
	free, err := freeSpace(s.config.Data)
	if err != nil {
		st.Problem = err.Error()
	}
	st.Free = free
	return st
}

// maxEnds bounds the ends that a status lists: the next ones count, and a
// thousand clients do not.
const maxEnds = 20

// certificateEnds lists what ends next. A client or administrator counts with
// the last certificate it can still show.
func (s *service) certificateEnds(leaf *x509.Certificate) []admin.CertificateEnds {
	list := []admin.CertificateEnds{{What: "server", Ends: leaf.NotAfter}, {What: "ca", Ends: s.ca.Certificate().NotAfter}}
	for what, registry := range map[string]*certs.Registry{"client": s.registry, "admin": s.admins} {
		for _, c := range registry.List() {
			if end := c.Expires(); c.Revoked == nil && !c.IgnoreDates && !end.IsZero() {
				list = append(list, admin.CertificateEnds{What: what, Name: c.Name, Ends: end})
			}
		}
	}
	slices.SortFunc(list, func(a, b admin.CertificateEnds) int {
		if order := a.Ends.Compare(b.Ends); order != 0 {
			return order
		}
		return strings.Compare(a.What+" "+a.Name, b.What+" "+b.Name)
	})
	return list[:min(len(list), maxEnds)]
}

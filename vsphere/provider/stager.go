package provider

import (
	"context"
	"fmt"
	"time"

	"github.com/keyreeve/keyreeve/admin"
)

// A CertificateAPI is what a key server's admin API offers for its own
// certificate. *admin.Client is one.
type CertificateAPI interface {
	ServerCertificates(ctx context.Context) (admin.ServerCertificates, error)
	StageCertificate(ctx context.Context, req admin.StageRequest) (admin.ServerCertificates, error)
	UseCertificate(ctx context.Context, sha256 string) (admin.ServerCertificates, error)
}

// An AdminStager is the Stager of a keyreeve server, over its admin API. It is
// for one Rotation. Nothing is kept here that a kill could lose: which
// certificate is staged and which is in use, the server knows.
type AdminStager struct {
	API CertificateAPI
	// Outlives is the moment that the next certificate has to be valid beyond:
	// one that would be due at once would be changed again and again.
	Outlives time.Time

	before, next string // SHA-256 of both
}

// Stage takes the certificate that is staged already, by a run that was killed
// or by a person; making another one would throw away what OVHcloud and vCenter
// may have been told.
func (s *AdminStager) Stage(ctx context.Context) ([]byte, error) {
	all, err := s.API.ServerCertificates(ctx)
	if err == nil && !s.lasts(all) {
		all, err = s.API.StageCertificate(ctx, admin.StageRequest{})
	}
	if err != nil {
		return nil, err
	}
	if !s.lasts(all) {
		return nil, fmt.Errorf("the key server made none that lasts beyond %s, when it would have to be changed again", date(s.Outlives))
	}
	s.before, s.next = all.Current.SHA256, all.Other.SHA256
	return all.Other.PEM, nil
}

// lasts tells that a certificate is staged that is worth the change.
func (s *AdminStager) lasts(all admin.ServerCertificates) bool {
	o := all.Other
	return o != nil && o.Staged && o.NotAfter.After(s.Outlives) && !o.NotAfter.Before(all.Current.NotAfter)
}

// Switch puts the staged certificate to use.
func (s *AdminStager) Switch(ctx context.Context) error {
	_, err := s.API.UseCertificate(ctx, s.next)
	return err
}

// Rollback looks first: the answer to Switch may have been lost. The certificate
// that was given up stays staged, until another one is.
func (s *AdminStager) Rollback(ctx context.Context) error {
	if s.before == "" {
		return nil
	}
	all, err := s.API.ServerCertificates(ctx)
	if err != nil || all.Current.SHA256 == s.before {
		return err
	}
	_, err = s.API.UseCertificate(ctx, s.before)
	return err
}

// Finish does nothing: the server keeps the certificate from before, for a way
// back by hand, until the next one is staged.
func (s *AdminStager) Finish(context.Context) error { return nil }

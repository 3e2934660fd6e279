package provider_test

import (
	"context"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/vsphere/provider"
	"github.com/keyreeve/keyreeve/vsphere/vspheretest"
)

// A twoFolders keeps certificates as the server does: one in use and another,
// which change places.
type twoFolders struct {
	*testing.T
	all    admin.ServerCertificates
	made   int
	refuse error // of use, once it has been done: its answer is lost
}

func (f *twoFolders) ServerCertificates(context.Context) (admin.ServerCertificates, error) {
	return f.all, nil
}

func (f *twoFolders) StageCertificate(context.Context, admin.StageRequest) (admin.ServerCertificates, error) {
	f.made++
	f.all.Other = f.certificate(825 * 24 * time.Hour)
	return f.all, nil
}

func (f *twoFolders) certificate(validity time.Duration) *admin.ServerCertificate {
	f.Helper()
	k := newKeyServer(f.T)
	s, err := k.ca.IssueServer(certs.ServerRequest{Hosts: []string{"kms"}, KeyType: certs.P256, Validity: validity})
	if err != nil {
		f.Fatal(err)
	}
	return &admin.ServerCertificate{Thumbprints: admin.Thumbprints{SHA256: certs.SHA256(s.Certificate)}, NotAfter: s.Certificate.NotAfter,
		PEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate.Raw}), Staged: true}
}

func (f *twoFolders) UseCertificate(_ context.Context, sha256 string) (admin.ServerCertificates, error) {
	switch {
	case sha256 == f.all.Current.SHA256:
	case f.all.Other == nil || sha256 != f.all.Other.SHA256:
		return f.all, &admin.Error{Code: admin.CodeNotFound, Message: "there is none"}
	default:
		f.all.Current, *f.all.Other = *f.all.Other, f.all.Current
	}
	return f.all, f.refuse
}

func newTwoFolders(t *testing.T) *twoFolders {
	t.Helper()
	f := &twoFolders{T: t}
	f.all.Current = *f.certificate(20 * 24 * time.Hour)
	f.all.Current.Staged = false
	return f
}

func (f *twoFolders) stage(s *provider.AdminStager) string {
	f.Helper()
	text, err := s.Stage(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	leaf, err := certs.ParseCertificate(text)
	if err != nil {
		f.Fatal(err)
	}
	return certs.SHA256(leaf)
}

// A run that was killed after it has staged a certificate goes on with that one:
// vCenter and OVHcloud may have it already.
func TestAdminStagerGoesOn(t *testing.T) {
	f := newTwoFolders(t)
	old := f.all.Current.SHA256
	next := f.stage(&provider.AdminStager{API: f})
	second := &provider.AdminStager{API: f}
	if got := f.stage(second); got != next || f.made != 1 {
		t.Errorf("the second run stages %s, the first one %s; made: %d", got, next, f.made)
	}
	if err := second.Switch(t.Context()); err != nil || f.all.Current.SHA256 != next {
		t.Errorf("in use: %s, %v", f.all.Current.SHA256, err)
	}
	if err := second.Rollback(t.Context()); err != nil || f.all.Current.SHA256 != old {
		t.Errorf("after going back: %s, %v", f.all.Current.SHA256, err)
	}
}

// The one from before lies where a staged one would: it is not the next one.
func TestAdminStagerTakesNoOldOne(t *testing.T) {
	f := newTwoFolders(t)
	first := &provider.AdminStager{API: f}
	next := f.stage(first)
	if err := errors.Join(first.Switch(t.Context()), first.Finish(t.Context())); err != nil {
		t.Fatal(err)
	}
	f.all.Other.Staged = false // as its mark moved along with the other folder
	if got := f.stage(&provider.AdminStager{API: f}); got == next || f.made != 2 {
		t.Errorf("%s, made: %d", got, f.made)
	}
	f.all.Other = f.certificate(10 * 24 * time.Hour) // a person's, long ago
	if f.stage(&provider.AdminStager{API: f}); f.made != 3 {
		t.Error("one that ends before the one in use was taken")
	}
}

// One that would be due at once is not put to use, or it would be changed in
// each pass.
func TestAdminStagerRefusesWhatDoesNotLast(t *testing.T) {
	f := newTwoFolders(t)
	s := &provider.AdminStager{API: f, Outlives: time.Now().Add(900 * 24 * time.Hour)}
	if _, err := s.Stage(t.Context()); err == nil || !strings.Contains(err.Error(), "lasts beyond") {
		t.Error(err)
	}
	if err := s.Rollback(t.Context()); err != nil {
		t.Error(err)
	}
}

// The answer to the switch is lost: the way back looks what is in use.
func TestAdminStagerAnswerLost(t *testing.T) {
	f := newTwoFolders(t)
	old := f.all.Current.SHA256
	s := &provider.AdminStager{API: f}
	f.stage(s)
	f.refuse = errors.New("connection lost")
	if err := s.Switch(t.Context()); err == nil {
		t.Fatal("no error")
	}
	f.refuse = nil
	if err := s.Rollback(t.Context()); err != nil || f.all.Current.SHA256 != old {
		t.Errorf("in use: %s, %v", f.all.Current.SHA256, err)
	}
}

// Somebody stands between vCenter and the key server: nothing is changed, since
// vCenter would not see the change.
func TestRotateSeesSomebodyBetween(t *testing.T) {
	r := newRig(t)
	r.reconcile(r.desired(provider.CSR))
	f := new(firewall)
	m := r.rotation(f)
	m.Providers[0].Server = provider.ServerTrust{SHA256: []string{strings.Repeat("AB:", 31) + "AB"}}
	r.kms.calls = nil
	if _, err := r.m.Rotate(t.Context(), m); !errors.Is(err, provider.ErrUntrusted) || len(r.kms.calls) > 0 {
		t.Errorf("%v; calls %v", err, r.kms.calls)
	}
	r.vc.Network.SetFault(r.kms.Addr(), vspheretest.Fault{Kind: vspheretest.WrongCertificate})
	if _, err := r.m.Rotate(t.Context(), m); err == nil || len(r.kms.calls) > 0 || len(f.told) > 0 {
		t.Errorf("%v; calls %v, told %v", err, r.kms.calls, f.told)
	}
}

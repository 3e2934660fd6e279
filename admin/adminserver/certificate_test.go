package adminserver_test

import (
	"slices"
	"testing"

	"github.com/keyreeve/keyreeve/admin"
)

// fakeCertificates note what they are asked.
type fakeCertificates struct{ asked []string }

func (f *fakeCertificates) Show() (admin.ServerCertificates, error) {
	return admin.ServerCertificates{Current: admin.ServerCertificate{Subject: "now"}}, nil
}

func (f *fakeCertificates) Stage(req admin.StageRequest) (admin.ServerCertificates, error) {
	f.asked = append(f.asked, "stage "+req.KeyType)
	return f.Show()
}

func (f *fakeCertificates) Use(sha256 string) (admin.ServerCertificates, error) {
	f.asked = append(f.asked, "use "+sha256)
	return f.Show()
}

// What is done to the server's certificate is in the journal, with who did it;
// what is refused is not done.
func TestCertificates(t *testing.T) {
	w := newWorld(t)
	_, err := w.client.StageCertificate(t.Context(), admin.StageRequest{KeyType: "p256"})
	must(t, err)
	_, err = w.client.UseCertificate(t.Context(), "AB:CD")
	must(t, err)
	if _, err := w.client.UseCertificate(t.Context(), ""); code(err) != admin.CodeBadRequest {
		t.Errorf("without a fingerprint: %v", err)
	}
	all, err := w.client.ServerCertificates(t.Context())
	must(t, err)
	if all.Current.Subject != "now" || !slices.Equal(w.certs.asked, []string{"stage p256", "use AB:CD"}) {
		t.Errorf("%+v, asked %v", all, w.certs.asked)
	}
	events := w.events(t)
	for _, want := range []string{"Stage Certificate by admin", "Use Certificate by admin"} {
		if !slices.Contains(events, want) {
			t.Errorf("the journal lacks %q: %v", want, events)
		}
	}
}

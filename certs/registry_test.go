package certs_test

import (
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyreeve/keyreeve/certs"
)

func registry(t *testing.T, ca *certs.CA, c *clock, clients ...certs.Client) *certs.Registry {
	t.Helper()
	return must(certs.NewRegistry(ca.Certificate(), clients, c.now))
}

// wantRefusal checks code and words of a refusal.
func wantRefusal(t *testing.T, name string, err error, code certs.RefusalCode, words ...string) {
	t.Helper()
	var refused *certs.RefusedError
	if !errors.As(err, &refused) {
		t.Errorf("%s: got %v, want a refusal", name, err)
		return
	}
	if refused.Code != code {
		t.Errorf("%s: code %s, want %s (%v)", name, refused.Code, code, err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%s: the text lacks %q: %s", name, w, err)
		}
	}
	if strings.ContainsAny(err.Error(), "\n\r\x1b\x00\u202e") {
		t.Errorf("%s: the text carries control characters: %q", name, err)
	}
}

// TestRefusals is the table of everything that can be wrong with a client, with the words that help.
func TestRefusals(t *testing.T) {
	c := newClock()
	ca := newCA(t, c)
	vmca, otherCA := foreign("VMCA", nil, asCA), foreign("VMCA", nil, asCA)
	dn := func(change func(*x509.Certificate)) func(*x509.Certificate) {
		return func(cert *x509.Certificate) {
			cert.Subject.Organization = []string{"Example"}
			if change != nil {
				change(cert)
			}
		}
	}
	named := func(name string) certs.ClientRequest {
		return certs.ClientRequest{Name: name, Group: "lab", KeyType: certs.P256}
	}
	issued := must(ca.IssueClient(named("issued")))
	renewing := must(ca.IssueClient(named("renewing")))
	newer := must(ca.IssueClient(named("renewing")))
	short := named("short")
	short.Validity = time.Hour
	shortLived := must(ca.IssueClient(short))
	pinned := foreign("pinned", nil, func(cert *x509.Certificate) { cert.NotAfter = start.Add(time.Hour) })
	undated := foreign("undated", nil, func(cert *x509.Certificate) { cert.NotAfter = start.Add(time.Hour) })
	future := foreign("future", nil, func(cert *x509.Certificate) { cert.NotBefore = start.Add(48 * time.Hour) })
	revoked := foreign("revoked", nil, nil)
	r := registry(t, ca, c,
		issued.Client,
		must(renewing.Client.WithCertificate(newer.Certificate, start, start.Add(time.Hour))),
		shortLived.Client,
		must(certs.Pin(named("pinned"), pemOf(pinned.cert), false, start)),
		must(certs.Pin(named("undated"), pemOf(undated.cert), true, start)),
		must(certs.Pin(named("future"), pemOf(future.cert), false, start.Add(72*time.Hour))),
		must(certs.Pin(named("stolen"), pemOf(revoked.cert), false, start)).Revoke(start, "laptop\nstolen"),
		must(certs.TrustForeignCA(named("foreign"), pemOf(vmca.cert), "CN=vcenter,O=Example", start)),
	)
	goneCA := foreign("VMCA", nil, asCA)
	if err := r.Put(must(certs.TrustForeignCA(named("gone"), pemOf(goneCA.cert), "CN=gone", start)).Revoke(start, "left")); err != nil {
		t.Fatal(err)
	}
	c.advance(2 * time.Hour)

	good := foreign("vcenter", &vmca, dn(nil))
	intermediate := foreign("sub", &vmca, asCA)
	below := foreign("vcenter", &intermediate, dn(nil))
	below.chain = []*x509.Certificate{intermediate.cert}
	for name, certificates := range map[string][]*x509.Certificate{
		"issued":    {issued.Certificate},
		"renewing":  {newer.Certificate},
		"undated":   {undated.cert},
		"foreign":   {good.cert},
		"foreign 2": below.certs(),
	} {
		id, err := r.Identify(certificates)
		if want := strings.TrimSuffix(name, " 2"); err != nil || id.Name != want || id.Group != "lab" || id.Generation != 1 || id.SHA256 != certs.SHA256(certificates[0]) {
			t.Errorf("%s: %+v, %v", name, id, err)
		}
	}

	stray := must(ca.IssueClient(named("issued")))
	fakeIssuer := foreign("issued", nil, func(cert *x509.Certificate) { cert.RawSubject = ca.Certificate().RawSubject })
	evil := foreign("evil\n\x1b[31m\u202ekeyreeve", nil, nil)
	unnamed := foreign("", nil, nil)
	for _, tc := range []struct {
		name  string
		certs []*x509.Certificate
		code  certs.RefusalCode
		words []string
	}{
		{"nothing", nil, certs.CodeNoCertificate, []string{"presented no certificate", "keyreeve client add NAME"}},
		{"stranger", foreign("kmipClient20261124", nil, nil).certs(), certs.CodeUnknown,
			[]string{"client certificate CN=kmipClient20261124 (SHA-256 ", "is not enrolled; to trust it run: keyreeve client add NAME --cert FILE"}},
		{"hostile text", evil.certs(), certs.CodeUnknown, []string{`CN=evil\0A\1B[31m\E2\80\AEkeyreeve`}},
		{"no subject", unnamed.certs(), certs.CodeUnknown, []string{"without subject, serial "}},
		{"our CA, no record", []*x509.Certificate{stray.Certificate}, certs.CodeNoRecord, []string{"CN=issued", "issued by this server's CA", "no client record"}},
		{"our CA's name only", fakeIssuer.certs(), certs.CodeUnknown, nil},
		{"our CA itself", []*x509.Certificate{ca.Certificate()}, certs.CodeNoRecord, nil},
		{"issued, expired", []*x509.Certificate{shortLived.Certificate}, certs.CodeExpired, []string{"expired on 2026-03-04T06:06:07Z", "keyreeve client renew short"}},
		{"pinned, expired", pinned.certs(), certs.CodeExpired, []string{"keyreeve client renew pinned --cert FILE"}},
		{"pinned, future", future.certs(), certs.CodeNotYetValid, []string{"valid only from 2026-03-06T05:06:07Z", "compare the two clocks"}},
		{"renewed", []*x509.Certificate{renewing.Certificate}, certs.CodeReplaced, []string{"client renewing was replaced", "2026-03-04T06:06:07Z"}},
		{"revoked", revoked.certs(), certs.CodeRevoked, []string{"client stolen, which was revoked on 2026-03-04T05:06:07Z (laptop\\0Astolen)"}},
		{"foreign, revoked", foreign("gone", &goneCA, nil).certs(), certs.CodeRevoked, []string{"client gone, which was revoked", "(left)"}},
		{"foreign, other subject", foreign("other", &vmca, dn(nil)).certs(), certs.CodeWrongSubject, []string{"CA of client foreign", "not CN=vcenter,O=Example"}},
		{"foreign, other CA of the same name", foreign("vcenter", &otherCA, dn(nil)).certs(), certs.CodeBadChain, []string{"subject of client foreign"}},
		{"foreign, self-signed", foreign("vcenter", nil, dn(nil)).certs(), certs.CodeBadChain, nil},
		{"foreign, expired", foreign("vcenter", &vmca, dn(func(x *x509.Certificate) { x.NotAfter = start })).certs(), certs.CodeExpired, []string{"renew it at its own CA"}},
		{"foreign, future", foreign("vcenter", &vmca, dn(func(x *x509.Certificate) { x.NotBefore = start.Add(24 * time.Hour) })).certs(), certs.CodeNotYetValid, nil},
		{"foreign, intermediate missing", below.certs()[:1], certs.CodeBadChain, []string{"intermediate certificates"}},
		{"foreign, leaf signed by a leaf", func() []*x509.Certificate {
			leaf := foreign("vcenter", &good, dn(nil))
			return []*x509.Certificate{leaf.cert, good.cert}
		}(), certs.CodeBadChain, nil},
		{"foreign, endless chain", slices.Repeat(good.certs(), 20), certs.CodeUnknown, nil},
	} {
		_, err := r.Identify(tc.certs)
		wantRefusal(t, tc.name, err, tc.code, tc.words...)
		var refused *certs.RefusedError
		if errors.As(err, &refused) && len(tc.certs) > 0 && (refused.SHA256 != certs.SHA256(tc.certs[0]) || !refused.NotAfter.Equal(tc.certs[0].NotAfter) || refused.Subject == "") {
			t.Errorf("%s: the refusal does not describe the certificate: %+v", tc.name, refused)
		}
	}
}

func TestLookalikeSubjectsAreRefused(t *testing.T) {
	c := newClock()
	ca := newCA(t, c)
	vmca := foreign("VMCA", nil, asCA)
	r := registry(t, ca, c, must(certs.TrustForeignCA(request, pemOf(vmca.cert), "CN=vcenter,O=Example", start)))
	exact := subject(t, one(oidO, "Example"), one(oidCN, "vcenter"))
	sign := func(like *x509.Certificate) []*x509.Certificate {
		return foreign("", &vmca, func(cert *x509.Certificate) { cert.RawSubject = like.RawSubject }).certs()
	}
	if _, err := r.Identify(sign(exact)); err != nil {
		t.Fatalf("the exact subject: %v", err)
	}
	for name, like := range lookalikes(t) {
		_, err := r.Identify(sign(like))
		wantRefusal(t, name, err, certs.CodeWrongSubject)
		if hint := strings.Contains(err.Error(), "reverse order"); hint != (name == "reverse order") {
			t.Errorf("%s: hint at the order = %v: %v", name, hint, err)
		}
	}
}

func TestValidUntil(t *testing.T) {
	c := newClock()
	ca := newCA(t, c)
	old, next := must(ca.IssueClient(request)), must(ca.IssueClient(request))
	shortCA := foreign("short", nil, func(cert *x509.Certificate) { asCA(cert); cert.NotAfter = start.Add(time.Hour) })
	leaf := foreign("leaf", &shortCA, nil)
	undated := foreign("undated", nil, nil)
	r := registry(t, ca, c,
		must(old.Client.WithCertificate(next.Certificate, start, start.Add(time.Minute))),
		must(certs.TrustForeignCA(certs.ClientRequest{Name: "f", Group: "g"}, pemOf(shortCA.cert), "CN=leaf", start)),
		must(certs.Pin(certs.ClientRequest{Name: "u", Group: "g"}, pemOf(undated.cert), true, start)),
	)
	for name, tc := range map[string]struct {
		cert *x509.Certificate
		want time.Time
	}{
		"renewed":      {old.Certificate, start.Add(time.Minute)},
		"current":      {next.Certificate, next.Certificate.NotAfter},
		"CA ends":      {leaf.cert, start.Add(time.Hour)},
		"ignores date": {undated.cert, time.Time{}},
	} {
		id, err := r.Identify([]*x509.Certificate{tc.cert})
		if err != nil || !id.ValidUntil.Equal(tc.want) {
			t.Errorf("%s: valid until %s (%v), want %s", name, id.ValidUntil, err, tc.want)
		}
	}
}

func TestRenewalKeepsTwoAtMost(t *testing.T) {
	c := newClock()
	ca := newCA(t, c)
	client := must(ca.IssueClient(request)).Client
	var last *x509.Certificate
	for range 5 {
		last = must(ca.IssueClient(request)).Certificate
		client = must(client.WithCertificate(last, c.now(), c.now().Add(time.Hour)))
		if len(client.Certificates) != 2 || client.Generation != 1 {
			t.Fatalf("record has %d certificates and generation %d, want 2 and 1", len(client.Certificates), client.Generation)
		}
		c.advance(2 * time.Hour)
	}
	if !client.Expires().Equal(last.NotAfter) {
		t.Errorf("expires %s, want %s", client.Expires(), last.NotAfter)
	}
	if _, err := client.WithCertificate(last, c.now(), c.now()); !errors.Is(err, certs.ErrBadClient) {
		t.Errorf("the same certificate again: got %v, want ErrBadClient", err)
	}
	expired := foreign("x", nil, func(cert *x509.Certificate) { cert.NotAfter = start })
	if _, err := client.WithCertificate(expired.cert, c.now(), c.now()); !errors.Is(err, certs.ErrOutsideDates) {
		t.Errorf("an expired certificate: got %v, want ErrOutsideDates", err)
	}
}

func TestPut(t *testing.T) {
	c := newClock()
	ca := newCA(t, c)
	a := must(ca.IssueClient(certs.ClientRequest{Name: "a", Group: "lab", KeyType: certs.P256}))
	vmca := foreign("VMCA", nil, asCA)
	f := must(certs.TrustForeignCA(certs.ClientRequest{Name: "f", Group: "lab"}, pemOf(vmca.cert), "CN=x", start))
	undated := must(certs.Pin(certs.ClientRequest{Name: "u", Group: "lab"}, pemOf(foreign("u", nil, nil).cert), true, start))
	revoked := must(ca.IssueClient(certs.ClientRequest{Name: "r", Group: "lab", KeyType: certs.P256})).Client.Revoke(start, "test")
	edit := func(c certs.Client, change func(*certs.Client)) certs.Client {
		c.Certificates = slices.Clone(c.Certificates)
		change(&c)
		return c
	}
	otherCert := must(ca.IssueClient(certs.ClientRequest{Name: "a", Group: "lab", KeyType: certs.P256})).Client.Certificates
	for name, tc := range map[string]struct {
		client certs.Client
		want   error
	}{
		"same":                   {a.Client, nil},
		"next generation, group": {edit(a.Client, func(c *certs.Client) { c.Group, c.Generation = "other", 2 }), nil},
		"group":                  {edit(a.Client, func(c *certs.Client) { c.Group = "other" }), certs.ErrStaleGeneration},
		"older":                  {edit(a.Client, func(c *certs.Client) { c.Generation = 0 }), certs.ErrStaleGeneration},
		"other certificate":      {edit(a.Client, func(c *certs.Client) { c.Certificates = otherCert }), certs.ErrStaleGeneration},
		"one certificate more":   {edit(a.Client, func(c *certs.Client) { c.Certificates = append(c.Certificates, otherCert...) }), nil},
		"revocation lifted":      {edit(revoked, func(c *certs.Client) { c.Revoked = nil }), certs.ErrStaleGeneration},
		"lifted, next":           {edit(revoked, func(c *certs.Client) { c.Revoked, c.Generation = nil, 3 }), nil},
		"subject":                {edit(f, func(c *certs.Client) { c.Subject = "CN=y" }), certs.ErrStaleGeneration},
		"dates again":            {edit(undated, func(c *certs.Client) { c.IgnoreDates = false }), certs.ErrStaleGeneration},
		"certificate of another": {edit(a.Client, func(c *certs.Client) { c.Name = "b" }), certs.ErrConflict},
		"of a revoked one":       {edit(revoked, func(c *certs.Client) { c.Name, c.Revoked = "b", nil }), certs.ErrConflict},
		"CA and subject twice":   {edit(f, func(c *certs.Client) { c.Name = "g" }), certs.ErrConflict},
		"same CA, other subject": {edit(f, func(c *certs.Client) { c.Name, c.Subject = "g", "CN=y" }), nil},
		"name":                   {edit(a.Client, func(c *certs.Client) { c.Name = "a/b" }), certs.ErrBadName},
		"kind":                   {edit(a.Client, func(c *certs.Client) { c.Kind = "x" }), certs.ErrBadClient},
		"no certificate":         {edit(a.Client, func(c *certs.Client) { c.Certificates = nil }), certs.ErrBadClient},
		"broken fingerprint":     {edit(a.Client, func(c *certs.Client) { c.Certificates[0].SHA256 = strings.ToLower(c.Certificates[0].SHA256) }), certs.ErrBadClient},
		"short fingerprint":      {edit(a.Client, func(c *certs.Client) { c.Certificates[0].SHA256 = "AB:CD" }), certs.ErrBadClient},
		"issued ignores dates":   {edit(a.Client, func(c *certs.Client) { c.IgnoreDates = true }), certs.ErrBadClient},
		"issued with a CA":       {edit(a.Client, func(c *certs.Client) { c.CAPEM = f.CAPEM }), certs.ErrBadClient},
		"foreign without CA":     {edit(f, func(c *certs.Client) { c.CAPEM = "" }), certs.ErrBadClient},
		"foreign with pin":       {edit(f, func(c *certs.Client) { c.Certificates = otherCert }), certs.ErrBadClient},
		"foreign without DN":     {edit(f, func(c *certs.Client) { c.Subject = "" }), certs.ErrBadDN},
	} {
		r := registry(t, ca, c, a.Client, f, undated, revoked)
		before := r.List()
		err := r.Put(tc.client)
		if !errors.Is(err, tc.want) || (err == nil) != (tc.want == nil) {
			t.Errorf("%s: got %v, want %v", name, err, tc.want)
		}
		if diff := cmp.Diff(before, r.List()); err != nil && diff != "" {
			t.Errorf("%s: refused, but the table changed:\n%s", name, diff)
		}
		if got, _ := r.Get(tc.client.Name); err == nil && !cmp.Equal(got, tc.client) {
			t.Errorf("%s: Get gives another record:\n%s", name, cmp.Diff(tc.client, got))
		}
	}
}

func TestNewRegistryRefusesTwoOfAName(t *testing.T) {
	c := newClock()
	ca := newCA(t, c)
	one, two := must(ca.IssueClient(request)).Client, must(ca.IssueClient(request)).Client
	if _, err := certs.NewRegistry(nil, []certs.Client{one, two}, c.now); !errors.Is(err, certs.ErrBadClient) {
		t.Errorf("got %v, want ErrBadClient", err)
	}
}

func TestRemovedNameComesBackOnlyAboveItsGeneration(t *testing.T) {
	c := newClock()
	ca := newCA(t, c)
	client := must(ca.IssueClient(request)).Client
	client.Generation = 5
	r := registry(t, ca, c, client)
	if !r.Remove("vcenter") || r.Remove("vcenter") {
		t.Error("Remove does not tell whether there was a client")
	}
	if r.Current("vcenter", 5) {
		t.Error("a removed client is current")
	}
	if err := r.Put(client); !errors.Is(err, certs.ErrStaleGeneration) {
		t.Errorf("the old generation came back: %v", err)
	}
	client.Generation = r.NextGeneration("vcenter")
	if err := r.Put(client); err != nil || client.Generation != 6 || r.Current("vcenter", 5) || !r.Current("vcenter", 6) {
		t.Errorf("generation %d: %v", client.Generation, err)
	}
}

func TestCurrent(t *testing.T) {
	c := newClock()
	ca := newCA(t, c)
	client := must(ca.IssueClient(request)).Client
	r := registry(t, ca, c, client)
	if !r.Current("vcenter", 1) || r.Current("vcenter", 2) || r.Current("vcenter", 0) || r.Current("other", 1) {
		t.Error("Current does not compare name and generation")
	}
	if n := testing.AllocsPerRun(100, func() { r.Current("vcenter", 1) }); n != 0 {
		t.Errorf("Current allocates %v times", n)
	}
	if err := r.Put(client.Revoke(start, "test")); err != nil {
		t.Fatal(err)
	}
	if r.Current("vcenter", 1) || r.Current("vcenter", 2) {
		t.Error("a revoked client is current")
	}
}

func TestRecordsAreCopied(t *testing.T) {
	c := newClock()
	ca := newCA(t, c)
	client := must(ca.IssueClient(request)).Client.Revoke(start, "kept")
	r := registry(t, ca, c, client)
	want := must(certs.NewRegistry(nil, []certs.Client{client}, c.now)).List()
	client.Certificates[0].SHA256, client.Revoked.Reason = "changed", "changed"
	got, _ := r.Get("vcenter")
	got.Certificates[0].SHA256 = "changed"
	r.List()[0].Revoked.Reason = "changed"
	if diff := cmp.Diff(want, r.List()); diff != "" {
		t.Errorf("a caller's copy reached the table (-want +got):\n%s", diff)
	}
}

// Readers beside writers see either the whole old table or the whole new one; -race watches.
func TestConcurrentUse(t *testing.T) {
	c := newClock()
	ca := newCA(t, c)
	issued := must(ca.IssueClient(request))
	r := registry(t, ca, c, issued.Client)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				id, err := r.Identify([]*x509.Certificate{issued.Certificate})
				if err != nil || !strings.HasSuffix("vcenter", id.Name) {
					t.Errorf("%+v, %v", id, err)
				}
				r.Current("vcenter", id.Generation)
				r.List()
			}
		})
	}
	for range 100 {
		next, _ := r.Get("vcenter")
		next.Generation++
		if err := r.Put(next); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	if !r.Current("vcenter", 101) {
		t.Error("a change was lost")
	}
}

package ovhcloud_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyreeve/keyreeve/vsphere/ovhcloud"
	"github.com/keyreeve/keyreeve/vsphere/vspheretest"
)

// All three ways to say who calls are taken, and the secrets are wiped.
func TestCredentials(t *testing.T) {
	for _, way := range []string{"application key", "access token", "OAuth2"} {
		synctest.Test(t, func(t *testing.T) {
			w := &wire{double: vspheretest.NewOVHcloud(vspheretest.OVHcloudOptions{})}
			cr := keys(w.double)
			switch way {
			case "access token":
				cr = ovhcloud.Credentials{AccessToken: own(w.double.AccessToken)}
			case "OAuth2":
				cr = ovhcloud.Credentials{ClientID: "EU.id", ClientSecret: own("topsecret")}
			}
			tokens := 0
			w.before = func(r *http.Request) (*http.Response, error) {
				if r.URL.Host != "www.ovh.com" || r.URL.Path != "/auth/oauth2/token" {
					return nil, nil
				}
				tokens++
				body := w.bodies[len(w.bodies)-1]
				if user, password, _ := r.BasicAuth(); (user != "EU.id" || password != "topsecret") && !strings.Contains(body, "topsecret") || !strings.Contains(body, "scope=all") {
					return answerOf(401, "", `{"error":"invalid_client"}`), nil
				}
				return answerOf(200, "Content-Type: application/json", fmt.Sprintf(`{"access_token":%q,"token_type":"Bearer","expires_in":3600}`, w.double.AccessToken)), nil
			}
			c, err := ovhcloud.New(ovhcloud.Config{Endpoint: "ovh-eu", Credentials: cr, Transport: w})
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if _, err := c.Services(t.Context()); err != nil {
					t.Fatalf("%s: %v", way, err)
				}
			}
			want := 0
			if way == "OAuth2" {
				want = 1
			}
			if tokens != want {
				t.Errorf("%s: %d tokens", way, tokens)
			}
			time.Sleep(2 * time.Hour) // of the bubble: a token ends, and go-ovh's idea of the time is old
			before := w.count("GET /auth/time")
			if _, err := c.Services(t.Context()); err != nil || tokens != 2*want {
				t.Errorf("%s: %d tokens after two hours, %v", way, tokens, err)
			}
			if way == "application key" && w.count("GET /auth/time") != before+1 {
				t.Error("OVHcloud's time was not looked for again")
			}
			c.Close()
			for _, s := range []interface{ Len() int }{cr.ApplicationSecret, cr.ConsumerKey, cr.AccessToken, cr.ClientSecret} {
				if s.Len() != 0 {
					t.Errorf("%s: a secret is left", way)
				}
			}
		})
	}
}

// A token that OVHcloud takes no more is replaced, and not held until it would
// have ended.
func TestTokenThatWasRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{double: vspheretest.NewOVHcloud(vspheretest.OVHcloudOptions{})}
		tokens, revoked := 0, false
		w.before = func(r *http.Request) (*http.Response, error) {
			switch {
			case r.URL.Path == "/auth/oauth2/token":
				tokens++
				revoked = false
				return answerOf(200, "Content-Type: application/json", fmt.Sprintf(`{"access_token":%q,"token_type":"Bearer","expires_in":3600}`, w.double.AccessToken)), nil
			case revoked:
				return answerOf(401, "", `{"message":"token is invalid"}`), nil
			}
			return nil, nil
		}
		c, err := ovhcloud.New(ovhcloud.Config{Endpoint: "ovh-eu", Credentials: ovhcloud.Credentials{ClientID: "EU.id", ClientSecret: own("topsecret")}, Transport: w})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Services(t.Context()); err != nil {
			t.Fatal(err)
		}
		revoked = true
		if _, err := c.Services(t.Context()); err == nil {
			t.Error("a revoked token is no error")
		}
		if _, err := c.Services(t.Context()); err != nil || tokens != 2 {
			t.Errorf("then, with %d tokens: %v", tokens, err)
		}
	})
}

// A token that is refused is an error without the secret in it.
func TestOAuth2Refused(t *testing.T) {
	w := &wire{double: vspheretest.NewOVHcloud(vspheretest.OVHcloudOptions{})}
	w.before = func(*http.Request) (*http.Response, error) {
		return answerOf(401, "Content-Type: application/json", `{"error":"invalid_client","error_description":"no such client","echo":"topsecret"}`), nil
	}
	c, err := ovhcloud.New(ovhcloud.Config{Endpoint: "ovh-ca", Transport: w, Credentials: ovhcloud.Credentials{ClientID: "EU.id", ClientSecret: own("topsecret")}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Services(t.Context())
	if err == nil || !strings.Contains(err.Error(), "no such client") || strings.Contains(err.Error(), "topsecret") || len(w.calls) > 2 {
		t.Errorf("%d calls: %v", len(w.calls), err)
	}
}

// What contradicts itself, or would show the credentials to others, is refused.
func TestNewRefuses(t *testing.T) {
	token := func() ovhcloud.Credentials { return ovhcloud.Credentials{AccessToken: own("x")} }
	for _, row := range []struct {
		endpoint string
		cr       ovhcloud.Credentials
		says     string
	}{
		{"ovh-eu", ovhcloud.Credentials{}, "no credentials"},
		{"ovh-eu", ovhcloud.Credentials{AccessToken: own("x"), ClientID: "y", ClientSecret: own("z")}, "more than one"},
		{"ovh-eu", ovhcloud.Credentials{ApplicationKey: "x", ApplicationSecret: own("y")}, "consumer key"},
		{"ovh-eu", ovhcloud.Credentials{ClientID: "x"}, "client secret"},
		{"ovh-moon", token(), "unknown endpoint"},
		{"http://api.example.com/1.0", token(), "want https"},
		{"http://127.0.0.1@api.example.com/1.0", token(), "no URL"},
		{"https://api.example.com/1.0", ovhcloud.Credentials{ClientID: "x", ClientSecret: own("y")}, "OAuth2 tokens"},
	} {
		if _, err := ovhcloud.New(ovhcloud.Config{Endpoint: row.endpoint, Credentials: row.cr}); err == nil || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s, %q: %v", row.endpoint, row.says, err)
		}
	}
}

// A redirect is not followed: the application's headers would go along.
func TestRedirect(t *testing.T) {
	followed := false
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed = true }))
	defer other.Close()
	srv := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer srv.Close()
	c, err := ovhcloud.New(ovhcloud.Config{Endpoint: srv.URL + "/1.0", Credentials: ovhcloud.Credentials{AccessToken: own("x")}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Services(t.Context()); err == nil || followed {
		t.Errorf("followed %v, %v", followed, err)
	}
}

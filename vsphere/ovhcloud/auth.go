package ovhcloud

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/ovh/go-ovh/ovh"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/keyreeve/keyreeve/internal/secret"
)

// Credentials say who calls. Exactly one of the three ways must be given. New
// takes the secrets over: Close clears them.
type Credentials struct {
	ApplicationKey    string // with the next two
	ApplicationSecret *secret.Bytes
	ConsumerKey       *secret.Bytes

	AccessToken *secret.Bytes // a bearer token; it ends when it ends

	ClientID     string // of an OAuth2 service account, with the next
	ClientSecret *secret.Bytes
}

func (c *Credentials) check() error {
	key := c.ApplicationKey != "" || c.ApplicationSecret.Len() > 0 || c.ConsumerKey.Len() > 0
	token := c.AccessToken.Len() > 0
	account := c.ClientID != "" || c.ClientSecret.Len() > 0
	ways := 0
	for _, given := range []bool{key, token, account} {
		if given {
			ways++
		}
	}
	switch {
	case ways == 0:
		return errors.New("no credentials for OVHcloud: give an application key, an access token or an OAuth2 service account")
	case ways > 1:
		return errors.New("more than one kind of credentials for OVHcloud: give an application key, an access token or an OAuth2 service account, and only one of them")
	case key && (c.ApplicationKey == "" || c.ApplicationSecret.Len() == 0 || c.ConsumerKey.Len() == 0):
		return errors.New("an application key of OVHcloud's needs its application secret and a consumer key")
	case account && (c.ClientID == "" || c.ClientSecret.Len() == 0):
		return errors.New("an OAuth2 service account of OVHcloud's needs client id and client secret")
	}
	return nil
}

func (c *Credentials) clear() {
	for _, s := range []*secret.Bytes{c.ApplicationSecret, c.ConsumerKey, c.AccessToken, c.ClientSecret} {
		s.Clear()
	}
}

// tokenURLs are where service accounts get their tokens, by endpoint.
var tokenURLs = map[string]string{
	ovh.OvhEU: "https://www.ovh.com/auth/oauth2/token",
	ovh.OvhCA: "https://ca.ovh.com/auth/oauth2/token",
	ovh.OvhUS: "https://us.ovhcloud.com/auth/oauth2/token",
}

// lookAgain is how long a clock difference that go-ovh has measured is used:
// it asks for OVHcloud's time once and never again, and a clock that was set
// since would have every later request refused.
const lookAgain = time.Hour

// tokenMargin is how long before its end a token is replaced.
const tokenMargin = time.Minute

// authorise makes go-ovh's client ready for a request. go-ovh has OAuth2 too,
// but asks for tokens without a context and through a client of its own, so
// that such a call could neither be ended nor be given a time-out.
// The caller holds the turn.
func (c *Client) authorise(ctx context.Context) error {
	now := c.cfg.Now()
	if c.api == nil || now.Sub(c.apiSince) > lookAgain || now.Before(c.apiSince) {
		cr := &c.cfg.Credentials
		c.api = &ovh.Client{
			AppKey: cr.ApplicationKey, AppSecret: string(cr.ApplicationSecret.Expose()), ConsumerKey: string(cr.ConsumerKey.Expose()),
			AccessToken: string(cr.AccessToken.Expose()), Client: c.http, Timeout: c.cfg.Timeout, UserAgent: c.cfg.UserAgent,
		}
		if err := c.api.SetEndpoint(c.endpoint); err != nil {
			return err
		}
		c.apiSince = now
	}
	if c.cfg.Credentials.ClientID == "" {
		return nil
	}
	if !c.tokenEnds.IsZero() && now.Before(c.tokenEnds.Add(-tokenMargin)) {
		c.api.AccessToken = c.token
		return nil
	}
	return c.newToken(ctx)
}

// newToken asks for an access token.
func (c *Client) newToken(ctx context.Context) error {
	conf := clientcredentials.Config{
		ClientID: c.cfg.Credentials.ClientID, ClientSecret: string(c.cfg.Credentials.ClientSecret.Expose()),
		TokenURL: c.tokenURL, Scopes: []string{"all"},
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	t, err := conf.Token(context.WithValue(ctx, oauth2.HTTPClient, c.http))
	if err != nil {
		return tokenError(err)
	}
	c.token, c.tokenEnds = t.AccessToken, t.Expiry
	if t.Expiry.IsZero() { // it does not say: use it for as long as is always granted
		c.tokenEnds = c.cfg.Now().Add(2 * tokenMargin)
	}
	c.api.AccessToken = c.token
	return nil
}

// tokenError leaves the answer's body out: it may hold what must not be printed.
func tokenError(err error) error {
	refused, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok || refused.Response == nil {
		return fmt.Errorf("getting an OAuth2 token: %w", err)
	}
	e := &Error{Do: "getting an OAuth2 token", Status: refused.Response.StatusCode, Class: clean(refused.ErrorCode),
		Message: clean(refused.ErrorDescription), QueryID: clean(refused.Response.Header.Get("X-Ovh-QueryID")),
		Hint: "see that client id and client secret belong together and to this endpoint's region"}
	if e.Message == "" {
		e.Message = http.StatusText(e.Status)
	}
	return e
}

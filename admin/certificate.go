package admin

import (
	"context"
	"net/http"
	"time"
)

// A ServerCertificate is one that the server has for its KMIP and admin ports.
type ServerCertificate struct {
	Thumbprints
	PEM       []byte    `json:"pem"` // the leaf
	Subject   string    `json:"subject"`
	Hosts     []string  `json:"hosts"` // names and addresses that it is for
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	Staged    bool      `json:"staged,omitempty"` // it was made to be the next one, and is not in use
}

// ServerCertificates is the answer to GET /v1/certificate and to what changes
// it. Other is the one that was staged and is not in use yet, or the one that
// was in use before; UseCertificate takes either.
type ServerCertificates struct {
	Current ServerCertificate  `json:"current"`
	Other   *ServerCertificate `json:"other,omitempty"`
}

// StageRequest is the body of POST /v1/certificate/stage.
type StageRequest struct {
	Hosts   []string `json:"hosts,omitempty"`    // empty: those of the certificate in use
	KeyType string   `json:"key_type,omitempty"` // rsa2048 or p256; empty: that of the certificate in use
}

// UseRequest is the body of POST /v1/certificate/use.
type UseRequest struct {
	SHA256 string `json:"sha256"` // of the certificate that is to be in use
}

// ServerCertificates tells which certificates the server has.
func (c *Client) ServerCertificates(ctx context.Context) (ServerCertificates, error) {
	return call[ServerCertificates](ctx, c, http.MethodGet, "/v1/certificate", nil)
}

// StageCertificate has the server make a certificate that it does not use yet,
// so that whoever pins it can be told first. It takes the place of one that was
// staged before, or of the one that was in use before.
func (c *Client) StageCertificate(ctx context.Context, req StageRequest) (ServerCertificates, error) {
	return call[ServerCertificates](ctx, c, http.MethodPost, "/v1/certificate/stage", req)
}

// UseCertificate puts the certificate with that fingerprint to use, for new
// connections; the one in use until then is kept, for the way back. That it is
// in use already is no error.
func (c *Client) UseCertificate(ctx context.Context, sha256 string) (ServerCertificates, error) {
	return call[ServerCertificates](ctx, c, http.MethodPost, "/v1/certificate/use", UseRequest{sha256})
}

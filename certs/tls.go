package certs

import (
	"crypto/tls"
	"time"
)

// Options changes what [ServerConfig] offers; the zero value is right for clients of this decade.
type Options struct {
	// LegacySuites adds CBC and static-RSA cipher suites for clients that know nothing else (vSphere 6.5 and 6.7).
	// Static RSA has no forward secrecy: whoever gets the server's key later can read what was recorded before.
	LegacySuites bool
	// Now is the clock for tickets; nil means time.Now. The Registry has its own.
	Now func() time.Time
}

// LegacySetting is the name of the legacy switch as the configuration spells it; handshake diagnostics name it.
const LegacySetting = "legacy_suites"

// defaultSuites are those of TLS 1.2 with forward secrecy and authenticated encryption; crypto/tls orders them.
var defaultSuites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// legacySuites are what old clients have and crypto/tls can still do; RC4 and 3DES are left out.
var legacySuites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
	tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA,
	tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256,
	tls.TLS_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_RSA_WITH_AES_128_CBC_SHA256,
	tls.TLS_RSA_WITH_AES_128_CBC_SHA,
	tls.TLS_RSA_WITH_AES_256_CBC_SHA,
}

// ServerConfig is the TLS configuration of the KMIP listener: TLS 1.2 and 1.3, any client certificate demanded, and
// each judged by the registry.
//
// The list of CAs sent to the client is empty on purpose: with one in it, a client whose certificate is self-signed,
// as vCenter's is, sends none. RequireAnyClientCert makes crypto/tls prove that the client holds the key and checks
// nothing else; everything else is in VerifyConnection, because that, unlike VerifyPeerCertificate, also runs when a
// session is resumed: a client revoked since its last handshake is refused on the resumed one too. A client that
// sends no certificate, as vCenter does on first contact, has read ours by then; its handshake ends with an alert,
// which [ClassifyHandshakeError] tells apart from errors.
func ServerConfig(reloader *Reloader, registry *Registry, opts Options) *tls.Config {
	suites := append([]uint16(nil), defaultSuites...)
	if opts.LegacySuites {
		suites = append(suites, legacySuites...)
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		CipherSuites:   suites, // explicit, so that no GODEBUG setting widens or narrows them
		GetCertificate: reloader.GetCertificate,
		ClientAuth:     tls.RequireAnyClientCert,
		Time:           opts.Now,
		VerifyConnection: func(state tls.ConnectionState) error {
			_, err := registry.Identify(state.PeerCertificates)
			return err
		},
	}
}

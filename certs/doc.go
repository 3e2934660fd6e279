// Package certs decides who may speak to the server and proves who the server is: a small CA of our own, the server's
// certificate, the enrolment of clients, and the TLS configuration that lets exactly the enrolled ones in.
//
// Why here: KMIP identifies a client by its TLS certificate (KMIP Profiles 1.4, section 3.1, "Authentication Suite"),
// and setting those certificates up by hand is where most KMIP installations fail. So one package makes them, checks
// them, and says in words why a handshake ended.
//
// The rule is: no record, no entry. A [Client] is an explicit record, and the [Registry] admits a certificate only
// when a record names it: by the fingerprint of a certificate that we issued, of one made from a client's signing
// request, of a foreign one that was pinned, or by a foreign CA together with one exact subject. A certificate that
// our own CA signed but that no record names is refused like any stranger's.
//
// What is trusted: the caller who stores the records and the CA's private key (both sealed), the clock handed in, and
// crypto/tls for the proof that a client holds the private key of the certificate it shows. Nothing in a certificate,
// a signing request or a handshake is trusted: what is printed of them is made harmless first.
//
// What is not done: no certificate revocation lists and no OCSP. A client is revoked in its record, which ends its
// next handshake, resumed ones too, and its next request ([Registry.Current]).
//
// RFC 5280 (certificates), RFC 2986 (signing requests), RFC 4514 (distinguished names), RFC 5246 and RFC 8446 (TLS).
package certs

// Package kmipserver speaks KMIP to the network: it accepts connections, does
// the TLS handshake, cuts the stream into messages, and answers each by the
// batch rules of the specification (1.0 to 1.4, sections 6 and 7). What an
// operation means is package operations' business; who a certificate stands
// for is the caller's, who gives Identify and Current.
//
// Why here and nowhere else: this is the only package that reads bytes of
// strangers. Until a handshake is complete a peer has a few kilobytes and ten
// seconds; after it, a message is read under a deadline and a size limit, is
// walked once under limits of depth and number, and only then looked at.
// Nothing that a peer sends is logged but the address, and of its certificate
// the subject and fingerprint.
//
// A connection that is idle holds no buffer: the first bytes of a message go
// into an array of eight, and a buffer from a pool is taken when the length is
// known. Buffers are cleared before they go back, since a request may carry a
// password or a key, and an answer a key.
//
// Files: server.go (life of the server), conn.go (life of a connection),
// admit.go (limits), frame.go (messages from the stream), batch.go, run.go and
// answer.go (a message's way through the store), log.go, metrics.go.
package kmipserver

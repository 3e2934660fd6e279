// Package kmiptest is a kit for tests of what speaks KMIP: a server in memory
// behind real TLS on the loopback, with a CA and enrolled clients of its own
// ([NewServer]), to which transcripts of package transcript are played
// ([RunTranscript]).
//
// It is a package of its own, and not test files of the server's, so that
// others can use it: a client's tests get a server that keeps what it says,
// and another server can be held against the conversations in
// kmip/testdata/transcripts. The transcripts are written from tables of what
// clients are known to send; each says which.
//
// Nothing here is for production: keys live in memory and the certificates are
// made anew each time.
package kmiptest

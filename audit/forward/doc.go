// Package forward passes the journal on as it grows: to a file of JSON lines, or to a syslog server over TLS
// (RFC 5424 messages, RFC 5425 transport). What was passed on lies outside the reach of whoever breaks into this machine
// later, and the signed checkpoints among it hold the journal to it.
//
// A Forwarder reads behind the journal and never before it: it sees what is durable, and no release of a key waits for
// it. It remembers durably up to where the other side has everything, and goes on there after a restart or a lost
// connection, so that each event is passed on at least once. Syslog has no acknowledgement: what was handed to the
// connection shortly before it broke is sent again.
//
// # What is trusted
//
// That the file system keeps what was synced; that the syslog server whose certificate the configured CA has signed
// keeps what it read. A server without such a certificate gets nothing.
package forward

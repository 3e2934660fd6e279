// Package adminserver answers the admin API (package admin): on a unix socket,
// and over HTTPS where the configuration says so.
//
// Who may use the socket is decided by the kernel, by the mode of the socket and
// of its folder and by the peer's user (SO_PEERCRED), before a byte is read: root
// and the user that the server runs as. They are the owner. Over HTTPS only a
// certificate enters that has an administrator's record, which also names a
// role; a KMIP client's certificate has none, whoever signed it. It is judged
// anew on each request. table.go says what each role may, and is all there is.
//
// Everything goes through the store's one door, as KMIP's operations do, so it
// is authorised and recorded in the journal alike. Records of clients and
// administrators and the CA are sealed records of the store; this package alone
// knows their form. No handler can reach key material: what it reads of a key is
// metadata.
//
// Trusted: the kernel's word for the peer's user, and crypto/tls for the proof
// that a peer holds its certificate's key. Not trusted: the request's content,
// which is bounded and checked as a stranger's would be, since admins paste
// certificates and signing requests that others made; and an administrator's
// certificate that is stolen, which cannot make another administrator.
package adminserver

// Package adminserver answers the admin API (package admin) on a unix socket.
//
// Why a socket: whoever may use it is decided by the kernel, by the mode of the
// socket and of its folder and by the peer's user (SO_PEERCRED), before a byte
// is read. Root and the user that the server runs as may; nobody else.
//
// Everything goes through the store's one door, as KMIP's operations do, so it
// is authorised and recorded in the journal alike. Client records and the CA
// are sealed records of the store; this package alone knows their form. No
// handler can reach key material: what it reads of a key is metadata.
//
// Trusted: the kernel's word for the peer's user. Not trusted: the request's
// content, which is bounded and checked as a stranger's would be, since admins
// paste certificates and signing requests that others made.
package adminserver

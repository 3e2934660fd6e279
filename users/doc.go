// Package users holds the KMIP users: who the credentials in a request stand
// for (specification sections 2.1.2 and 6.6).
//
// A client's certificate says which group it belongs to. A user is somebody
// inside that group, known by Username and Password or by a Device credential,
// and owns what is made under that name. Users are the group's: every client of
// the group may bring their credentials, and no other client can.
//
// Why here, beside package certs: like a client's record, a user's is a plain
// value that the caller keeps sealed in the store, and the table in memory is
// what requests are held against. Passwords are kept as Argon2id hashes only,
// each with its own parameters.
//
// # What is trusted
//
// The records, which come from sealed storage, and the administrator who made
// them. Credentials are not: they come from whoever holds a client's
// certificate. Checking one costs memory and time on purpose, so it is bounded
// in parallel, over all and for each client; an unknown user costs what a known
// one does; and a success is remembered for a while, since clients such as
// vCenter send the same credential with each request. What is remembered is an
// HMAC under a key that this process made for itself.
package users

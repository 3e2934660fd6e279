// Package operations is what each KMIP operation does to the store: one table
// (table.go), and one file an operation.
//
// Every operation has two halves. Prepare runs outside any transaction: it
// decodes the request's payload, checks all that can be checked without the
// store, and does the slow work (key material from crypto/rand, digests).
// Apply runs inside the store's one door, maybe more than once: it looks at
// the state of things, changes it, and writes the response's payload. It never
// makes up a value of its own, so that running it again gives the same answer.
//
// Why here: this is the one place where the rules of sections 3 (attributes)
// and 4 (operations) meet the store, and where section 11 says what the client
// is told when they are broken. The store below knows owners, states and names;
// the server above knows messages and batches.
//
// Requests are not trusted. Bytes have passed ttlv.Check, nothing more. Key
// material is only ever in the request's buffer, in a Call's scratch buffer, in
// the store's record and in the response's buffer; no error text holds a value
// from any of them.
//
// Section numbers are those of the specification 1.4.
package operations

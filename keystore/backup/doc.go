// Package backup writes a store into one file, proves that file, and brings the
// store back from it.
//
// # The file
//
// It is an age file (age-encryption.org/v1), so that a stock age tool opens it.
// Inside is a line of text, and after it TTLV items, the wire's own encoding:
//
//	keyreeve backup 1\n
//	Manifest   what is in here, and what is needed to restore it
//	Record …   key and sealed value, as they lie in the store, all of one snapshot
//	End        how many records there were, and SHA-256 of all that came before
//
// The records are sealed under the store's keys and these under the root key,
// which is never in a backup: whoever finds the file needs the age identity (or
// passphrase) and the root key, which are kept apart. The server's TLS key and
// certificate, which vCenter pins, are a sealed record like the others.
//
// # When it counts
//
// A file gets its name only after it was read back from the disk, decrypted,
// restored into a scratch store, and that was checked: every record opens, every
// index entry is there, counts and digest are those of the sealed head, and the
// wrapped store keys are those that the root key opened. Until then it is a
// temporary file, and goes when anything fails.
//
// The server does not have the identity that opens the file, so it decrypts with
// the file's own key, which it has kept since it wrote it. What that cannot show
// is that somebody still has the identity, and that it fits the recipient; only
// who has it can, with Open (`keyreeve backup verify FILE --identity F`).
//
// # What is trusted
//
// The process that writes the file, and age. A file is not: reading is bounded
// and nothing of it is used before its digest, and the sealed head, agree. What
// authenticates a file is the root key: age lets anybody encrypt to a recipient,
// but without the root key nobody makes records that open.
package backup

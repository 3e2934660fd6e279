// Package bolt is the default [keystore.Backend]: one file, written by bbolt.
//
// # Why bbolt writes and we read
//
// bbolt commits in two synced steps (data pages, then one of two checksummed meta pages), so a power cut leaves the
// old tree or the new one. It does not checksum data pages, and it follows page numbers and lengths as it finds them:
// of the single bits that matter in a file, a few make it panic, read outside of the file, or recurse without end, and
// the last of these ends a Go process whatever it does to recover. So all reading goes through pages.go, which walks
// the same pages with every offset, length, page number and the depth checked, and allocates nothing. bbolt itself
// gets to see only files whose meta pages and freelist were checked, and only paths of pages that were checked.
//
// A wrong byte inside a key or a value is not for this package to find: the keystore seals its records.
//
// # Transactions
//
// An Update keeps its writes in memory, in the order of keys, until prepared has run, and then hands them to bbolt in
// one go. All Views share one open read transaction of bbolt, so a View costs two locks and no allocation. A commit
// leaves it to them until it is synced: bbolt shows a commit before that, and a power cut could take back what somebody
// was told. So no View waits for a sync, save when the file is about to outgrow its mapping: bbolt maps it anew when all
// readers are gone, so then each View begins a transaction of its own, and waits if bbolt would show it the commit.
//
// # Failing
//
// Once prepared has run, any error stops the backend: a kernel that reported a failed sync may have dropped the pages
// and report success the next time, and bbolt itself would go on. Every later Update fails with [keystore.ErrFailed]
// until the file has been closed and opened. Opening drops what the kernel remembers of the file, so that what is read
// is what the disk holds and not what a failed sync left in memory only.
//
// # Trust
//
// That fdatasync tells the truth, and that nobody else writes to the file while it is open (flock keeps other
// instances away). A file that becomes unreadable or shorter while open gives ErrCorrupt.
package bolt

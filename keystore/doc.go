// Package keystore holds Managed Objects: their model, their states, their
// sealing, their indexes, and the Store, the one door to them.
//
// # The door
//
// Nothing reads key material or changes an object except inside [Store.Do].
// Do authorises, records in the journal and commits, in that order, for
// success, failure and denial alike, so that an operation cannot forget to.
//
// An operation whose Op promises no durable record never sees an object's
// Value, and an administrator never does: there is no way to a key around the
// journal.
//
// # Order of durability
//
// One writer goroutine takes all that queued while the last group committed.
// For each group it
//
//  1. runs each message's work in the backend's transaction, keeping or
//     dropping each item by itself (an undo log, not a second copy);
//  2. appends the group's intents to the journal, with one sync;
//  3. writes the sealed head, which names the journal position just reached;
//  4. commits the backend;
//  5. tells the journal the committed sequence (the marker that every later
//     journal group carries);
//  6. lets the answers leave.
//
// So at open only intents after the last marker may be missing from the store.
// They were never answered, and are noted as not committed. A store older than
// the marker was rolled back or is a foreign file; a journal that ends before
// the store's head was cut. Both refuse to open.
//
// # Sealing
//
// root key → store key (generations) → one AES-256-GCM blob a record with a
// random nonce, bound to store id ‖ kind ‖ identifier ‖ record version ‖
// generation. bbolt does not checksum its data pages; the AEAD is what finds a
// flipped bit and a swapped record. What AEAD cannot see, a record that is
// gone or an older valid one put back, the sealed head finds: it holds the
// number of records and a keyed multiset digest over (kind, identifier,
// version) of all of them. A version is given once in a store's life.
//
// # Trust
//
// The root key, this process's memory and the clock are trusted; the clock only
// forwards: a store that has seen a later time than the machine's goes on from
// there, over restarts too, so a clock that was once far ahead has to be waited
// for. The files are not: whoever can write them can stop the service, not
// change what it says without being noticed, save for putting back store and
// journal together as they were at one past moment (docs/threat-model.md says
// what to do about it).
//
// # Invariants
//
// Check tests all of them over a whole store and runs after every store test.
//
//	I1   every record opens under its store id, kind, identifier and version
//	I2   the head's count is the number of records
//	I3   the head's digest is the multiset digest of all (kind, identifier, version)
//	I4   every object's index entries exist, and no others
//	I5   a Name of a live object is unique in its group
//	I6   an object's stored state agrees with its dates (state.go)
//	I7   a Destroyed object holds no key material; its tombstone, if any, has an expiry
//	I8   a tombstone belongs to a Destroyed object
//	I9   the head's journal position exists in the journal, with the same hash
//	I10  the journal's last marker is not after the head's position
//	I11  Initial Date ≤ Last Change Date, and none is in the future of the store's clock
//	I12  an object's identifier is the one its key names, and its owner group is not empty
//	I13  an inventory's record is of a vCenter that was assigned, and all pages of a key's uses are there
//	I14  a vCenter counts the keys that it uses
package keystore

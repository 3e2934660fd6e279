// Package audit is the journal: what was done with which key, by whom, in an order that cannot be changed unseen.
//
// It is append-only, hash-chained and group-committed. "No audit, no key" (promise P2) means that Append has returned,
// and so that fdatasync has, before an answer with key material leaves. The package imports nothing of ours but
// internal packages, so that the store and the agent can both keep a journal.
//
// # On disk
//
// A folder of segments, 00000001.log and up, each a header and then groups. All integers are big-endian.
//
//	segment header  magic[8] version:4 zero:4 storeID[16] number:8 baseSeq:8 marker:8 created:8 mark[8] prevHash[32] sha256[32]
//	group           mark[8] length:4 count:4 firstSeq:8 marker:8 time:8 crc32c:4 | entries | hash[32]
//	entry           length:2 version:1 class:1 outcome:1 flags:1 time:8 [object[16]] [message item] strings
//
// hash is SHA-256(hash of the group before ‖ group header ‖ entries): chain and checksum in one. mark is random for each
// segment, so that no client can put something that looks like a group into a name. Behind the last group the segment
// holds zeros, written ahead: overwriting allocated blocks syncs faster than growing the file, and the zone is the
// journal's reserve on a full disk.
//
// The marker is the last sequence that the store has durably committed. At open only intents after it may be missing
// from the store; a store that lacks an older one was rolled back.
//
// # Segments, checkpoints, archive
//
// A segment ends at a size or an age; the event after that begins the next. Beside each segment, NNNNNNNN.checkpoints
// holds checkpoints: small texts, signed with Ed25519, that say where the chain was at a time. Whoever keeps one
// elsewhere needs only the public key to find that anything before was changed, dropped or cut off (VerifySigned).
// A Keeper signs as the journal grows, and takes old segments away if it is told to: first the store allows it and
// records it, then a checkpoint says so, then the file is copied, read back, and removed, oldest first.
//
// # Invariants
//
//	J1  An event whose Append returned nil is on disk, and stays.
//	J2  Sequences start after the oldest segment's base (0 for a journal that is there from its beginning) and have no
//	    gap; a group has at least one entry. Segments go missing from the front only.
//	J3  A group is written only after the one before is durable. So whatever follows a damaged group proves that the
//	    damage is no torn write.
//	J4  Markers never run backwards and never name a sequence that was not durable before.
//	J5  After a failed write or sync nothing more is written until the journal was opened, and so checked, anew.
//	J6  The journal never holds key material.
//	J7  A checkpoint is signed only for what is durable. So one that names more than the journal holds proves that the
//	    journal was put back to an earlier moment.
//	J8  No segment is removed beyond the newest checkpoint, nor before its copy, if one is wanted, was synced and read.
//
// # What is trusted
//
// That fdatasync tells the truth, and that an interrupted write changes no byte outside its range: the last group
// shares a sector with the next. The chain has no key: who can write the folder can rewrite it from some group on, or
// cut whole groups off its end, or whole segments off its front. That shows only against what is kept elsewhere; the
// store keeps both, sealed, in each commit: the Position that it has reached (HashAt compares) and the sequence up to
// which segments may have been archived (Base compares).
package audit

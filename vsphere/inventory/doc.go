// Package inventory reads a vCenter once and says which machine, disk, snapshot
// and host uses which key.
//
// Why: vCenter never tells a key server that a key is no longer needed, and its
// own interface does not show which machine uses which key. What answers both
// is in many places of its API: the home of a machine, each disk and all that
// the disk is built on, each snapshot, each host. This package reads them all,
// in one pass, into a Snapshot: plain data, by which package policy decides and
// from which the key server is told what is in use.
//
// # One pass
//
// Two container views (the tree, and the machines), read by a property
// collector of the reader's own in pages of 500: a collector that is shared
// with other work of the same session hangs. Tags and storage policies come in
// chunks of 1000. A watch is on light fields alone: devices in a filter are
// compared by vCenter at each change of anything. It re-reads what changed.
//
// # What is not known is said
//
// A machine whose configuration cannot be read (locked, or on storage that is
// away) is a fact of the snapshot, no failure of the pass; so is a host that
// does not answer. Each makes the snapshot partial, with a reason. What has
// nothing to do with keys (tags, storage policies, running tasks) and could not
// be read is in Unread: the report is complete all the same, and whoever would
// judge by it must not.
//
// # What it cannot see
//
// Machines that are not registered, disks that no machine has, first class
// disks, templates in a content library, and backups. A key that nothing in a
// complete snapshot uses may still open one of those: an orphan is for a person
// to judge. Key material never comes here.
//
// # What is trusted
//
// vCenter, and the account's right to see: an object that the account must not
// see is not there for it. Docs say which privileges that takes.
package inventory

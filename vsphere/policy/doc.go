// Package policy decides what is to be done so that machines are encrypted as a
// file says, and what must not be done now.
//
// Why apart from the doing: whoever encrypts machines can make them unreadable,
// and the mistakes are in the judgement, not in the calls. So all judgement is
// in two functions, Diff and Guard, that have no context, no client and no
// clock: what is (an inventory.Snapshot), what is wanted (a Policy) and what
// else is known (Facts) go in, and a Plan comes out. The same in gives the same
// out, to the byte. One test has a row for each situation.
//
//	policy.go   what the file says, read strictly, each mistake with its line
//	match.go    which machines a rule is about
//	diff.go     what each machine lacks, and what of its own is in the way
//	guard.go    what of all else is in the way: backups, windows, limits, …
//	reason.go   every reason by name, and what to do about it
//	render.go   a plan for people and for programs
//	apply.go    does what a plan says, and nothing else
//	ledger.go   what was begun: each step is on disk before the next
//
// # What it never does
//
// It never decrypts, and never destroys or removes a key: there is no such
// operation here, whatever the file says. It powers a machine off only where
// the file says onPoweredOn: shutdown, and only in a maintenance window. It
// never encrypts, nor recrypts, a machine that keys depend on: vCenter's own, and
// those of the key server and of all servers of the key providers, found by address
// and by BIOS UUID. If vCenter's or the key server's can neither be found nor is
// said to be elsewhere, nothing is encrypted at all. A machine that cannot be
// judged is held, by a named reason, and never guessed.
//
// # Doing it
//
// An Applier judges nothing. Of each job the intent, the key and the task are
// in the Ledger, synced, before the next step; what was done is read back from
// every disk. A key belongs to one machine from before it is used: a try that
// failed or was killed leaves it to the next, so that none is orphaned. So is
// that a machine was shut down, and is to be started again. Only what was planned
// is retried, by planning it anew.
//
// # What is trusted
//
// The file, the snapshot and the facts. Names and tags are set by whoever may
// set them in vCenter: who may tag a machine may have it encrypted, and can
// leave it out. Protect names what must stay as it is even so.
package policy

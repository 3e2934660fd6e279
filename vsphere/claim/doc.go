// Package claim lets one agent at a time change things at a vCenter: it holds a
// lease, and the lease is in the vCenter itself.
//
// Why: two agents undo each other's work, and give one machine two keys. A lock
// on a folder keeps a second agent off one machine; those on two machines share
// nothing but the vCenter.
//
// # Where it is
//
// In the definition of a custom attribute of folders, keyreeve.agent, and its
// value on the root folder: who holds the lease, and until when. Anybody who
// opens the vCenter sees it. It takes the privileges Global.ManageCustomFields
// and Global.SetCustomField; reading it takes none that a reader has not.
//
// The value alone would be no lease, since the last writer of a value wins and
// the others do not hear of it. The definition is one: vCenter refuses a second
// one of the same name, gives each a number that it never uses again, and
// refuses to write by a number that is gone. So
//
//	to claim is    to make the definition, write the value, and look again
//	to renew is    to write by the number
//	to release is  to remove the definition by the number
//	to inherit is  to remove what has ended by its number, and then to claim
//
// and one who is late, however late, only finds its number gone.
//
// # What it promises
//
// While a Claim says that it is held, no other one says so. That rests on
// vCenter carrying out these calls one after the other; if it did let two make
// the definition at once, each would see the other one and both would yield.
//
// Time is vCenter's for all: the clocks of agents do not matter, only that they
// run at about the same speed. A holder gives up at nine tenths of its lease,
// which leaves room for that, and for work to end. A vCenter whose clock is set
// forward by more ends leases early.
//
// # What it cannot promise
//
// vCenter does not ask about the lease when it is told to change something. A
// call that was under way when the lease was lost is carried out. Keep ends the
// context of the work; what vCenter has begun goes on. Where it matters, a step
// carries the version of what it changes, and fails if that is another.
//
// A person who takes over, or removes the attribute, overrules all of this: the
// old holder hears of it at its next look, up to a twentieth of the lease later.
//
// A copy of an agent, with its folder and host name, is taken for the same one.
package claim

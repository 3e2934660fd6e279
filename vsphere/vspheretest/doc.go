// Package vspheretest is a vCenter for tests whose key management is real:
// govmomi's simulator (vcsim), with everything about encryption replaced by an
// overlay that opens KMIP connections over mutual TLS to the key servers that
// it was given, and behaves as vCenter does towards them.
//
// Why: on the plain simulator no key server is ever asked anything. Its status
// is always green, keys are random identifiers, bogus ones are taken, and the
// calls that make trust do not exist. A test that passes there shows nothing
// about keys; one that passes here has used a key that the server really holds.
//
// # How it is put together
//
// The simulator's own objects stay as they are, since it casts to them
// everywhere. Registry.Handler points a call that the overlay answers to an
// object of the overlay's (dispatch.go), and all others fall through. Nothing
// here holds one of the simulator's locks while a key server is asked: a server
// that hangs must not hang the reading of a machine.
//
//	dispatch.go    which call goes where
//	provider.go    key providers, their servers, the certificates of both sides
//	manager*.go    CryptoManagerKmip, call by call
//	updates*.go    waiting for updates, of thousands of machines
//	conversation.go  what vCenter says to a key server, in its order
//	connector.go   who speaks KMIP; ours by default, another client in tests
//	network.go     the way to the servers, with a firewall and faults
//	vm*.go         machines: create, reconfigure, clone, power, unlock
//	adopt.go       a vCenter in place of one that was lost
//	host.go        what hosts remember, and what they forget at a reboot
//	policy.go      storage policies
//
// # What is trusted
//
// Nothing here protects anything: it is a test double. Keys that hosts
// remember are kept in internal/secret and cleared all the same, so that a
// search through a process's memory finds what the server leaks and not this.
//
// What is vcsim's, what is ours, and what is a guess about the real one stands
// row by row in docs/testing.md.
package vspheretest

// Package recovery gets encrypted machines back after a vCenter was lost: it
// keeps what is needed for that, says of each locked machine why it is locked,
// and unlocks those that can be.
//
// Why: an encrypted machine names its key by the key provider's name and the
// key's identifier. A new vCenter in place of a lost one has no provider of
// that name, so that it locks every encrypted machine that is registered with
// it; and what the name was stood in the lost vCenter alone.
//
// # Contract
//
// A Backup holds what a new vCenter has to be told: names and addresses, the
// uses of keys, the settings. No secret is in it. What of a machine could not
// be read is carried over from the backup before, so that one made when it is
// too late does not forget what the last good one knew.
//
// Diagnose and Check, pure functions, hold all judgement. Which keys a locked
// machine names is taken from its configuration, else from a Backup, else from
// what vCenter wrote on the keys in the key server; it is said from which. A
// key that the key server does not give is named with the command that brings
// it back, and its machine is not tried. Check refuses what would make a
// provider under another name than the machines', or one that does not see
// their keys.
//
// Unlocker calls CryptoUnlock_Task, which gives hosts keys and changes nothing
// of a machine, looks afterwards whether the machine is unlocked, and ends when
// the key provider does not work any more. All of it may be run again at any
// time, after a kill too: it begins with what is.
//
// # What is trusted
//
// vCenter for what it says of its machines. A Backup is a file that somebody
// may have written: what it says of keys is shown and compared, and sends
// nobody anywhere, since addresses and trust come from the settings and the
// key server alone. Attributes of keys are what clients wrote: they are a hint
// for people.
//
// vSphere Web Services API 6.7 and later; 6.5 has no CryptoUnlock_Task, and
// unlocks at power-on.
package recovery

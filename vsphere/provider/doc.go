// Package provider keeps vCenter's key providers true: their names and servers,
// the trust in both directions, the default, and certificates that are renewed
// before they end; and proves with a key of its own that keys can be had.
//
// Why: by hand this is five wizards, done again at each renewal of a
// certificate, and the errors on the way name nothing. A mistake costs machines:
// a provider that gets another name locks every machine encrypted under the old
// one at its next start.
//
// # Contract
//
// Observe reads what vCenter has; Diff, a pure function, says what is to be done
// and why, and what it refuses; Apply does it. The three may be run again at
// any time, after a kill too. A server that vCenter knows under another alias is
// taken over and not added twice. Providers that the desired state does not name
// are left alone.
//
// Never done: a provider is not renamed; one whose keys are in use, or of which
// that is not known, is not removed; a default goes only when its successor is
// named; a certificate of a key server is not uploaded before it was compared
// with a CA or a fingerprint that was given, and with what the key server says
// of itself over the admin API. There is no trust on first use.
//
// Rotate changes a key server's certificate in one move, and takes it back when
// a step fails. Canary.Prove makes, fetches, compares and destroys a key: that
// vCenter shows green says only that the server answers.
//
// # What is trusted
//
// vCenter, for what it says of itself, over the session that the caller made.
// Not the key server as vCenter sees it: whoever stands between the two can show
// a certificate of his own, so that it is compared first. Texts of vCenter's
// are made harmless before they are printed.
//
// Passwords are secret.Bytes up to govmomi, whose types hold strings: a copy of
// a server's password, and with Pair of the client's private key, is in the
// request that is sent and cannot be cleared. CSR, the default, has no such
// copy: the key never leaves vCenter.
//
// vSphere Web Services API 6.5 to 9.0, CryptoManagerKmip; what differs between
// them stands in docs/vsphere.md.
package provider

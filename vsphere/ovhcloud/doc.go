// Package ovhcloud keeps one entry of OVHcloud's Hosted Private Cloud true: the
// key server that its firewall lets a vCenter reach, with the SHA-1 thumbprint
// of that server's certificate.
//
// Why: before a key server is registered there (/dedicatedCloud/{service}/
// vmEncryption/kms) a vCenter at OVHcloud reaches it on no port at all, and at
// each change of the server's certificate the thumbprint has to be told anew.
// A guide of the vendor's writes another path (/dedicatedCloud/{service}/kms);
// it does not exist.
//
// # Contract
//
// Observe reads what is there; Diff, a pure function, says what is to be done
// and why; Apply does it and follows each task of OVHcloud's to its end. The
// three may be run again at any time, after a kill too: what was begun is waited
// for, what is done already is not done again. An entry that a person made for
// the same address is taken over as it is. An entry is removed only when its
// address is named in Desired.Replaces and the new one is delivered, as OVHcloud
// says at that moment: there is no moment at which no address is open.
//
// What OVHcloud cannot take (a name, IPv6, a port other than 5696) is refused
// before any call is made.
//
// A call that reads is tried again after network errors, 429 and 5xx. One that
// changes something is tried again only when OVHcloud cannot have begun with it;
// otherwise its error wraps ErrUnknownOutcome, and Reconcile looks again.
//
// # What is trusted
//
// OVHcloud's answers, for what they say about OVHcloud; their texts are made
// harmless before they are printed, and their length is bounded. Redirects are
// refused: the headers that identify an application would go along.
//
// Secrets are in secret.Bytes up to go-ovh, which wants strings: a Client holds
// copies of the application secret, the consumer key and the access token that
// cannot be cleared, and so does each request in its headers. The OAuth2 client
// secret becomes a string for the moment in which a token is asked for. None
// of them is logged or in an error.
package ovhcloud

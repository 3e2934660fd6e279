// Package session is the agent's connection to one vCenter: logged in, kept
// alive, logged in again when vCenter has forgotten it, and never faster than
// it was told.
//
// Why: what reads and changes a vCenter for months meets restarts, sessions
// that ended and networks that are away. None of that is an end here: a call
// whose session is gone is made again after a new login, and Err says how the
// connection is. What a session owns (views, property collectors) is gone with
// it; a pass that used some fails and is made again as a whole.
//
// # What is trusted
//
// The vCenter whose certificate has the fingerprint that was given, or that a
// given CA signed for its name; never the first one that answers, and never
// this machine's CAs: whoever gets the password may use everything that the
// account may.
//
// The password is in an internal/secret up to govmomi, which wants a string:
// each login makes one that cannot be cleared. It is not logged and in no error.
package session

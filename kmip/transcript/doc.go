// Package transcript has KMIP messages and conversations as text: a notation of
// messages that is read and written ([Message], [Format]), conversations with a
// server in it that are played to the byte ([Transcript]), and what prints a
// message for people ([Print]).
//
// It is a package of its own so that there is one notation: what the server
// records is what tests play. The conversations that ship are in
// kmip/testdata/transcripts; each says where it is known from.
//
// Messages hold keys and passwords. What is written for others to read goes
// through the redaction of this package first, which takes for secret whatever
// it does not know to be harmless. The text that is parsed is trusted as far as
// it cannot crash the reader.
package transcript

// Package kmip holds the Key Management Interoperability Protocol, versions
// 1.0 to 1.4, as types: messages, payloads, attributes and what came with
// which version. Server and client share it, so that one side cannot drift
// from the other; package ttlv below it knows the encoding only.
//
// Reading is zero-copy. Parsed messages and payloads hold views into the
// buffer they were read from: they are valid as long as it is left alone, and
// clearing it clears every password and key in it. Slices inside the types are
// reused by the next Parse or Decode into the same value, so a server that
// keeps one value a connection reads requests without allocating.
//
// Nothing read is trusted. Bytes from outside go through [ttlv.Check] first;
// the functions here then hold each structure to the specification: fields in
// its order (section 9.1.1.4), none twice, none that the message's version
// does not have, each of its type. What is refused comes back as an [*Error]
// with the Result Reason of section 11 that the peer is to be told. Error
// texts name tags and types, never values of text or byte strings, since those
// may be passwords or keys.
//
// Section numbers in comments are those of the specification 1.4.
package kmip

// Package admin is the admin API: its types, and a client for it.
//
// It is JSON over HTTP, on a unix socket or with TLS. docs/openapi.json describes
// it. Paths begin with /v1; a later version
// may add fields and paths to it, and changes or removes none. What it carries
// are names, certificates and metadata. Key material has no type here, and a
// client's private key is made where it is used, never sent.
//
// Why a package apart from its handlers (admin/adminserver): the command line
// and other programs link this without linking the store.
package admin

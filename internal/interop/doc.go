// Package interop drives the real keyreeve binary with clients and tools that
// are not ours: PyKMIP as Debian ships it and ovh/kmip-go's client (build tag
// interop, make interop), strace and SIGKILL (build tag power, make power).
//
// It holds tests only. What is missing on the machine fails them; nothing here
// is skipped.
package interop

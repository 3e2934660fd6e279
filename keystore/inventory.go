package keystore

import (
	"strings"
	"unicode"
)

// A VCenterID is the instance UUID of a vCenter.
type VCenterID [16]byte

// String returns the 36 characters of the UUID, in lower case.
func (v VCenterID) String() string { return UID(v).String() }

// ParseVCenterID reads the form that String writes, in any case.
func ParseVCenterID(text string) (VCenterID, bool) {
	u, ok := ParseUID([]byte(text))
	return VCenterID(u), ok && u != UID{}
}

// UseKind says what uses a key.
type UseKind uint8

// The kinds.
const (
	UseVM   UseKind = 1 + iota // a virtual machine's home
	UseDisk                    // a disk of one
	UseHost                    // a host's own key
)

var useKinds = [...]string{"?", "vm", "disk", "host"}

// String returns vm, disk or host.
func (k UseKind) String() string {
	if int(k) < len(useKinds) {
		return useKinds[k]
	}
	return useKinds[0]
}

// A KeyUse is one virtual machine, disk or host that uses a key.
type KeyUse struct {
	Kind     UseKind
	Name     string // of the machine, a disk's too, or of the host
	Disk     string // the disk's label
	UUID     string // instance UUID of the machine, hardware UUID of the host
	BIOS     string // BIOS UUID of the machine
	Provider string // the key provider's name in vCenter
}

// A ReportEntry says that a key is in use. Key is what vCenter calls the key;
// what is no Unique Identifier of ours can be reported too.
type ReportEntry struct {
	Key string
	KeyUse
}

// An InventoryReport is what an agent has seen in its vCenter at one moment.
type InventoryReport struct {
	VCenter   VCenterID
	Agent     string // as the connection established it, not as the report says
	Instance  UID    // of the agent's installation: a new one counts from 1 again
	Number    uint64 // one more than that of the agent's last report
	Time      int64  // of the agent's clock when it began to look, seconds
	Partial   []string
	Providers []string // key providers of the vCenter for which this store answers
	Digest    [32]byte // of header and entries: the same number with another one is no repetition
	Entries   []ReportEntry
}

// Bounds of a report. Names beyond them are cut, not refused: an odd name must
// not leave a key unguarded.
const (
	maxReportEntries = 500_000
	maxReportNumber  = 1 << 53 // what every JSON reader keeps exact
	maxReportTexts   = 64      // reasons, and providers
	maxUseText       = 256     // bytes of one name
)

// Taken says how a report was taken.
type Taken struct {
	Again   bool     // it had been taken before; nothing was done
	Reasons []string // why it releases nothing; empty: it is complete
	VCenter VCenterInfo
}

// VCenterInfo is what the store knows of a vCenter.
type VCenterInfo struct {
	ID       VCenterID
	Name     string   // what the operator calls it
	Agent    string   // the only one that may report
	Groups   []string // whose keys it uses
	Assigned int64    // when an operator named the agent; seconds, as all times here

	Number    uint64 // of the last report; 0: none yet
	Time      int64  // of the last report, by the agent's clock
	Received  int64  // by the store's clock
	Complete  int64  // when the last complete one was received; 0: never
	Reasons   []string
	Entries   uint64 // of the last report
	Providers []string

	Keys      uint64 // in use
	Waiting   uint64 // in use until a person confirms that they are not
	Missing   uint64 // named by the last report, and not in the store
	Destroyed uint64 // named by the last report, and destroyed
	Foreign   uint64 // named by the last report, and of groups that are not Groups
	Lost      []string
	Removing  bool // somebody began to remove it
}

// A UsedKey is a key that a vCenter uses.
type UsedKey struct {
	Key     UID
	VCenter VCenterID
	Total   uint64   // uses
	Uses    []KeyUse // the first of them
	Absent  bool     // the last complete report did not name it; it is not released yet
}

// clean makes a name that somebody in vCenter chose fit for logs and messages.
func clean(s string) string {
	if len(s) > maxUseText {
		s = s[:maxUseText]
	}
	s = strings.ToValidUTF8(s, "\ufffd")
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '\ufffd'
		}
		return r
	}, s)
}

func (u *KeyUse) clean() {
	for _, text := range [...]*string{&u.Name, &u.Disk, &u.UUID, &u.BIOS, &u.Provider} {
		*text = clean(*text)
	}
}

func cleanAll(texts []string) []string {
	if len(texts) > maxReportTexts {
		texts = texts[:maxReportTexts]
	}
	out := make([]string, len(texts))
	for i, text := range texts {
		out[i] = clean(text)
	}
	return out
}

package audit

// What the tests need to make and take apart entries and groups.
var (
	AppendEntry = appendEntry
	DecodeEntry = decodeEntry
	HeaderSum   = headerSum
)

const (
	MaxBuffered   = maxBuffered
	SegmentHeader = segmentHeader
	GroupHeader   = groupHeader
	GroupHash     = groupHash
	OpClosed      = opClosed
	OpDropped     = opDropped
	OpTorn        = opTorn
)

// Sign signs whatever it is given.
func Sign(s *Signer, c Checkpoint) Checkpoint { return s.sign(c) }

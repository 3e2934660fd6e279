package transcript

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// What a recording can leave out, beside keys and passwords, which no recording
// ever has.
const (
	Names      = "names"      // of objects, groups and what is written about them
	Attributes = "attributes" // values of custom attributes (x-…)
	Usernames  = "usernames"  // of users, devices and clients
	Addresses  = "addresses"  // of the network
)

// Redactions are all of them.
var Redactions = []string{Names, Attributes, Usernames, Addresses}

// A session turns the messages of one recording into notation. What may not be
// shown is replaced by a made-up value of its kind, the same one each time, so
// that a Locate by a name still finds what was created under it. What the server
// chose becomes a placeholder.
//
// It belongs to one goroutine at a time.
type session struct {
	hidden []string // of Redactions
	now    func() time.Time
	began  time.Time
	key    []byte // of the sums that secrets are known by; never written

	texts   map[string]string            // kind and original → what stands for it
	secrets map[[sha256.Size]byte]string // sum → what stands for it
	dates   map[dated]bool               // that clients have sent
	foreign map[string]bool              // identifiers that no answer gave before a client named them
	count   map[string]int               // made-up values so far, by kind

	answer bool // of the server's is the message that is being spelled
	before bool // it is about an object that was made before the recording began
}

// dated is a date and what it is of.
type dated struct {
	of      ttlv.Tag
	name    string // of an attribute without a tag
	seconds int64
}

func newSession(hidden []string, now func() time.Time) *session {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails
	return &session{
		hidden: hidden, now: now, began: now(), key: key,
		texts: map[string]string{}, secrets: map[[sha256.Size]byte]string{}, dates: map[dated]bool{}, foreign: map[string]bool{}, count: map[string]int{},
	}
}

// message spells a message that has passed ttlv.Check.
func (s *session) message(message []byte, answer bool) (string, error) {
	it, err := ttlv.Parse(message)
	if err != nil {
		return "", err
	}
	s.answer, s.before = answer, false
	var b strings.Builder
	format(&b, it, 0, place{}, s.spell)
	return b.String(), nil
}

func (s *session) spell(it ttlv.Item, p place) string {
	custom := it.Tag() == kmip14.TagAttributeValue && p.custom()
	switch {
	case p.isSecret(it):
		return s.secret(it)
	case it.Type() == ttlv.TextString:
		return s.text(it, p)
	case custom && it.Type() != ttlv.Boolean && it.Type() != ttlv.Enumeration && s.hides(Attributes):
		return s.standIn("number", hex.EncodeToString(it.Value()), func(n int) string { return strconv.Itoa(n) })
	case it.Type() == ttlv.DateTime:
		return s.date(it, p)
	}
	return formatValue(it, p)
}

func (s *session) hides(what string) bool { return slices.Contains(s.hidden, what) }

// standIn returns what stands for a value, and makes it up at the first time.
func (s *session) standIn(of, original string, makeUp func(n int) string) string {
	id := of + "\x00" + original
	if known, ok := s.texts[id]; ok {
		return known
	}
	s.count[of]++
	s.texts[id] = makeUp(s.count[of])
	return s.texts[id]
}

// pseudonym is a text such as "name-3".
func (s *session) pseudonym(of, original string) string {
	return s.standIn(of, original, func(n int) string { return fmt.Sprintf("%s-%d", of, n) })
}

func (s *session) text(it ttlv.Item, p place) string {
	original := string(it.Value())
	hide := func(what string, of kind) string {
		if !s.hides(what) || original == "" {
			return strconv.Quote(original)
		}
		return strconv.Quote(s.pseudonym(string(of), original))
	}
	switch k := p.kindOf(it.Tag()); k {
	case kindID:
		return s.identifier(original)
	case kindMoment:
		return "$_"
	case kindMessage:
		return s.resultMessage(original)
	case kindName:
		return hide(Names, k)
	case kindUser:
		return hide(Usernames, k)
	case kindAttribute:
		return hide(Attributes, k)
	}
	return strconv.Quote(original)
}

// identifier is a placeholder for what an answer gave. One that a client named
// first is made up: most likely there is no such object. If an answer has it
// after all, the recording began in the middle.
func (s *session) identifier(original string) string {
	if original == "" {
		return `""`
	}
	_, known := s.texts[string(kindID)+"\x00"+original]
	if !known && !s.answer {
		s.foreign[original] = true
	}
	s.before = s.before || s.answer && s.foreign[original]
	if s.foreign[original] {
		return s.standIn(string(kindID), original, func(n int) string { return fmt.Sprintf(`"00000000-0000-7000-8000-%012d"`, n) })
	}
	return "$" + s.pseudonym(string(kindID), original)
}

// resultMessage is shown only where no name is hidden that it might quote.
func (s *session) resultMessage(text string) string {
	if len(s.hidden) > 0 || !s.answer {
		return s.unknownText()
	}
	for _, w := range strings.FieldsFunc(text, func(r rune) bool { return r != '-' && !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		if _, ok := s.texts[string(kindID)+"\x00"+w]; ok {
			return s.unknownText() // another one when it is played
		}
	}
	return strconv.Quote(text)
}

func (s *session) unknownText() string {
	if s.answer {
		return "$_"
	}
	return `"[redacted]"`
}

// secret is, from a client, a made-up value of the same length, and the same
// again when the server gives it back; from the server, a placeholder.
func (s *session) secret(it ttlv.Item) string {
	switch it.Type() {
	case ttlv.ByteString, ttlv.BigInteger, ttlv.TextString:
	default:
		if s.answer {
			return "$_"
		}
		return "0"
	}
	n := len(it.Value())
	if n == 0 {
		return map[bool]string{true: `""`}[it.Type() == ttlv.TextString]
	}
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte{byte(it.Type())})
	mac.Write(it.Value())
	sum := [sha256.Size]byte(mac.Sum(nil))
	if known, ok := s.secrets[sum]; ok {
		return known
	}
	s.count["secret"]++
	s.secrets[sum] = s.makeUp(it.Type(), n, s.count["secret"])
	return s.secrets[sum]
}

func (s *session) makeUp(t ttlv.Type, length, n int) string {
	if s.answer {
		return fmt.Sprintf("$secret-%d[%d]", n, length)
	}
	if t == ttlv.TextString {
		return strconv.Quote(fmt.Sprintf("secret-%d", n))
	}
	b := make([]byte, length)
	defer secret.Clear(b) // it is of no use to anybody, and looks like a key
	_, _ = rand.Read(b)   // never fails
	if t == ttlv.BigInteger {
		b[0] &= 0x7f
	}
	return hex.EncodeToString(b)
}

// date is what a client sent, or a placeholder where the server has taken a
// moment of this recording.
func (s *session) date(it ttlv.Item, p place) string {
	seconds, _ := it.DateTime()
	sent := dated{it.Tag(), "", seconds}
	if it.Tag() == kmip14.TagAttributeValue {
		sent.of, sent.name = p.attribute, p.name
	}
	if !s.answer && it.Tag() != kmip14.TagTimeStamp {
		s.dates[sent] = true
	}
	when := time.Unix(seconds, 0)
	during := when.After(s.began.Add(-time.Minute)) && when.Before(s.now().Add(time.Minute))
	if s.answer && !s.dates[sent] && during {
		return "$_"
	}
	return formatValue(it, p)
}

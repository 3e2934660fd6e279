package audit_test

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyreeve/keyreeve/audit"
)

const first = "journal/00000001.log"

// pieces is a segment taken apart.
type pieces struct {
	header string
	groups []string
	rest   string
}

func takeApart(content string) pieces {
	p := pieces{header: content[:audit.SegmentHeader], rest: content[audit.SegmentHeader:]}
	for len(p.rest) > audit.GroupHeader && p.rest[0:8] == p.header[64:72] {
		n := audit.GroupHeader + int(binary.BigEndian.Uint32([]byte(p.rest[8:12]))) + audit.GroupHash
		p.groups, p.rest = append(p.groups, p.rest[:n]), p.rest[n:]
	}
	return p
}

func (p pieces) String() string { return p.header + strings.Join(p.groups, "") + p.rest }

// written returns a closed journal of n groups in one segment, and the positions after them. Closing adds a group.
func written(t *testing.T, n int) (map[string]string, []audit.Position) {
	t.Helper()
	d := newDisk()
	cfg := large(d)
	j := mustOpen(t, cfg)
	var ends []audit.Position
	for i := range n {
		ends = append(ends, mustAppend(t, j, fmt.Sprintf("client %d", i)))
		j.SetCommitted(ends[i].Seq)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return d.snapshot(), append(ends, j.End())
}

// large has one segment for all that these tests write, with a short zone.
func large(d *disk) audit.Config {
	cfg := small(d)
	cfg.SegmentBytes = 4096
	return cfg
}

func with(m map[string]string, name, content string) map[string]string {
	m = maps.Clone(m)
	m[name] = content
	return m
}

// mustRefuse checks that Open and Verify fail with one of the errors, and that Open writes nothing.
func mustRefuse(t *testing.T, what string, m map[string]string, want ...error) {
	t.Helper()
	d := restore(m)
	_, openErr := audit.Open(large(d))
	_, verifyErr := audit.Verify(large(d))
	for name, err := range map[string]error{"open": openErr, "verify": verifyErr} {
		if !slices.ContainsFunc(want, func(w error) bool { return errors.Is(err, w) }) {
			t.Errorf("%s: %s: got %v, want one of %v", what, name, err, want)
		}
	}
	if diff := cmp.Diff(m, d.snapshot()); diff != "" || len(d.steps) != 0 {
		t.Errorf("%s: the disk was changed, steps %v:\n%s", what, d.steps, diff)
	}
}

// mustCut checks that Open leaves out what follows end, says so and changes nothing (who opens may find that the journal
// is not the store's, and refuse it), and that the first Append cuts it off and goes on from there, also after the next
// power cut.
func mustCut(t *testing.T, what string, m map[string]string, end audit.Position) {
	t.Helper()
	d := restore(m)
	j, err := audit.Open(large(d))
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if j.End() != end {
		t.Fatalf("%s: end %d, want %d", what, j.End().Seq, end.Seq)
	}
	if j.Torn() == 0 {
		t.Errorf("%s: nothing was reported", what)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m, d.snapshot()); diff != "" || len(d.steps) != 0 {
		t.Fatalf("%s: opening and closing changed the disk, steps %v:\n%s", what, d.steps, diff)
	}
	if j, err = audit.Open(large(d)); err != nil {
		t.Fatalf("%s: opening again: %v", what, err)
	}
	p := mustAppend(t, j, "next")
	d = d.reboot(func() bool { return false })
	_ = j.Close()
	if j, err = audit.Open(large(d)); err != nil {
		t.Fatalf("%s: opening after a power cut: %v", what, err)
	}
	if j.Torn() != 0 || j.End() != p {
		t.Errorf("%s: opening after a power cut: torn %d, end %d; want 0, %d", what, j.Torn(), j.End().Seq, p.Seq)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err := audit.Verify(large(d)); err != nil || r.Torn != 0 || p.Seq != end.Seq+1 {
		t.Errorf("%s: afterwards: %+v, %v", what, r, err)
	}
}

// Every way in which a power cut can leave the last group: the rest of it zero, garbage, or not there.
func TestTornAtEveryByteIsCut(t *testing.T) {
	m, ends := written(t, 2)
	p := takeApart(m[first])
	last := len(p.groups) - 1
	before, group := pieces{p.header, p.groups[:last], ""}.String(), p.groups[last]
	garbage := strings.Repeat("\xa5garbage", (len(group)+len(p.rest))/8+1)
	for n := range len(group) {
		head := group[:n]
		if n > 0 { // with nothing of the group there, the segment ends cleanly
			mustCut(t, fmt.Sprint("zeros from byte ", n), with(m, first, before+head+strings.Repeat("\x00", len(group)-n)+p.rest), ends[last-1])
			mustCut(t, fmt.Sprint("file ends at byte ", n), with(m, first, before+head), ends[last-1])
		}
		mustCut(t, fmt.Sprint("garbage from byte ", n), with(m, first, (before + head + garbage)[:len(m[first])]), ends[last-1])
		mustCut(t, fmt.Sprint("only byte ", n, " changed"), with(m, first, before+flip(group, n)+p.rest), ends[last-1])
		if n%sector == 0 {
			mustCut(t, fmt.Sprint("first part missing to byte ", n), with(m, first, before+strings.Repeat("\x00", n+1)+group[n+1:]+p.rest), ends[last-1])
		}
	}
}

func flip(s string, i int) string {
	b := []byte(s)
	b[i] ^= 0x41
	return string(b)
}

func TestCleanEndIsNotTorn(t *testing.T) {
	m, ends := written(t, 2)
	p := takeApart(m[first])
	for what, rest := range map[string]string{"zone": p.rest, "no zone": "", "odd zone": p.rest[:17]} {
		j, err := audit.Open(large(restore(with(m, first, pieces{p.header, p.groups, rest}.String()))))
		if err != nil || j.Torn() != 0 || j.End() != ends[2] {
			t.Fatalf("%s: %v", what, err)
		}
		_ = j.Close()
	}
}

// A changed byte anywhere before the last group is damage, not a torn write.
func TestFlipOfEveryByteIsFound(t *testing.T) {
	m, _ := written(t, 3)
	p := takeApart(m[first])
	last := len(m[first]) - len(p.rest) - len(p.groups[len(p.groups)-1])
	for i := range last {
		mustRefuse(t, fmt.Sprint("byte ", i), with(m, first, flip(m[first], i)), audit.ErrCorrupt, audit.ErrVersion)
	}
}

func TestSurgeryOnGroupsIsFound(t *testing.T) {
	m, _ := written(t, 4)
	other, _ := written(t, 4)
	p, o := takeApart(m[first]), takeApart(other[first])
	pick := func(order ...int) string {
		q := pieces{header: p.header, rest: p.rest}
		for _, i := range order {
			q.groups = append(q.groups, p.groups[i])
		}
		return q.String()
	}
	if pick(0, 1, 2, 3, 4) != m[first] {
		t.Fatal("putting the pieces together does not give the segment")
	}
	foreign := pieces{p.header, append(slices.Clone(p.groups[:2]), o.groups[2]), ""}.String() + strings.Join(p.groups[3:], "") + p.rest
	for what, content := range map[string]string{
		"first dropped":         pick(1, 2, 3, 4),
		"middle dropped":        pick(0, 1, 3, 4),
		"last but one dropped":  pick(0, 1, 2, 4),
		"two dropped":           pick(0, 1, 4),
		"swapped":               pick(0, 2, 1, 3, 4),
		"last two swapped":      pick(0, 1, 2, 4, 3),
		"doubled":               pick(0, 1, 1, 2, 3, 4),
		"reversed":              pick(4, 3, 2, 1, 0),
		"only the last":         pick(4),
		"from another journal":  foreign,
		"middle zeroed":         pieces{p.header, []string{p.groups[0], strings.Repeat("\x00", len(p.groups[1])), p.groups[2]}, p.rest}.String(),
		"shortened in between":  pieces{p.header, []string{p.groups[0], p.groups[1][:40], p.groups[2]}, p.rest}.String(),
		"something in between":  pieces{p.header, []string{p.groups[0], "x", p.groups[1]}, p.rest}.String(),
		"empty file":            "",
		"half a header":         m[first][:60],
		"another file entirely": strings.Repeat("not a journal. ", 300),
	} {
		mustRefuse(t, what, with(m, first, content), audit.ErrCorrupt)
	}
}

// What no chain without a key can find shows against the store's position: groups cut off the end, and a rewritten rest.
func TestPositionFindsWhatTheChainCannot(t *testing.T) {
	m, ends := written(t, 3)
	p := takeApart(m[first])
	forged := slices.Clone(p.groups)
	prev := ends[0].Hash
	for i := 1; i < len(forged); i++ {
		g := []byte(strings.Replace(forged[i], "client 1", "Client 1", 1))
		prev = sha256.Sum256(append(prev[:], g[:len(g)-audit.GroupHash]...))
		forged[i] = string(append(g[:len(g)-audit.GroupHash], prev[:]...))
	}
	for what, q := range map[string]pieces{
		"tail cut off": {p.header, p.groups[:2], strings.Repeat("\x00", 100)},
		"rewritten":    {p.header, forged, p.rest},
	} {
		j, err := audit.Open(large(restore(with(m, first, q.String()))))
		if err != nil || j.Torn() != 0 {
			t.Fatalf("%s: the test's forgery is not a valid journal: %v", what, err)
		}
		if hash, ok, err := j.HashAt(ends[2].Seq); err != nil || (ok && hash == ends[2].Hash) {
			t.Errorf("%s: HashAt(%d) agrees with the store, %v", what, ends[2].Seq, err)
		}
		_ = j.Close()
	}
}

// Groups whose hashes are right but whose content breaks the rules: a forger, or a bug of ours.
func TestRightHashDoesNotMakeItValid(t *testing.T) {
	m, ends := written(t, 2)
	p := takeApart(m[first])
	n := len(p.groups) - 1
	for what, edit := range map[string]func(g []byte){
		"sequence repeated":       func(g []byte) { binary.BigEndian.PutUint64(g[16:], ends[n-1].Seq) },
		"sequence left out":       func(g []byte) { binary.BigEndian.PutUint64(g[16:], ends[n-1].Seq+2) },
		"marker runs back":        func(g []byte) { binary.BigEndian.PutUint64(g[24:], 0) },
		"marker names the future": func(g []byte) { binary.BigEndian.PutUint64(g[24:], ends[n].Seq) },
		"no entries":              func(g []byte) { binary.BigEndian.PutUint32(g[12:], 0) },
	} {
		g := []byte(p.groups[n])
		edit(g)
		binary.BigEndian.PutUint32(g[audit.GroupHeader-4:], audit.HeaderSum(g))
		prev := ends[n-1].Hash
		sum := sha256.Sum256(append(prev[:], g[:len(g)-audit.GroupHash]...))
		copy(g[len(g)-audit.GroupHash:], sum[:])
		q := pieces{p.header, append(slices.Clone(p.groups[:n]), string(g)), p.rest}
		mustRefuse(t, what, with(m, first, q.String()), audit.ErrCorrupt)
	}
}

// segments returns a journal of several segments.
func segments(t *testing.T) map[string]string {
	t.Helper()
	d := newDisk()
	j := mustOpen(t, small(d))
	for i := range 16 {
		mustAppend(t, j, fmt.Sprint("client ", i), "and another")
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	m := d.snapshot()
	if len(m) < 4 {
		t.Fatalf("only %d segments", len(m))
	}
	return m
}

func name(n int) string { return fmt.Sprintf("journal/%08d.log", n) }

func TestSurgeryOnSegments(t *testing.T) {
	m := segments(t)
	n := len(m)
	without := func(i int) map[string]string {
		c := maps.Clone(m)
		delete(c, name(i))
		return c
	}
	swapped := with(with(m, name(n), m[name(n-1)]), name(n-1), m[name(n)])
	other := segments(t)
	last := takeApart(m[name(n-1)])
	last.groups = last.groups[:len(last.groups)-1]
	for what, broken := range map[string]map[string]string{
		"middle missing":                  without(2),
		"last but one missing":            without(n - 1),
		"last two swapped":                swapped,
		"last of another journal":         with(m, name(n), other[name(n)]),
		"last but one of another":         with(m, name(n-1), other[name(n-1)]),
		"last but one lost its end":       with(m, name(n-1), last.String()),
		"last but one has a torn group":   with(m, name(n-1), m[name(n-1)]+"torn"),
		"last but one emptied":            with(m, name(n-1), m[name(n-1)][:audit.SegmentHeader]),
		"header of last but one changed":  with(m, name(n-1), flip(m[name(n-1)], 100)),
		"header of the last changed":      with(m, name(n), flip(m[name(n)], 45)),
		"a group of last but one changed": with(m, name(n-1), flip(m[name(n-1)], audit.SegmentHeader+60)),
	} {
		mustRefuse(t, what, broken, audit.ErrCorrupt)
	}
}

// Open reads the last two segments; older ones are Verify's.
func TestVerifyReadsAllSegments(t *testing.T) {
	m := segments(t)
	for number := range len(m) {
		file := m[name(number+1)]
		end := len(file)
		if number+1 == len(m) { // its last group may be torn
			p := takeApart(file)
			end -= len(p.rest) + len(p.groups[len(p.groups)-1])
		}
		for i := 0; i < end; i += 3 {
			broken := with(m, name(number+1), flip(file, i))
			if _, err := audit.Verify(small(restore(broken))); !errors.Is(err, audit.ErrCorrupt) && !errors.Is(err, audit.ErrVersion) {
				t.Errorf("segment %d, byte %d: got %v", number+1, i, err)
			}
		}
	}
}

// A disk that cannot be read is no damage, and no reason to cut.
func TestReadErrorIsNotTakenForATornGroup(t *testing.T) {
	m, _ := written(t, 3)
	d := restore(m)
	cfg := large(d)
	for failAt := 1; failAt <= 2; failAt++ {
		cfg.FS = &unreadable{disk: d, failAt: failAt}
		_, err := audit.Open(cfg)
		if !errors.Is(err, syscall.EIO) || errors.Is(err, audit.ErrCorrupt) {
			t.Errorf("read %d: got %v, want EIO alone", failAt, err)
		}
	}
	if len(d.steps) != 0 {
		t.Errorf("the disk was changed: %v", d.steps)
	}
}

// A segment header whose checksum is right but whose marker is older than the groups before it.
func TestMarkerMustNotRunBackAtASegment(t *testing.T) {
	d := newDisk()
	j := mustOpen(t, small(d))
	for i := range 16 {
		j.SetCommitted(mustAppend(t, j, fmt.Sprint("client ", i), "and another").Seq)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	m := d.snapshot()
	for _, number := range []int{2, len(m)} {
		header := []byte(m[name(number)][:audit.SegmentHeader])
		binary.BigEndian.PutUint64(header[48:], 0)
		reseal(header)
		broken := with(m, name(number), string(header)+m[name(number)][audit.SegmentHeader:])
		if _, err := audit.Verify(small(restore(broken))); !errors.Is(err, audit.ErrCorrupt) {
			t.Errorf("segment %d: verify: got %v, want ErrCorrupt", number, err)
		}
		if number == len(m) {
			mustRefuse(t, "marker of the last segment", broken, audit.ErrCorrupt)
		}
	}
}

// reseal makes the checksum of a segment's header right.
func reseal(segment []byte) {
	sum := sha256.Sum256(segment[:audit.SegmentHeader-32])
	copy(segment[audit.SegmentHeader-32:], sum[:])
}

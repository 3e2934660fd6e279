//go:build power

package interop

import (
	"bufio"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	ovh "github.com/ovh/kmip-go"
)

// A call is one system call of the traced server, in the order in which it
// began (began) or returned.
type call struct {
	name, target string
	returned     bool
}

var (
	straceCall   = regexp.MustCompile(`^\d+ +(\w+)\(\d+<(.*?)>(?:[,)].*)?(= -?\d+|<unfinished \.\.\.>)`)
	straceResume = regexp.MustCompile(`^(\d+) +<\.\.\. (\w+) resumed>.*= (-?\d+)`)
)

// traced reads strace's output into begin and return events.
func traced(t *testing.T, path string) []call {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var calls []call
	waiting := map[string]string{} // thread and call → target
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Text()
		thread, _, _ := strings.Cut(line, " ")
		if m := straceResume.FindStringSubmatch(line); m != nil {
			calls = append(calls, call{m[2], waiting[thread+m[2]], !strings.HasPrefix(m[3], "-")})
			continue
		}
		m := straceCall.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		calls = append(calls, call{name: m[1], target: m[2]})
		if m[3] == "<unfinished ...>" {
			waiting[thread+m[1]] = m[2]
		} else {
			calls = append(calls, call{m[1], m[2], !strings.HasPrefix(m[3], "= -")})
		}
	}
	return calls
}

// TestAnswerAfterSync watches the real binary's system calls: each answer to a
// Create begins to be written only after a sync of the journal and, after it,
// a sync of the store have returned.
func TestAnswerAfterSync(t *testing.T) {
	const creates = 20
	s := prepare(t)
	trace := filepath.Join(t.TempDir(), "trace")
	s.launch(t, "strace", "-D", "-f", "-yy", "-o", trace, "-e", "trace=fdatasync,fsync,write,sendto,writev")
	c, err := s.dial(ovh.V1_1)
	if err != nil {
		t.Fatal(err)
	}
	answers := 0
	for range creates {
		if _, err := c.Create().AES(256, ovh.CryptographicUsageEncrypt).Exec(); err != nil {
			t.Fatal(err)
		}
		answers++
	}
	c.Close()
	s.stop(t)

	// From the end backwards each of the last writes to a TCP connection is one
	// answer; the handshake's come before them (and a close notify after).
	journal, store, ordered := false, false, 0
	for _, c := range traced(t, trace) {
		switch {
		case c.name == "fdatasync" && c.returned && strings.Contains(c.target, "/journal/"):
			journal, store = true, false
		case c.name == "fdatasync" && c.returned && strings.HasSuffix(c.target, ".db"):
			store = journal
		case strings.HasPrefix(c.target, "TCP:[") && c.name == "write" && !c.returned:
			if journal && store {
				ordered++
			}
			journal, store = false, false
		}
	}
	if ordered < answers {
		t.Errorf("%d of %d answers were written after both syncs; see the trace\n%s", ordered, answers, tail(trace))
	}
}

func tail(path string) string {
	b, _ := os.ReadFile(path)
	lines := strings.Split(string(b), "\n")
	return strings.Join(lines[max(0, len(lines)-60):], "\n")
}

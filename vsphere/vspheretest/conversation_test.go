package vspheretest_test

import (
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/kmip/kmiptest"
	"github.com/keyreeve/keyreeve/kmip/transcript"
	"github.com/keyreeve/keyreeve/vsphere/vspheretest"
)

// A listener keeps the requests of every connection, as the server got them.
type listener struct {
	mu          sync.Mutex
	connections [][][]byte // in the order in which the handshakes ended
	index       map[uint64]int
}

func (l *listener) Connected(id uint64, _, _, _ string, _ uint16) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.index == nil {
		l.index = map[uint64]int{}
	}
	l.index[id] = len(l.connections)
	l.connections = append(l.connections, nil)
}

func (l *listener) Received(id uint64, message []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i, ok := l.index[id]; ok { // else it began before take was last called
		l.connections[i] = append(l.connections[i], slices.Clone(message))
	}
}

func (l *listener) Sent(uint64, []byte)            {}
func (l *listener) Unreadable(uint64, int, string) {}
func (l *listener) Closed(uint64)                  {}

// take returns what was said since it was last called.
func (l *listener) take() [][][]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.connections
	l.connections, l.index = nil, nil
	return out
}

// captured returns the requests of a transcript, connection by connection.
func captured(t *testing.T, name string, v transcript.Values) (connections [][][]byte) {
	t.Helper()
	data, err := os.ReadFile("../../kmip/testdata/transcripts/" + name + ".txtar")
	if err != nil {
		t.Fatal(err)
	}
	tr, err := transcript.ParseTranscript(data)
	if err != nil {
		t.Fatal(err)
	}
	index := map[string]int{}
	for _, s := range tr.Steps {
		switch s.Verb {
		case transcript.Connect:
			index[s.Names[0]] = len(connections)
			connections = append(connections, nil)
		case transcript.Send:
			message, err := s.Message.Encode(v)
			if err != nil {
				t.Fatal(err)
			}
			i := index[s.Names[0]]
			connections[i] = append(connections[i], message)
		}
	}
	return connections
}

var (
	itemID = regexp.MustCompile(`(UniqueBatchItemID ByteString 514c4b43)[0-9a-f]{8}`)
	whose  = regexp.MustCompile(`(AttributeName TextString "x-(?:Identifier|Name)"\n *AttributeValue TextString) "[^"]*"`)
)

// texts are connections as text, without what differs from one lab to the next:
// names of machines, and how far the counter of items is.
func texts(connections [][][]byte) (list []string) {
	for _, c := range connections {
		var b strings.Builder
		for _, message := range c {
			fmt.Fprintln(&b, transcript.Format(message))
		}
		list = append(list, whose.ReplaceAllString(itemID.ReplaceAllString(b.String(), "$1…"), "$1 …"))
	}
	return list
}

// What is said while a machine is encrypted on a host without a key is, to the
// byte, what a vCenter 7.0.3 said: the same connections, with the same requests
// in the same order. Which connection overlaps which other is not compared.
func TestConversationOfAnEncryption(t *testing.T) {
	said := new(listener)
	r := newRigWith(t, vspheretest.Options{}, kmiptest.Options{Recorder: said}).ready()
	vm := r.vm(0)
	said.take()
	key := r.encrypt(vm)
	got := said.take()
	host := ""
	for _, h := range r.hosts() {
		if h.Self == *r.look(vm).Runtime.Host {
			host = h.Runtime.CryptoKeyId.KeyId
		}
	}
	want := captured(t, "vcenter-encrypt-vm", transcript.Values{"vm": []byte(key.KeyId), "host": []byte(host)})
	want = want[:len(want)-1] // the transcript's last one is not vCenter's
	a, b := texts(want), texts(got)
	slices.Sort(a)
	slices.Sort(b)
	if !slices.Equal(a, b) {
		t.Errorf("vCenter has %d connections:\n%s\nthe simulator %d:\n%s", len(a), strings.Join(a, "\n"), len(b), strings.Join(b, "\n"))
	}
	counters(t, got)
}

// counters: each item that has an identifier has one of its own, in rising order.
func counters(t *testing.T, connections [][][]byte) {
	t.Helper()
	seen := map[string]bool{}
	for _, c := range connections {
		for _, message := range c {
			for _, id := range itemID.FindAllString(transcript.Format(message), -1) {
				if seen[id] {
					t.Errorf("%s twice", id)
				}
				seen[id] = true
			}
		}
	}
}

// A poll is two connections, a bare handshake and then Discover Versions twice,
// byte for byte those of a vCenter; the server's log stays quiet about them.
func TestConversationOfThePoll(t *testing.T) {
	said := new(listener)
	r := newRigWith(t, vspheretest.Options{PollEvery: 20 * time.Millisecond}, kmiptest.Options{Recorder: said})
	r.ready()
	r.expectGreen()
	r.polled() // what was begun before there was trust is over
	said.take()
	before := len(r.kms.Log.Lines(slog.LevelWarn)) // of polls before there was trust
	want := texts(captured(t, "vcenter-status-poll", nil)[:2])
	var got []string
	for end := time.Now().Add(20 * time.Second); len(got) < 9; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nobody polls")
		}
		said.mu.Lock()
		got = texts(said.connections)
		said.mu.Unlock()
	}
	count := map[string]int{}
	for i, text := range got[1 : len(got)-3] { // it began in the middle of a round, and the last ones are not over
		if count[text]++; !slices.Contains(want, text) {
			t.Errorf("connection %d is\n%s\nand neither\n%s\nnor\n%s", i+1, text, want[0], want[1])
		}
	}
	// A connection is heard of when the server has seen the end of its handshake,
	// which under load may be after the next one's.
	if more := count[want[0]] - count[want[1]]; more < -2 || more > 2 {
		t.Errorf("of a round's two connections there were %d and %d", count[want[0]], count[want[1]])
	}
	if lines := r.kms.Log.Lines(slog.LevelWarn); len(lines) > before {
		t.Errorf("the server's log: %v", lines[before:])
	}
}

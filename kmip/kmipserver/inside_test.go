package kmipserver

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/gemalto/kmip-go/kmip14"
)

// TestBuffersAreCleared: what a buffer held is gone before another connection
// can get it, wherever the writer put it.
func TestBuffersAreCleared(t *testing.T) {
	secret := bytes.Repeat([]byte{0xA5}, 4000)
	for _, size := range []int{1, 1000, 1 << 12, 1 << 18, 1<<18 + 1} {
		b := takeBuffer(size)
		if len(b.data) != 0 || cap(b.data) < size {
			t.Fatalf("takeBuffer(%d) has %d of %d bytes", size, len(b.data), cap(b.data))
		}
		inside := append(b.data, secret[:min(cap(b.data), 4000)]...)
		shorter := inside[:1] // as after a truncation: the rest is still there
		grown := append(bytes.Clone(inside), secret...)
		b.data = shorter
		b.release(grown)
		for name, array := range map[string][]byte{"the buffer": inside[:cap(inside)], "what outgrew it": grown[:cap(grown)]} {
			if i := bytes.IndexByte(array, 0xA5); i >= 0 {
				t.Errorf("%s of %d bytes still has the secret at %d", name, size, i)
			}
		}
	}
}

// TestBufferClasses: a claim costs at most twice the memory that it is.
func TestBufferClasses(t *testing.T) {
	for _, size := range []int{1, 1024, 1025, 5000, 1 << 18, 1<<18 + 8, 1 << 20} {
		b := takeBuffer(size)
		if cap(b.data) < size || cap(b.data) > max(2*size, 1<<minClass) {
			t.Errorf("takeBuffer(%d) has room for %d", size, cap(b.data))
		}
		b.release(nil)
	}
}

func TestFrameSize(t *testing.T) {
	header := func(n uint32) []byte {
		return []byte{0x42, 0, 0x78, 1, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
	}
	tests := []struct {
		name   string
		header []byte
		size   int
		err    error
	}{
		{"empty", header(0), 8, nil},
		{"at the limit", header(1016), 1024, nil},
		{"over the limit", header(1024), 0, errTooLong},
		{"all ones", header(0xFFFFFFF8), 0, errTooLong},
		{"odd", header(3), 0, errNotKMIP},
		{"TLS", []byte{22, 3, 1, 0, 200, 1, 0, 0}, 0, errNotKMIP},
		{"zeros", make([]byte, 8), 0, errNotKMIP},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			size, err := frameSize(tt.header, 1024)
			if size != tt.size || !errors.Is(err, tt.err) {
				t.Errorf("%d, %v; expected %d, %v", size, err, tt.size, tt.err)
			}
		})
	}
}

// TestLogWindowsAreBounded: a scan from many addresses cannot make the server
// remember them all.
func TestLogWindowsAreBounded(t *testing.T) {
	l := newLimitedLog(slog.New(slog.DiscardHandler), time.Now)
	for i := range 3 * maxWindows {
		l.allow(slog.LevelWarn, logKey{address: netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), kind: "refused"})
	}
	if n := len(l.windows); n > maxWindows+1 {
		t.Errorf("%d windows are remembered", n)
	}
	if w := l.windows[logKey{kind: "refused"}]; w == nil || w.suppressed != 2*maxWindows-linesPerWindow {
		t.Errorf("the rest is counted as %+v", w)
	}
	l.flush()
	if n := len(l.windows); n != 0 {
		t.Errorf("%d windows are left after the end", n)
	}
}

// TestOperationMetricCostsNothing: counting must not allocate, and an operation
// that a peer makes up must not make a series.
func TestOperationMetricCostsNothing(t *testing.T) {
	m := NewMetrics(nil)
	for _, op := range []kmip14.Operation{kmip14.OperationGet, 0, 0xFFFFFFFF, 0x80000001} {
		m.operation(op, outcomeSuccess)
		if n := testing.AllocsPerRun(100, func() { m.operation(op, outcomeSuccess); m.answered(100, 200, time.Millisecond) }); n != 0 {
			t.Errorf("counting operation %#x allocates %v times", uint32(op), n)
		}
	}
	made := 0
	for op := range m.resolved {
		for o := range m.resolved[op] {
			if m.resolved[op][o].Load() != nil {
				made++
			}
		}
	}
	if made != 2 {
		t.Errorf("%d series were made, expected Get and other", made)
	}
}

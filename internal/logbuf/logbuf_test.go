package logbuf

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// What many write at once is all there, each line whole. The race detector sees
// a lock that is missing.
func TestBuffer(t *testing.T) {
	var b Buffer
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 100 {
				_, _ = fmt.Fprintf(&b, "line %d\n", i)
				_ = b.String()
			}
		})
	}
	wg.Wait()
	for i := range 4 {
		if n := strings.Count(b.String(), fmt.Sprintf("line %d\n", i)); n != 100 {
			t.Errorf("writer %d has %d lines", i, n)
		}
	}
	b.Reset()
	if b.String() != "" {
		t.Errorf("after Reset: %q", b.String())
	}
}

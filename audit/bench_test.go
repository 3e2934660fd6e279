package audit_test

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/keyreeve/keyreeve/audit"
)

func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{1, 8, 64} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			j := mustOpen(b, audit.Config{Dir: filepath.Join(b.TempDir(), "journal"), StoreID: storeID})
			e := full(1)
			e.Time = 0
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for w := range n {
				wg.Go(func() {
					for i := w; i < b.N; i += n {
						if _, err := j.Append(audit.Normal, e); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

func BenchmarkOpenFullSegment(b *testing.B) {
	cfg := audit.Config{Dir: filepath.Join(b.TempDir(), "journal"), StoreID: storeID}
	j := mustOpen(b, cfg)
	events := make([]audit.Event, 400)
	for i := range events {
		events[i] = full(i)
	}
	for range 64 << 20 / (400 * 90) {
		if _, err := j.Append(audit.Normal, events...); err != nil {
			b.Fatal(err)
		}
	}
	_ = j.Close()
	b.ResetTimer()
	for range b.N {
		j, err := audit.Open(cfg)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		_ = j.Close()
		b.StartTimer()
	}
}

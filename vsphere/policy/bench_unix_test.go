//go:build unix

package policy

import (
	"fmt"
	"runtime"
	"syscall"
	"testing"

	"github.com/keyreeve/keyreeve/vsphere/inventory"
)

// sizes are how many machines are read; with the tag lab, 10,000 too.
var sizes = []int{1000}

// From an empty hand to a plan. The time is mostly the simulator's, which shares
// the process: it collects and encodes what a real vCenter would on a machine of
// its own. So is the memory: kept-MB is what snapshot and plan take.
func BenchmarkReadAndMake(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			_, reader, calls, p := simulated(b, n)
			var s *inventory.Snapshot
			var plan Plan
			calls.take()
			before, err := usage(), error(nil)
			b.ReportAllocs()
			for b.Loop() {
				if s, err = reader.Read(b.Context()); err != nil || len(s.VMs) != n {
					b.Fatal(len(s.VMs), err)
				}
				if plan = Make(p, s, Facts{Now: now}); len(plan.Actions)+len(plan.Held) != n {
					b.Fatalf("%d actions, %d held", len(plan.Actions), len(plan.Held))
				}
			}
			after, total := usage(), 0
			for _, times := range calls.take() {
				total += times
			}
			b.ReportMetric(float64(total)/float64(b.N), "calls/op")
			b.ReportMetric(seconds(after)-seconds(before), "cpu-s") // of both sides
			b.ReportMetric(float64(after.Maxrss)/1e3, "peak-rss-MB")
			b.ReportMetric(kept(&s, &plan), "kept-MB")
		})
	}
}

func usage() (u syscall.Rusage) {
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // cannot fail for oneself
	return u
}

func seconds(u syscall.Rusage) float64 { return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9 }

// kept is what the heap loses with them.
func kept(s **inventory.Snapshot, plan *Plan) float64 {
	runtime.GC()
	var with, without runtime.MemStats
	runtime.ReadMemStats(&with)
	runtime.KeepAlive(*s)
	*s, *plan = nil, Plan{}
	runtime.GC()
	runtime.ReadMemStats(&without)
	return (float64(with.HeapAlloc) - float64(without.HeapAlloc)) / 1e6
}

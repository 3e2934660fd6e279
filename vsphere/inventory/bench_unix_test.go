//go:build unix

package inventory_test

import (
	"runtime"
	"syscall"
	"testing"

	"github.com/keyreeve/keyreeve/vsphere/inventory"
	"github.com/keyreeve/keyreeve/vsphere/vspheretest"
)

// The time is mostly the simulator's, which shares the process: it collects
// and encodes what a real vCenter would on a machine of its own.
func BenchmarkRead10000(b *testing.B) {
	vc, err := vspheretest.New(vspheretest.Options{Clusters: 4, Hosts: 8, VMs: 2500})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = vc.Close() }()
	vim, err := vc.Client(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	reader := inventory.NewReader(inventory.Options{Client: vim.Client})
	var s *inventory.Snapshot
	before := processor(b)
	for b.Loop() {
		if s, err = reader.Read(b.Context()); err != nil || len(s.VMs) != 10000 {
			b.Fatal(len(s.VMs), err)
		}
	}
	b.ReportMetric((processor(b)-before)/float64(b.N), "cpu-s/op") // of both sides
	runtime.GC()
	var with, without runtime.MemStats
	runtime.ReadMemStats(&with)
	runtime.KeepAlive(s)
	s = nil
	runtime.GC()
	runtime.ReadMemStats(&without)
	b.ReportMetric(float64(with.HeapAlloc-without.HeapAlloc)/1e6, "snapshot-MB")
}

// processor is the time that the process has computed so far, in seconds.
func processor(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

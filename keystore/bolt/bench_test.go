package bolt_test

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/keystore/bolt"
)

// Object keys as the keystore makes them: a family and 16 bytes that ascend with time.
func objectKey(b []byte, n uint64) []byte {
	return append(binary.BigEndian.AppendUint64(append(b[:0], 'o'), n), "12345678"...)
}

var benchRecord = make([]byte, 300)

func filled(b *testing.B, keys uint64) (path string, s *bolt.Backend) {
	path, s = newStore(b)
	for n := uint64(0); n < keys; {
		update(b, s, func(kv keystore.KV) error {
			for range min(10_000, keys-n) {
				if err := kv.Put(objectKey(nil, n), benchRecord); err != nil {
					return err
				}
				n++
			}
			return nil
		})
	}
	return path, s
}

// One Update of so many new records and a head; ns/op is for the group.
func BenchmarkUpdate(b *testing.B) {
	for _, group := range []int{1, 8, 64} {
		b.Run(fmt.Sprint("group=", group), func(b *testing.B) {
			_, s := filled(b, 1000)
			n := uint64(1000)
			var key []byte
			fn := func(kv keystore.KV) error {
				for range group {
					key = objectKey(key, n)
					n++
					if err := kv.Put(key, benchRecord); err != nil {
						return err
					}
				}
				return nil
			}
			prepared := func(kv keystore.KV) error { return kv.Put([]byte("head"), benchRecord) }
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Update(ctx, fn, prepared); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(group)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

func BenchmarkViewGet(b *testing.B) {
	for _, keys := range []uint64{1000, 100_000} {
		b.Run(fmt.Sprint("keys=", keys), func(b *testing.B) {
			_, s := filled(b, keys)
			var key []byte
			n := uint64(0)
			fn := func(kv keystore.KV) error {
				v, err := kv.Get(key)
				if err == nil && len(v) != len(benchRecord) {
					b.Fatal(len(v))
				}
				return err
			}
			b.ReportAllocs()
			for b.Loop() {
				n = (n + 7919) % keys
				key = objectKey(key, n)
				if err := s.View(ctx, fn); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkViewGetParallel(b *testing.B) {
	_, s := filled(b, 100_000)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		var key []byte
		n := uint64(0)
		fn := func(kv keystore.KV) error { _, err := kv.Get(key); return err }
		for pb.Next() {
			n = (n + 7919) % 100_000
			key = objectKey(key, n)
			if err := s.View(ctx, fn); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	for _, keys := range []uint64{1000, 100_000} {
		b.Run(fmt.Sprint("keys=", keys), func(b *testing.B) {
			path, s := filled(b, keys)
			for b.Loop() {
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
				var err error
				if s, err = bolt.Open(path, bolt.Options{}); err != nil {
					b.Fatal(err)
				}
			}
			b.Cleanup(func() { _ = s.Close() })
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	_, s := filled(b, 100_000)
	for b.Loop() {
		if err := s.Verify(ctx); err != nil {
			b.Fatal(err)
		}
	}
}

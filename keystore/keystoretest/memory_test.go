package keystoretest_test

import (
	"testing"

	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/keystore/keystoretest"
)

func fresh(testing.TB) keystoretest.Opener { return (&keystoretest.Volume{}).Opener() }

func TestMemory(t *testing.T) { keystoretest.RunBackend(t, fresh) }

func TestMemoryFaults(t *testing.T) {
	keystoretest.RunBackendFaults(t, func(testing.TB) (keystoretest.Opener, func(bool)) {
		v := &keystoretest.Volume{}
		var last *keystoretest.Faulty
		open := func() (keystore.Backend, error) {
			last = &keystoretest.Faulty{Backend: v.Open()}
			return last, nil
		}
		return open, func(butStored bool) { last.Fail(butStored) }
	})
}

func TestStore(t *testing.T) { keystoretest.RunStore(t, fresh) }

//go:build power

package interop

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	ovh "github.com/ovh/kmip-go"
	"github.com/ovh/kmip-go/kmipclient"
)

var killRounds = flag.Int("kill-rounds", 200, "rounds of SIGKILL under load")

// A ledger holds what clients were told. A key whose Destroy was asked for and
// not answered may or may not be there.
type ledger struct {
	mu      sync.Mutex
	keys    map[string][]byte // answered Create, with the bytes of its first Get (nil before)
	leaving map[string]bool   // Destroy sent
	gone    map[string]bool   // Destroy answered
}

func (l *ledger) set(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

// TestKill kills the real binary with SIGKILL under 16 connections, and asks
// after each round whether verify is clean and whether what was answered holds.
// It cannot see what a power cut loses (the kernel keeps unsynced pages); the
// disk model of keystore/bolt does that.
func TestKill(t *testing.T) {
	s := start(t)
	l := &ledger{keys: map[string][]byte{}, leaving: map[string]bool{}, gone: map[string]bool{}}
	answered := 0
	for round := range *killRounds {
		l.load(t, s, 16, time.Duration(20+rand.IntN(130))*time.Millisecond)
		if out, err := s.run("verify"); err != nil {
			t.Fatalf("round %d: verify after SIGKILL: %v\n%s", round, err, out)
		}
		s.restart(t)
		if round%20 == 19 || round == *killRounds-1 {
			l.check(t, s)
		}
		answered = len(l.keys) + len(l.gone)
	}
	t.Logf("%d rounds, %d answered Creates, %d answered Destroys", *killRounds, answered, len(l.gone))
	if answered < *killRounds {
		t.Errorf("only %d answered Creates in %d rounds: the load did not load", answered, *killRounds)
	}
}

// load runs n connections until the server is killed after d.
func (l *ledger) load(t *testing.T, s *server, n int, d time.Duration) {
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			c, err := s.dial(ovh.V1_1)
			if err != nil {
				return // killed while it connected
			}
			for l.one(c) == nil {
			}
			// No Close: this client's panics once it has failed to reconnect.
		})
	}
	time.AfterFunc(d, s.kill)
	wg.Wait()
	s.waitDead(t)
}

// one runs one key through a part of its life and returns the first error,
// which is the server's death, or a refusal that the check will find.
func (l *ledger) one(c *kmipclient.Client) (err error) {
	defer func() {
		if p := recover(); p != nil {
			if fmt.Sprint(p) != "send on closed channel" {
				panic(p)
			}
			err = fmt.Errorf("the client's connection broke as it sent: %v", p) // it does not look before it sends
		}
	}()
	made, err := c.Create().AES(256, ovh.CryptographicUsageEncrypt|ovh.CryptographicUsageDecrypt).Exec()
	if err != nil {
		return err
	}
	uid := made.UniqueIdentifier
	l.set(func() { l.keys[uid] = nil })
	key, err := keyOf(c, uid)
	if err != nil {
		return err
	}
	l.set(func() { l.keys[uid] = key })
	if rand.IntN(3) > 0 {
		return nil
	}
	l.set(func() { l.leaving[uid] = true })
	if _, err := c.Destroy(uid).Exec(); err != nil {
		return err
	}
	l.set(func() { l.gone[uid] = true; delete(l.keys, uid) })
	return nil
}

// check asks the living server for everything that was answered.
func (l *ledger) check(t *testing.T, s *server) {
	t.Helper()
	c, err := s.dial(ovh.V1_1)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for uid, want := range l.keys {
		got, err := keyOf(c, uid)
		if l.leaving[uid] {
			continue // both outcomes are right
		}
		if err != nil {
			t.Errorf("an answered Create is lost: %s: %v", uid, err)
		} else if want != nil && !bytes.Equal(got, want) {
			t.Errorf("%s has other bytes than before", uid)
		}
	}
	for uid := range l.gone {
		if _, err := keyOf(c, uid); err == nil {
			t.Errorf("an answered Destroy came back: %s", uid)
		}
	}
}

func keyOf(c *kmipclient.Client, uid string) ([]byte, error) {
	got, err := c.Get(uid).Exec()
	if err != nil {
		return nil, err
	}
	key, ok := got.Object.(*ovh.SymmetricKey)
	if !ok {
		return nil, fmt.Errorf("a %T", got.Object)
	}
	material, err := key.KeyMaterial()
	if err == nil && len(material) != 32 {
		err = errors.New("not 32 bytes")
	}
	return material, err
}

package kmiptest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/keystore/bolt"
	"github.com/keyreeve/keyreeve/kmip/operations"
	"github.com/keyreeve/keyreeve/kmip/transcript"
)

// A Store is a store with its journal in a folder of a test.
type Store struct {
	*keystore.Store
	Operations *operations.Operations
	Log        *Log // what the store logs

	backend *bolt.Backend
	journal *audit.Journal
}

// NewStore makes a store that lasts as long as the test. When the test ends the
// whole store is checked, and the test fails if an invariant does not hold.
func NewStore(t testing.TB) *Store {
	t.Helper()
	s, err := openStore(t.TempDir())
	if err != nil {
		t.Fatalf("making a store: %v", err)
	}
	t.Cleanup(func() {
		if err := s.finish(); err != nil {
			t.Errorf("the store at the end: %v", err)
		}
	})
	return s
}

func openStore(dir string) (s *Store, err error) {
	s = &Store{Log: new(Log)}
	path, journal := filepath.Join(dir, "store.db"), audit.Config{Dir: filepath.Join(dir, "audit"), StoreID: keystore.NewStoreID()}
	if err := errors.Join(bolt.Create(path, bolt.Options{}), audit.Create(journal)); err != nil {
		return nil, err
	}
	if s.backend, err = bolt.Open(path, bolt.Options{MapSize: 64 << 20, GrowBy: 1 << 20}); err != nil {
		return nil, err
	}
	if s.journal, err = audit.Open(journal); err != nil {
		return nil, errors.Join(err, s.backend.Close())
	}
	key := make([]byte, keystore.RootKeySize)
	if _, err := rand.Read(key); err != nil {
		return nil, err
	}
	root := secret.Own(key)
	defer root.Clear()
	config := keystore.Config{Backend: s.backend, Journal: s.journal, RootKey: root, StoreID: journal.StoreID, Logger: slog.New(s.Log)}
	if err := keystore.Create(context.Background(), config); err != nil {
		return nil, errors.Join(err, s.journal.Close(), s.backend.Close())
	}
	if s.Store, err = keystore.Open(context.Background(), config); err != nil {
		return nil, errors.Join(err, s.journal.Close(), s.backend.Close())
	}
	s.Operations = operations.New(operations.Config{Store: s.Store})
	return s, nil
}

// finish checks the store and closes everything.
func (s *Store) finish() error {
	ctx := context.Background()
	report, err := s.Check(ctx)
	if err == nil {
		err = report.Err()
	}
	return errors.Join(err, s.Close(ctx), s.journal.Close(), s.backend.Close())
}

// NewServer is Start on a store of its own.
func NewServer(t testing.TB, o Options) (*Server, *Store) {
	t.Helper()
	store := NewStore(t)
	return Start(t, store.Operations, o), store
}

// RunTranscript plays a transcript to a new server, and then holds the server's
// log to what the transcript says of it.
func RunTranscript(t testing.TB, data []byte) {
	t.Helper()
	parsed, err := transcript.ParseTranscript(data)
	if err != nil {
		t.Fatal(err)
	}
	server, store := NewServer(t, Options{})
	if err := parsed.Play(t.Context(), server, transcript.Values{}); err != nil {
		t.Error(err)
	}
	if err := server.Shutdown(); err != nil {
		t.Fatal(err)
	}
	if err := compareLog(parsed.Log, append(server.Log.Lines(slog.LevelWarn), store.Log.Lines(slog.LevelWarn)...)); err != nil {
		t.Error(err)
	}
}

// compareLog wants one line for each text, in order, and no other.
func compareLog(want []string, lines []Line) error {
	var problems []error
	for i, l := range lines {
		if i >= len(want) || !strings.Contains(l.Text, want[i]) {
			problems = append(problems, fmt.Errorf("not expected in the log: %v %s", l.Level, l.Text))
		}
	}
	for _, missing := range want[min(len(lines), len(want)):] {
		problems = append(problems, fmt.Errorf("not in the log: %s", missing))
	}
	return errors.Join(problems...)
}

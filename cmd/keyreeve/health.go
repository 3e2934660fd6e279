package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"sync/atomic"
)

// health says whether the server can hand out keys and take new ones.
type health struct {
	vault    *vault
	stopping atomic.Bool
}

// check opens a sealed record, and asks store and journal whether they still
// write.
func (h *health) check(ctx context.Context) error {
	if h.stopping.Load() {
		return errors.New("the server is stopping")
	}
	if err := h.cheap(); err != nil {
		return err
	}
	if err := h.vault.store.Canary(ctx); err != nil {
		return fmt.Errorf("opening the canary record: %w", err)
	}
	return nil
}

// cheap is the part that costs nothing, asked before each Query.
func (h *health) cheap() error {
	if err := h.vault.store.Info().Failed; err != nil {
		return err
	}
	return h.vault.journal.Err()
}

func hexadecimal(id [16]byte) string { return hex.EncodeToString(id[:]) }

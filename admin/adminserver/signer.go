package adminserver

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/keystore"
)

// signerRecord is the identifier of the key that signs the journal's
// checkpoints. The record is the seed of an Ed25519 key.
const signerRecord = "journal"

var (
	opLoadSigner = keystore.Op{Name: "Load Signing Key", Class: keystore.OpObserve}
	opMakeSigner = keystore.Op{Name: "Create Signing Key", Class: keystore.OpChange}
)

// LoadSigner opens the key that signs the journal's checkpoints, and makes it
// in a store that has none yet.
func LoadSigner(ctx context.Context, store *keystore.Store) (signer *audit.Signer, err error) {
	err = do(ctx, store, &System, &opLoadSigner, func(tx *keystore.Tx) error {
		seed, err := tx.Record(keystore.KindSigner, signerRecord)
		if errors.Is(err, keystore.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		signer, err = audit.NewSigner(seed)
		return err
	})
	if err == nil && signer == nil {
		signer, err = makeSigner(ctx, store)
	}
	if err != nil {
		return nil, fmt.Errorf("loading the key that signs the journal: %w", err)
	}
	return signer, nil
}

func makeSigner(ctx context.Context, store *keystore.Store) (*audit.Signer, error) {
	seed := secret.New(ed25519.SeedSize)
	defer seed.Clear()
	_, _ = rand.Read(seed.Expose()) // never fails, crypto/rand ends the program instead
	signer, err := audit.NewSigner(seed.Expose())
	if err != nil {
		return nil, err
	}
	return signer, do(ctx, store, &System, &opMakeSigner, func(tx *keystore.Tx) error {
		return tx.PutRecord(keystore.KindSigner, signerRecord, seed.Expose())
	})
}

package adminserver

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/keystore"
)

// System is who acts when the server itself opens its records.
var System = keystore.Principal{Client: "server", Admin: true}

// caRecord is the identifier of the store's CA among the records of its kind.
// The record is two PEM blocks, the certificate and the private key.
const caRecord = "ca"

const keyBlock = "PRIVATE KEY"

var errNoCA = errors.New("the store has no CA record: it is not whole")

// CreateCA makes the store's CA and seals it as a record.
func CreateCA(ctx context.Context, store *keystore.Store, now func() time.Time, rand io.Reader) (*certs.CA, error) {
	ca, err := certs.NewCA(now, rand)
	if err != nil {
		return nil, err
	}
	key, err := ca.MarshalKey()
	if err != nil {
		return nil, err
	}
	defer key.Clear()
	block := pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: key.Expose()})
	defer secret.Clear(block)
	record := append(ca.CertificatePEM(), block...)
	defer secret.Clear(record)
	err = do(ctx, store, &System, &opCreateCA, func(tx *keystore.Tx) error {
		return tx.PutRecord(keystore.KindCA, caRecord, record)
	})
	if err != nil {
		return nil, fmt.Errorf("storing the CA: %w", err)
	}
	return ca, nil
}

// Load opens the CA and all client records.
func Load(ctx context.Context, store *keystore.Store, now func() time.Time, rand io.Reader) (ca *certs.CA, clients []certs.Client, err error) {
	err = do(ctx, store, &System, &opOpen, func(tx *keystore.Tx) error {
		record, err := tx.Record(keystore.KindCA, caRecord)
		if errors.Is(err, keystore.ErrNotFound) {
			return errNoCA
		}
		if err != nil {
			return err
		}
		if ca, err = openCA(record, now, rand); err != nil {
			return err
		}
		clients, err = readClients(tx, keystore.KindClient)
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("loading the CA and the clients: %w", err)
	}
	return ca, clients, nil
}

func openCA(record []byte, now func() time.Time, rand io.Reader) (*certs.CA, error) {
	cert, rest := pem.Decode(record)
	key, _ := pem.Decode(rest)
	if cert == nil || key == nil || key.Type != keyBlock {
		return nil, fmt.Errorf("%w: the CA record is not a certificate and its key", keystore.ErrCorrupt)
	}
	der := secret.Own(key.Bytes)
	defer der.Clear()
	return certs.LoadCA(pem.EncodeToMemory(cert), der, now, rand)
}

// LoadAdmins opens all records of administrators.
func LoadAdmins(ctx context.Context, store *keystore.Store) (admins []certs.Client, err error) {
	err = do(ctx, store, &System, &opOpen, func(tx *keystore.Tx) (err error) {
		admins, err = readClients(tx, keystore.KindAdmin)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("loading the administrators: %w", err)
	}
	return admins, nil
}

func readClients(tx *keystore.Tx, kind keystore.Kind) (clients []certs.Client, err error) {
	err = tx.Records(kind, func(id string, value []byte) error {
		c, err := decodeClient(id, value)
		clients = append(clients, c)
		return err
	})
	return clients, err
}

func decodeClient(id string, value []byte) (c certs.Client, err error) {
	if err := json.Unmarshal(value, &c); err != nil {
		return c, fmt.Errorf("%w: client record %q: %w", keystore.ErrCorrupt, id, err)
	}
	if c.Name != id {
		return c, fmt.Errorf("%w: the client record of %q is stored as that of %q", keystore.ErrCorrupt, c.Name, id)
	}
	return c, nil
}

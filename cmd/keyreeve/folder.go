package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/internal/durable"
)

// A folder is the path of a data folder; its methods say what lies where.
type folder string

func (f folder) store() string   { return filepath.Join(string(f), "store.db") }
func (f folder) journal() string { return filepath.Join(string(f), "journal") }
func (f folder) tls() string     { return filepath.Join(string(f), "tls") }
func (f folder) certificate() string {
	return filepath.Join(f.tls(), certs.ServerCertificateFile)
}
func (f folder) socket() string { return filepath.Join(string(f), "admin.sock") }
func (f folder) exported(to string) string {
	return filepath.Join(string(f), "export-"+to+".position")
}
func (f folder) reserve() string    { return filepath.Join(string(f), "reserve") }
func (f folder) passphrase() string { return filepath.Join(string(f), "passphrase") } // its parameters
func (f folder) rootKey() string    { return string(f) + ".rootkey" }                 // beside the folder
func (f folder) staging() string    { return string(f) + ".init" }                    // where init builds
func (f folder) restoring() string  { return string(f) + ".restore" }                 // where backup restore does

// needStore fails when there is no store in the folder. It is never made anew
// here: a path with a mistake in it must not become an empty store.
func needStore(data string) error {
	_, err := os.Stat(folder(data).store())
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := os.Stat(folder(data).journal()); err == nil {
		return &failure{Code: exitDamaged, Err: fmt.Errorf("the store %s is gone, and its journal is still there", folder(data).store()), Hint: hintRestore}
	}
	return &failure{Code: exitNoStore, Err: fmt.Errorf("there is no store in %s", data), Hint: "make one: keyreeve init --data " + quote(data)}
}

// checkClosed refuses a folder that others can look into: who may connect to
// the admin's socket hangs on it, and a copy often loses the mode.
func checkClosed(data string) error {
	info, err := os.Stat(data)
	if err != nil {
		return err
	}
	if open := info.Mode().Perm() & 0o077; open != 0 {
		return refuse("chmod 700 "+quote(data), "the data folder %s is open to others: its mode is %#o", data, info.Mode().Perm())
	}
	return nil
}

// checkPlace refuses a path that does not keep its content.
func checkPlace(path string, dev bool) error {
	if dev {
		return nil
	}
	return durable.CheckPermanent(path)
}

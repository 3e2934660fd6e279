package certs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/keyreeve/keyreeve/internal/durable"
)

// Names of the files of a client's bundle.
const (
	BundleCA          = "ca.pem"
	BundleCertificate = "cert.pem"
	BundleKey         = "key.pem"
)

// ErrBundleExists is wrapped when a bundle's folder is not empty: an overwritten key.pem cannot be got back.
var ErrBundleExists = errors.New("bundle folder is not empty")

// WriteBundle writes ca.pem, cert.pem and, when the key was made here, key.pem (unencrypted PKCS#8, mode 0600) into
// dir, which it makes with mode 0700. A folder that is there must be empty and closed to others. Each file is durable
// on return; after an error, what was written stays for the operator to look at.
func WriteBundle(dir string, issued *Issued) error {
	if err := prepareBundle(dir); err != nil {
		return fmt.Errorf("writing the bundle of client %s: %w", issued.Client.Name, err)
	}
	key := issued.KeyPEM()
	defer key.Clear()
	files := []struct {
		name string
		data []byte
	}{
		{BundleKey, key.Expose()},
		{BundleCertificate, issued.CertificatePEM()},
		{BundleCA, certificatePEM(issued.CA)},
	}
	for _, f := range files {
		if f.data == nil {
			continue
		}
		if err := durable.CreateFile(durable.OS, filepath.Join(dir, f.name), f.data, 0o600); err != nil {
			return fmt.Errorf("writing the bundle of client %s: %w", issued.Client.Name, err)
		}
	}
	return nil
}

func prepareBundle(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if err == nil || !errors.Is(err, fs.ErrExist) {
		return err
	}
	return CheckBundleFolder(dir)
}

// CheckBundleFolder tells, before a client is enrolled, whether WriteBundle would refuse the folder. It makes nothing.
func CheckBundleFolder(dir string) error {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return checkParent(dir)
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a folder", dir)
	}
	if open := info.Mode().Perm() & 0o077; open != 0 {
		return fmt.Errorf("folder %s is open to others (mode %04o); run: chmod 700 %s", dir, info.Mode().Perm(), dir)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("%w: %s holds %s; give another folder or move it away", ErrBundleExists, dir, entries[0].Name())
	}
	return nil
}

func checkParent(dir string) error {
	parent := filepath.Dir(filepath.Clean(dir))
	info, err := os.Stat(parent)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no folder %s to make %s in", parent, filepath.Base(dir))
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is not a folder", parent)
	}
	return nil
}

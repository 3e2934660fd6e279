package rootkey

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/keyreeve/keyreeve/internal/durable"
	"github.com/keyreeve/keyreeve/internal/secret"
)

var (
	// ErrMissing is returned when the file does not exist. It is never made anew: a new key opens no old store.
	ErrMissing = errors.New("there is no root key file; put it back from where you keep its copy, or name the right path")
	// ErrTooOpen is returned when others can read or change the file.
	ErrTooOpen = errors.New("root key file is open to others; make it yours alone with chown and chmod 0600, and rotate the key if somebody may have read it")
	// ErrNotRootKey is returned for a file of another kind.
	ErrNotRootKey = errors.New("not a root key file")
	// ErrDamaged is returned for a root key file that was cut or changed.
	ErrDamaged = errors.New("root key file is damaged; put it back from where you keep its copy")
	// ErrInsideData is returned by CreateFile for a path in the data folder: who copies the folder would have the key.
	ErrInsideData = errors.New("root key file must not lie in the data folder that it opens")
)

// The file is the header line, and a line with base64 of the key and of a checksum that tells damage from a wrong key.
const (
	fileHeader = "keyreeve-root-key-1"
	sumSize    = 4
	fileLimit  = 4096
)

type fileSource struct{ path string }

// FromFile reads the root key from the file that CreateFile made. The file is read at each call of RootKey, and must
// belong to our user and be closed to all others.
func FromFile(path string) Source { return fileSource{path} }

func (s fileSource) Describe() string { return "file " + s.path }

func (s fileSource) RootKey() (*secret.Bytes, error) {
	key, err := readKey(s.path)
	if err != nil {
		return nil, fmt.Errorf("reading root key from %s: %w", s.path, err)
	}
	return key, nil
}

func readKey(path string) (*secret.Bytes, error) {
	// O_NONBLOCK: opening a pipe that somebody put there must not hang the start.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrMissing
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat() // of the open file: the path may lead elsewhere a moment later
	if err != nil {
		return nil, err
	}
	if err := checkAccess(info, os.Geteuid()); err != nil {
		return nil, err
	}
	text := make([]byte, fileLimit+1)
	defer secret.Clear(text)
	n, err := io.ReadFull(f, text)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return decodeFile(text[:n])
}

// checkAccess refuses a file that somebody else can read or change. Root can always: nothing here stops that.
func checkAccess(info fs.FileInfo, us int) error {
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%w: it is no regular file", ErrNotRootKey)
	}
	if open := info.Mode().Perm() & 0o077; open != 0 {
		return fmt.Errorf("%w: its mode is %#o", ErrTooOpen, info.Mode().Perm())
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != us {
		return fmt.Errorf("%w: it belongs to user %d, we run as %d", ErrTooOpen, st.Uid, us)
	}
	return nil
}

func decodeFile(text []byte) (*secret.Bytes, error) {
	header, line, ok := bytes.Cut(text, []byte("\n"))
	if !ok || len(text) > fileLimit || string(bytes.TrimRight(header, "\r")) != fileHeader {
		return nil, fmt.Errorf("%w: it does not begin with %q", ErrNotRootKey, fileHeader)
	}
	line = bytes.TrimSpace(line)
	enc := base64.StdEncoding.Strict()
	if len(line) != enc.EncodedLen(Size+sumSize) {
		return nil, fmt.Errorf("%w: the key has the wrong length", ErrDamaged)
	}
	raw := make([]byte, Size+sumSize)
	defer secret.Clear(raw)
	if n, err := enc.Decode(raw, line); err != nil || n != len(raw) { // the error would quote the key's text
		return nil, fmt.Errorf("%w: the key is not base64", ErrDamaged)
	}
	sum := checksum(raw[:Size])
	if subtle.ConstantTimeCompare(sum[:], raw[Size:]) != 1 {
		return nil, fmt.Errorf("%w: the key does not match its checksum", ErrDamaged)
	}
	key := secret.New(Size)
	copy(key.Expose(), raw)
	return key, nil
}

// checksum is the beginning of a hash: it says nothing useful about a key of 256 random bits.
func checksum(key []byte) (sum [sumSize]byte) {
	h := sha256.New()
	_, _ = io.WriteString(h, fileHeader+"\n")
	_, _ = h.Write(key)
	copy(sum[:], h.Sum(nil))
	return sum
}

// CreateFile makes a random root key and puts it at path with mode 0600. It never replaces a file, and refuses a path
// inside dataDir, also by way of a symbolic link. The key is durable when it returns; there is no second copy, so the
// caller tells the admin to make one.
func CreateFile(path, dataDir string) error {
	if err := createKey(path, dataDir); err != nil {
		return fmt.Errorf("creating root key in %s: %w", path, err)
	}
	return nil
}

func createKey(path, dataDir string) error {
	inside, err := durable.Inside(path, dataDir)
	if err != nil {
		return err
	}
	if inside {
		return ErrInsideData
	}
	raw := make([]byte, Size, Size+sumSize)
	defer secret.Clear(raw[:cap(raw)])
	_, _ = rand.Read(raw) // never fails, crypto/rand ends the program instead
	sum := checksum(raw)
	raw = append(raw, sum[:]...)
	text := make([]byte, 0, fileLimit)
	defer secret.Clear(text[:cap(text)])
	text = append(text, fileHeader+"\n"...)
	text = base64.StdEncoding.AppendEncode(text, raw)
	text = append(text, '\n')
	return durable.CreateFile(durable.OS, path, text, 0o600)
}

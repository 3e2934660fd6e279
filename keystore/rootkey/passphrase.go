package rootkey

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/keyreeve/keyreeve/internal/durable"
	"github.com/keyreeve/keyreeve/internal/secret"
)

var (
	// ErrParams is returned for a parameters file that is missing pieces or was changed.
	ErrParams = errors.New("passphrase parameters are damaged; put the file back from a backup of the data folder")
	// ErrNoParams is returned when the parameters file does not exist.
	ErrNoParams = errors.New("there are no passphrase parameters; put the file back from a backup of the data folder")
	// ErrWeak is returned for parameters below the floor: guessing would be cheap, and nothing of ours writes them.
	ErrWeak = errors.New("passphrase parameters are below the floor of 64 MiB and 3 passes")
	// ErrCostly is returned for parameters that would take down the machine rather than open the store.
	ErrCostly = errors.New("passphrase parameters are above what this program accepts")
	// ErrShort is returned for a passphrase that is empty, or too short for a new store.
	ErrShort = errors.New("passphrase is too short")
)

// The bounds of the parameters. The floor is the second choice of RFC 9106, section 4.
const (
	FloorMemory   = 64 << 10 // KiB
	FloorPasses   = 3
	Threads       = 4
	MaxMemory     = 4 << 20 // KiB
	MaxPasses     = 1000
	MinPassphrase = 12 // bytes, for a new store

	saltSize        = 16
	preferredMemory = 256 << 10 // KiB that Calibrate goes up to before it adds passes
)

// Params is how a passphrase becomes a key. Not secret, but without its salt the passphrase opens nothing.
type Params struct {
	Memory uint32 // KiB
	Passes uint32
	Salt   [saltSize]byte
}

// Check returns ErrWeak or ErrCostly when p is out of bounds.
func (p Params) Check() error {
	switch {
	case p.Memory < FloorMemory || p.Passes < FloorPasses:
		return fmt.Errorf("%w: %d KiB, %d passes", ErrWeak, p.Memory, p.Passes)
	case p.Memory > MaxMemory || p.Passes > MaxPasses:
		return fmt.Errorf("%w: %d KiB, %d passes; the limit is %d KiB, %d passes", ErrCostly, p.Memory, p.Passes, MaxMemory, MaxPasses)
	case p.Salt == [saltSize]byte{}:
		return fmt.Errorf("%w: no salt", ErrWeak)
	}
	return nil
}

// Calibrate returns parameters with a new salt that take about target on this machine, and never less than the floor:
// a slow machine waits longer. It measures one derivation at the floor, and so takes a tenth of a second or more.
func Calibrate(target time.Duration, now func() time.Time) Params {
	p := Params{Memory: FloorMemory, Passes: FloorPasses}
	_, _ = rand.Read(p.Salt[:]) // never fails, crypto/rand ends the program instead
	start := now()
	key := p.derive([]byte("calibration"))
	took := now().Sub(start)
	secret.Clear(key)
	factor := max(float64(target)/float64(max(took, time.Millisecond)), 1)
	memory := min(factor, preferredMemory/FloorMemory)
	p.Memory = uint32(FloorMemory * memory)
	p.Passes = uint32(min(max(FloorPasses*factor/memory, FloorPasses), MaxPasses)) // 3*f/f may be less than 3
	return p
}

func (p Params) derive(passphrase []byte) []byte {
	return argon2.IDKey(passphrase, p.Salt[:], p.Passes, p.Memory, Threads, Size)
}

type passphraseSource struct {
	params     Params
	passphrase *secret.Bytes
}

// FromPassphrase derives the root key from a passphrase with Argon2id. The passphrase stays the caller's, who clears
// it when the store is open; bytes count as they are, so the caller takes off a line end. A wrong passphrase gives a
// wrong key, which the store finds.
func FromPassphrase(p Params, passphrase *secret.Bytes) Source {
	return passphraseSource{p, passphrase}
}

func (s passphraseSource) Describe() string {
	return fmt.Sprintf("passphrase (Argon2id, %d MiB, %d passes)", s.params.Memory>>10, s.params.Passes)
}

func (s passphraseSource) RootKey() (*secret.Bytes, error) {
	if err := s.params.Check(); err != nil {
		return nil, fmt.Errorf("deriving root key: %w", err)
	}
	if s.passphrase.Len() == 0 {
		return nil, fmt.Errorf("deriving root key: %w: it is empty", ErrShort)
	}
	return secret.Own(s.params.derive(s.passphrase.Expose())), nil
}

// CheckPassphrase returns ErrShort for a passphrase that a new store should not take.
func CheckPassphrase(passphrase *secret.Bytes) error {
	if passphrase.Len() < MinPassphrase {
		return fmt.Errorf("%w: take at least %d characters", ErrShort, MinPassphrase)
	}
	return nil
}

const paramsHeader = "keyreeve-passphrase-parameters-1"

// text is the only way in which parameters are written; the last line tells damage from a wrong passphrase.
func (p Params) text() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n", paramsHeader)
	fmt.Fprintf(&b, "# Not secret, but needed: without this file the passphrase opens nothing.\n")
	fmt.Fprintf(&b, "kdf argon2id\nmemory-kib %d\npasses %d\nthreads %d\n", p.Memory, p.Passes, Threads)
	fmt.Fprintf(&b, "salt %s\n", base64.StdEncoding.EncodeToString(p.Salt[:]))
	sum := sha256.Sum256(b.Bytes())
	fmt.Fprintf(&b, "check %x\n", sum[:8])
	return b.Bytes()
}

// parseParams takes what text writes and nothing else: it reads the values it knows and compares the whole.
func parseParams(text []byte) (p Params, err error) {
	for line := range bytes.Lines(text) {
		word, value, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
		switch word {
		case "memory-kib":
			p.Memory, err = parseNumber(value)
		case "passes":
			p.Passes, err = parseNumber(value)
		case "salt":
			var salt []byte
			salt, err = base64.StdEncoding.DecodeString(value)
			copy(p.Salt[:], salt)
		}
		if err != nil {
			return p, fmt.Errorf("%w: line %q: %w", ErrParams, word, err)
		}
	}
	if !bytes.Equal(p.text(), text) {
		return p, ErrParams
	}
	return p, p.Check()
}

func parseNumber(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err
}

// CreateParams writes p to path, and never replaces a file: the old salt would be lost, and the store with it.
func CreateParams(path string, p Params) error {
	if err := p.Check(); err != nil {
		return fmt.Errorf("writing passphrase parameters to %s: %w", path, err)
	}
	return durable.CreateFile(durable.OS, path, p.text(), 0o600)
}

// ReadParams reads what CreateParams wrote. Parameters out of bounds are refused, never corrected.
func ReadParams(path string) (Params, error) {
	text, err := durable.ReadFile(durable.OS, path, fileLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return Params{}, fmt.Errorf("reading %s: %w", path, ErrNoParams)
	}
	if err != nil {
		return Params{}, err
	}
	p, err := parseParams(text)
	if err != nil {
		return Params{}, fmt.Errorf("reading %s: %w", path, err)
	}
	return p, nil
}

package rootkey_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/keystore/rootkey"
)

var floor = rootkey.Params{Memory: rootkey.FloorMemory, Passes: rootkey.FloorPasses, Salt: [16]byte{1, 2, 3, 15: 16}}

func phrase(s string) *secret.Bytes { return secret.Own([]byte(s)) }

// The vector was made by this code and must never change: a store would not open any more.
func TestPassphraseVector(t *testing.T) {
	key := mustKey(t, rootkey.FromPassphrase(floor, phrase("correct horse battery staple")))
	if got := hex.EncodeToString(key.Expose()); got != "1e33aa5d7e23e2f3203841a35e7e52e158adc11e6c7e3351854efe95d274c6a9" {
		t.Errorf("key %s", got)
	}
}

func TestPassphraseAndSaltMakeTheKey(t *testing.T) {
	salted := floor
	salted.Salt[7]++
	passes := floor
	passes.Passes++
	seen := map[string]string{}
	for name, s := range map[string]rootkey.Source{
		"one": rootkey.FromPassphrase(floor, phrase("one passphrase")), "other": rootkey.FromPassphrase(floor, phrase("One passphrase")),
		"salted": rootkey.FromPassphrase(salted, phrase("one passphrase")), "passes": rootkey.FromPassphrase(passes, phrase("one passphrase")),
	} {
		key := string(mustKey(t, s).Expose())
		if before, ok := seen[key]; ok || len(key) != rootkey.Size {
			t.Errorf("%s: %d bytes, the same as %q", name, len(key), before)
		}
		seen[key] = name
		if strings.Contains(s.Describe(), "passphrase ") && strings.Contains(s.Describe(), "one passphrase") {
			t.Errorf("description %q shows the passphrase", s.Describe())
		}
		if out := fmt.Sprintf("%v %+v %#v", s, s, s); strings.Contains(out, "ne passphrase") {
			t.Errorf("printing shows the passphrase: %q", out)
		}
	}
}

func TestParamsBounds(t *testing.T) {
	for name, tc := range map[string]struct {
		edit func(*rootkey.Params)
		want error
	}{
		"floor":          {func(*rootkey.Params) {}, nil},
		"less memory":    {func(p *rootkey.Params) { p.Memory-- }, rootkey.ErrWeak},
		"fewer passes":   {func(p *rootkey.Params) { p.Passes-- }, rootkey.ErrWeak},
		"nothing":        {func(p *rootkey.Params) { *p = rootkey.Params{} }, rootkey.ErrWeak},
		"no salt":        {func(p *rootkey.Params) { p.Salt = [16]byte{} }, rootkey.ErrWeak},
		"ceiling":        {func(p *rootkey.Params) { p.Memory, p.Passes = rootkey.MaxMemory, rootkey.MaxPasses }, nil},
		"all memory":     {func(p *rootkey.Params) { p.Memory = rootkey.MaxMemory + 1 }, rootkey.ErrCostly},
		"endless":        {func(p *rootkey.Params) { p.Passes = rootkey.MaxPasses + 1 }, rootkey.ErrCostly},
		"most of uint32": {func(p *rootkey.Params) { p.Memory, p.Passes = 1<<32-1, 1<<32-1 }, rootkey.ErrCostly},
	} {
		p := floor
		tc.edit(&p)
		if err := p.Check(); !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", name, err, tc.want)
		}
		if tc.want == nil {
			continue
		}
		if _, err := rootkey.FromPassphrase(p, phrase("long enough it is")).RootKey(); !errors.Is(err, tc.want) {
			t.Errorf("%s: RootKey: got %v, want %v", name, err, tc.want)
		}
		if err := rootkey.CreateParams(filepath.Join(t.TempDir(), "p"), p); !errors.Is(err, tc.want) {
			t.Errorf("%s: CreateParams: got %v, want %v", name, err, tc.want)
		}
	}
}

func TestShortPassphrases(t *testing.T) {
	for _, p := range []*secret.Bytes{nil, phrase("")} {
		if _, err := rootkey.FromPassphrase(floor, p).RootKey(); !errors.Is(err, rootkey.ErrShort) {
			t.Errorf("empty: got %v, want ErrShort", err)
		}
	}
	for s, want := range map[string]error{"": rootkey.ErrShort, "elevenchars": rootkey.ErrShort, "twelve chars": nil} {
		if err := rootkey.CheckPassphrase(phrase(s)); !errors.Is(err, want) {
			t.Errorf("%q: got %v, want %v", s, err, want)
		}
	}
}

func TestCalibrateNeverGoesBelowTheFloor(t *testing.T) {
	for name, tc := range map[string]struct {
		took, target   time.Duration
		memory, passes uint32
	}{
		"slow machine":      {2 * time.Second, time.Second, 64 << 10, 3},
		"as long as wanted": {time.Second, time.Second, 64 << 10, 3},
		"twice as fast":     {500 * time.Millisecond, time.Second, 128 << 10, 3},
		"memory, then time": {100 * time.Millisecond, 1600 * time.Millisecond, 256 << 10, 12},
		"clock stands":      {0, time.Hour, 256 << 10, rootkey.MaxPasses},
		"clock runs back":   {-time.Hour, time.Millisecond, 64 << 10, 3},
		"no target":         {100 * time.Millisecond, 0, 64 << 10, 3},
		"negative target":   {100 * time.Millisecond, -time.Second, 64 << 10, 3},
	} {
		at := time.Unix(1_700_000_000, 0)
		now := func() time.Time { at = at.Add(tc.took); return at }
		p := rootkey.Calibrate(tc.target, now)
		if p.Memory != tc.memory || p.Passes != tc.passes || p.Check() != nil {
			t.Errorf("%s: %d KiB, %d passes, %v; want %d, %d", name, p.Memory, p.Passes, p.Check(), tc.memory, tc.passes)
		}
	}
	still := func() time.Time { return time.Time{} }
	first, second := rootkey.Calibrate(0, still), rootkey.Calibrate(0, still)
	if first.Salt == second.Salt {
		t.Error("two calibrations gave the same salt")
	}
}

func TestParamsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "params")
	if _, err := rootkey.ReadParams(path); !errors.Is(err, rootkey.ErrNoParams) {
		t.Errorf("absent: got %v, want ErrNoParams", err)
	}
	if err := rootkey.CreateParams(path, floor); err != nil {
		t.Fatal(err)
	}
	got, err := rootkey.ReadParams(path)
	if diff := cmp.Diff(floor, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	other := floor
	other.Salt[0]++
	if err := rootkey.CreateParams(path, other); !errors.Is(err, fs.ErrExist) {
		t.Errorf("again: got %v, want fs.ErrExist", err)
	}
	if got, err := rootkey.ReadParams(path); got != floor || err != nil {
		t.Errorf("after the refusal: %+v, %v", got, err)
	}
}

// A changed file is told from a wrong passphrase, and is never read as something weaker.
func TestParamsFileChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "params")
	if err := rootkey.CreateParams(path, floor); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	good := string(raw)
	edits := map[string]string{
		"memory":         strings.Replace(good, "65536", "1024", 1),
		"passes":         strings.Replace(good, "passes 3", "passes 1", 1),
		"leading zero":   strings.Replace(good, "passes 3", "passes 03", 1),
		"not a number":   strings.Replace(good, "passes 3", "passes x", 1),
		"other kdf":      strings.Replace(good, "argon2id", "argon2i", 1),
		"threads":        strings.Replace(good, "threads 4", "threads 1", 1),
		"no salt":        strings.Replace(good, "salt ", "", 1),
		"bad salt":       strings.Replace(good, "salt A", "salt !", 1),
		"passes twice":   strings.Replace(good, "passes 3\n", "passes 3\npasses 3\n", 1),
		"Windows":        strings.ReplaceAll(good, "\n", "\r\n"),
		"empty":          "",
		"half":           good[:len(good)/2],
		"something else": "hello\n",
		"more":           good + "\n",
		"huge":           good + strings.Repeat("#", 10_000),
	}
	for i := range good {
		b := []byte(good)
		b[i] ^= 1
		edits[fmt.Sprint("byte ", i)] = string(b)
	}
	for name, text := range edits {
		if text == good {
			t.Fatalf("%s: nothing was changed", name)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if p, err := rootkey.ReadParams(path); err == nil {
			t.Errorf("%s: read as %+v", name, p)
		} else if name != "huge" && !errors.Is(err, rootkey.ErrParams) {
			t.Errorf("%s: got %v, want ErrParams", name, err)
		}
	}
}

package backup

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"

	"github.com/keyreeve/keyreeve/internal/secret"
)

var (
	// ErrIdentity is returned when an identity or a passphrase does not open a file.
	ErrIdentity = errors.New("the backup does not open with this")
	// ErrRecipient is returned for text that names no recipient.
	ErrRecipient = errors.New("not an age recipient")
)

// Recipients are who can open a backup: age identities, or a passphrase.
type Recipients struct {
	list  []age.Recipient
	names []string
}

// Names tells the recipients apart, for people: a recipient is up to two
// thousand characters long.
func (r Recipients) Names() []string { return r.names }

// PostQuantum tells whether what is recorded today stays closed to a quantum
// computer. age does not mix recipients of both kinds.
func (r Recipients) PostQuantum() bool {
	_, hybrid := r.list[0].(*age.HybridRecipient)
	_, passphrase := r.list[0].(*age.ScryptRecipient)
	return hybrid || passphrase
}

// ParseRecipients reads age recipients (age1…), one a line, with empty lines and
// lines that begin with "#" passed over.
func ParseRecipients(text string) (r Recipients, err error) {
	if r.list, err = age.ParseRecipients(strings.NewReader(text)); err != nil {
		if strings.Contains(text, "AGE-SECRET-KEY") { // the error could quote it
			return r, fmt.Errorf("%w: it is an identity, which opens backups; keep it elsewhere, and give the recipient that was printed with it", ErrRecipient)
		}
		return r, fmt.Errorf("%w: %w", ErrRecipient, err)
	}
	for _, one := range r.list {
		name := fmt.Sprint(one)
		if len(name) > 24 {
			name = name[:12] + "…" + name[len(name)-8:]
		}
		r.names = append(r.names, name)
	}
	return r, nil
}

// workFactor is age's own: 2^18 rounds of scrypt, a second or so. Only tests change it.
var workFactor = 18

// FromPassphrase is for a backup that a passphrase opens. age takes it as a
// string, which cannot be cleared.
func FromPassphrase(passphrase *secret.Bytes) (Recipients, error) {
	one, err := age.NewScryptRecipient(string(passphrase.Expose()))
	if err != nil {
		return Recipients{}, fmt.Errorf("%w: %w", ErrRecipient, err)
	}
	one.SetWorkFactor(workFactor)
	return Recipients{list: []age.Recipient{one}, names: []string{"passphrase"}}, nil
}

// Identities open backups.
type Identities struct {
	list       []age.Identity
	passphrase bool
}

// ParseIdentities reads what NewIdentity, or age-keygen, wrote.
func ParseIdentities(text *secret.Bytes) (Identities, error) {
	list, err := age.ParseIdentities(bytes.NewReader(text.Expose()))
	if err != nil {
		return Identities{}, errors.New("not a file of age identities: want a line AGE-SECRET-KEY-…") // age's error is not quoted: it has seen the secret
	}
	return Identities{list: list}, nil
}

// PassphraseIdentity opens a backup made with FromPassphrase.
func PassphraseIdentity(passphrase *secret.Bytes) (Identities, error) {
	one, err := age.NewScryptIdentity(string(passphrase.Expose()))
	if err != nil {
		return Identities{}, fmt.Errorf("%w: %w", ErrIdentity, err)
	}
	return Identities{list: []age.Identity{one}, passphrase: true}, nil
}

// NewIdentity makes a hybrid identity, safe from quantum computers, and its
// recipient. The text is a whole file for ParseIdentities; the caller clears it.
func NewIdentity(comment string) (text *secret.Bytes, recipient string, err error) {
	one, err := age.GenerateHybridIdentity()
	if err != nil {
		return nil, "", fmt.Errorf("making an identity: %w", err)
	}
	recipient = one.Recipient().String()
	return secret.Own([]byte("# " + comment + "\n# recipient: " + recipient + "\n" + one.String() + "\n")), recipient, nil
}

// A kept is a recipient that keeps the file's key, so that the server can read
// what it wrote without the identity.
type kept struct {
	age.Recipient
	key *secret.Bytes
}

func (k *kept) Wrap(fileKey []byte) ([]*age.Stanza, error) {
	k.keep(fileKey)
	return k.Recipient.Wrap(fileKey)
}

// WrapWithLabels implements age.RecipientWithLabels: without it a hybrid
// recipient could be mixed with one that is not.
func (k *kept) WrapWithLabels(fileKey []byte) ([]*age.Stanza, []string, error) {
	k.keep(fileKey)
	if r, ok := k.Recipient.(age.RecipientWithLabels); ok {
		return r.WrapWithLabels(fileKey)
	}
	stanzas, err := k.Recipient.Wrap(fileKey)
	return stanzas, nil, err
}

func (k *kept) keep(fileKey []byte) {
	k.key.Clear()
	k.key = secret.New(len(fileKey))
	copy(k.key.Expose(), fileKey)
}

// encrypt begins an age file. With the identities that it returns the file can
// be read back; forget clears them.
func encrypt(out io.Writer, r Recipients) (w io.WriteCloser, own Identities, forget func(), err error) {
	if len(r.list) == 0 {
		return nil, own, nil, fmt.Errorf("%w: none is given", ErrRecipient)
	}
	first := &kept{Recipient: r.list[0]}
	list := append([]age.Recipient{first}, r.list[1:]...)
	if w, err = age.Encrypt(out, list...); err != nil {
		first.key.Clear()
		return nil, own, nil, fmt.Errorf("encrypting: %w", err)
	}
	own.list = []age.Identity{age.NewInjectedFileKeyIdentity(first.key.Expose())}
	return w, own, first.key.Clear, nil
}

const ageIntro = "age-encryption.org/v1\n"

// decrypt opens an age file.
func decrypt(in io.Reader, own Identities) (io.Reader, error) {
	intro := make([]byte, len(ageIntro))
	if n, err := io.ReadFull(in, intro); err != nil || string(intro) != ageIntro {
		if err := wrong(err, ErrNotBackup); err != nil && n < len(intro) {
			return nil, err
		}
		return nil, fmt.Errorf("%w: it is no age file", ErrNotBackup)
	}
	plain, err := age.Decrypt(io.MultiReader(bytes.NewReader(intro), in), own.list...)
	var none *age.NoIdentityMatchError
	switch {
	case err == nil:
		return &payload{plain}, nil
	case errors.As(err, &none):
		return nil, own.noMatch(none.StanzaTypes)
	}
	return nil, fmt.Errorf("%w: its head: %w", ErrDamaged, err)
}

func (i Identities) noMatch(stanzas []string) error {
	passphrase := len(stanzas) == 1 && stanzas[0] == "scrypt"
	switch {
	case passphrase && !i.passphrase:
		return fmt.Errorf("%w: it was made with a passphrase, not for an identity", ErrIdentity)
	case !passphrase && i.passphrase:
		return fmt.Errorf("%w: it was made for an identity, not with a passphrase", ErrIdentity)
	case i.passphrase:
		return fmt.Errorf("%w: the passphrase is another one, or the file's head is damaged", ErrIdentity)
	}
	return fmt.Errorf("%w: it was made for another identity, or its head is damaged", ErrIdentity)
}

// payload names age's errors: a chunk that does not open was altered, or is not
// where it was written.
type payload struct{ in io.Reader }

func (p *payload) Read(b []byte) (int, error) {
	n, err := p.in.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return n, err
}

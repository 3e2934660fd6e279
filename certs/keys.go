package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"

	"github.com/keyreeve/keyreeve/internal/secret"
)

// KeyType is the kind of key pair to make. The zero value is RSA-2048: known to work with every vCenter, which cannot
// yet be said of an ECDSA server certificate.
type KeyType int

// The key types on offer.
const (
	RSA2048 KeyType = iota // every known client takes it
	P256                   // a third of the server's CPU time in a handshake
)

// String returns the name that [ParseKeyType] reads.
func (t KeyType) String() string {
	if t == P256 {
		return "p256"
	}
	return "rsa2048"
}

// ParseKeyType reads "rsa2048" or "p256"; the empty text is RSA2048.
func ParseKeyType(s string) (KeyType, error) {
	switch s {
	case "", "rsa2048":
		return RSA2048, nil
	case "p256":
		return P256, nil
	}
	return 0, fmt.Errorf("key type %s is unknown: use rsa2048 or p256", quote(s))
}

func (t KeyType) generate(rand io.Reader) (crypto.Signer, error) {
	switch t {
	case RSA2048:
		return rsa.GenerateKey(rand, 2048)
	case P256:
		return ecdsa.GenerateKey(elliptic.P256(), rand)
	}
	return nil, fmt.Errorf("key type %d is unknown", int(t))
}

// ErrWeakKey is wrapped by every refusal of a public key that is too weak or that TLS cannot use.
var ErrWeakKey = errors.New("key refused")

const (
	minRSABits = 2048
	maxRSABits = 8192 // crypto/tls refuses larger ones, which would cost the server too much
)

// checkPublicKey refuses keys that a handshake would refuse anyway, or that can be broken.
func checkPublicKey(pub crypto.PublicKey) error {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		return checkRSA(k)
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P224() {
			return fmt.Errorf("%w: curve P-224 cannot be used with TLS; use P-256, P-384, P-521, Ed25519 or RSA of 2048 bits or more", ErrWeakKey)
		}
		return nil
	case ed25519.PublicKey:
		return nil
	}
	return fmt.Errorf("%w: type %T cannot be used with TLS; use P-256, P-384, P-521, Ed25519 or RSA of 2048 bits or more", ErrWeakKey, pub)
}

func checkRSA(k *rsa.PublicKey) error {
	bits := k.N.BitLen()
	switch {
	case bits < minRSABits:
		return fmt.Errorf("%w: RSA with %d bits is too weak; make a key of %d bits or more", ErrWeakKey, bits, minRSABits)
	case bits > maxRSABits:
		return fmt.Errorf("%w: RSA with %d bits is more than TLS accepts; make a key of at most %d bits", ErrWeakKey, bits, maxRSABits)
	case k.N.Bit(0) == 0:
		return fmt.Errorf("%w: the RSA modulus is even, so anybody can factor it; make a new key", ErrWeakKey)
	case k.E < 3 || k.E%2 == 0:
		return fmt.Errorf("%w: the RSA exponent %d protects nothing; make a new key with exponent 65537", ErrWeakKey, k.E)
	}
	return nil
}

// privateKeyPEM encodes an unencrypted PKCS#8 key, which OpenSSL, PyKMIP (through OpenSSL) and vCenter's upload take.
func privateKeyPEM(pkcs8 *secret.Bytes) *secret.Bytes {
	buf := bytes.NewBuffer(make([]byte, 0, 2*pkcs8.Len()+128)) // large enough not to grow, which would leave copies
	if err := pem.Encode(buf, &pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8.Expose()}); err != nil {
		panic("certs: writing to memory failed: " + err.Error())
	}
	return secret.Own(buf.Bytes())
}

// parsePrivateKey reads the forms that tools write: PKCS#8, PKCS#1 and SEC 1. Its error never quotes the input.
func parsePrivateKey(block *pem.Block) (crypto.Signer, error) {
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "ENCRYPTED PRIVATE KEY":
		return nil, errors.New("the private key is encrypted; the server needs it without a passphrase")
	default:
		return nil, fmt.Errorf("PEM block %s is not a private key", quote(block.Type))
	}
	if err != nil {
		return nil, fmt.Errorf("PEM block %q cannot be read", block.Type)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a key of type %T cannot sign", key)
	}
	return signer, nil
}

func samePublicKey(a, b crypto.PublicKey) bool {
	x, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && x.Equal(b)
}

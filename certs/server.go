package certs

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/internal/durable"
	"github.com/keyreeve/keyreeve/internal/secret"
)

// Names of the files of the server's folder.
const (
	ServerCertificateFile = "server.pem" // leaf, then CA
	ServerKeyFile         = "server-key.pem"
	ServerCAFile          = "ca.pem" // what clients are given
)

// ServerRequest says what the server's certificate is for.
type ServerRequest struct {
	Hosts    []string // host names and IP addresses under which clients reach the server; at least one
	KeyType  KeyType
	Validity time.Duration // zero means DefaultValidity; never beyond the CA's end
}

// Server is a server certificate with its key; whoever holds it calls Clear.
type Server struct {
	Certificate *x509.Certificate
	CA          *x509.Certificate
	Key         *secret.Bytes // PKCS#8
}

// Clear wipes the private key.
func (s *Server) Clear() { s.Key.Clear() }

// IssueServer makes the server's key and certificate. It is for clientAuth too, because vCenter since 6.7 wants both
// extended usages on the certificate of a KMS, and because cluster members are each other's clients.
func (ca *CA) IssueServer(req ServerRequest) (*Server, error) {
	names, addresses, err := ParseHosts(req.Hosts)
	if err != nil {
		return nil, err
	}
	key, err := req.KeyType.generate(ca.rand)
	if err != nil {
		return nil, fmt.Errorf("making the server's key: %w", err)
	}
	template := x509.Certificate{
		Subject:     pkix.Name{CommonName: commonName(req.Hosts[0])},
		DNSNames:    names,
		IPAddresses: addresses,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if req.KeyType == RSA2048 {
		template.KeyUsage |= x509.KeyUsageKeyEncipherment // for the static-RSA suites of old clients
	}
	cert, err := ca.issue(template, key.Public(), req.Validity)
	if err != nil {
		return nil, fmt.Errorf("issuing the server's certificate: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding the server's key: %w", err)
	}
	return &Server{Certificate: cert, CA: ca.cert, Key: secret.Own(der)}, nil
}

// commonName fits the 64 characters of RFC 5280's ub-common-name; clients judge by the alternative names anyway.
func commonName(host string) string {
	if host = strings.Trim(host, "."); len(host) <= 64 {
		return host
	}
	return "Keyreeve server"
}

// WriteServer replaces the three files in dir, each durably. They cannot be replaced at once, so key and CA file hold
// the new content and the old while the certificate changes: a crash at any point leaves a folder that [LoadServer]
// opens, and a server that starts again.
func WriteServer(dir string, s *Server) error { return writeServer(durable.OS, dir, s) }

func writeServer(fsys durable.FS, dir string, s *Server) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("writing the server's certificate: %w", err)
	}
	key := privateKeyPEM(s.Key)
	defer key.Clear()
	bothKeys, err := withOld(filepath.Join(dir, ServerKeyFile), key.Expose())
	if err != nil {
		return fmt.Errorf("writing the server's certificate: %w", err)
	}
	defer bothKeys.Clear()
	ca := certificatePEM(s.CA)
	bothCAs, err := withOld(filepath.Join(dir, ServerCAFile), ca)
	if err != nil {
		return fmt.Errorf("writing the server's certificate: %w", err)
	}
	steps := []struct {
		file string
		data []byte
		perm os.FileMode
	}{
		{ServerCAFile, bothCAs.Expose(), 0o644},
		{ServerKeyFile, bothKeys.Expose(), 0o600},
		{ServerCertificateFile, slices.Concat(certificatePEM(s.Certificate), ca), 0o644},
		{ServerKeyFile, key.Expose(), 0o600},
		{ServerCAFile, ca, 0o644},
	}
	for _, step := range steps {
		if err := durable.WriteFile(fsys, filepath.Join(dir, step.file), step.data, step.perm); err != nil {
			return fmt.Errorf("writing the server's certificate: %w", err)
		}
	}
	return nil
}

// withOld returns data followed by what the file holds now.
func withOld(path string, data []byte) (*secret.Bytes, error) {
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	defer secret.Clear(old)
	both := secret.New(len(data) + len(old))
	copy(both.Expose()[copy(both.Expose(), data):], old)
	return both, nil
}

// ErrBadHost is wrapped by refusals of what cannot be a subject alternative name.
var ErrBadHost = errors.New("bad host")

// ParseHosts sorts host names and IP addresses (version 4 and 6) for a certificate, without repetitions.
func ParseHosts(hosts []string) (names []string, addresses []net.IP, err error) {
	if len(hosts) == 0 {
		return nil, nil, fmt.Errorf("%w: give at least one host name or IP address under which clients reach the server", ErrBadHost)
	}
	seen := map[string]bool{}
	for _, host := range hosts {
		name, address, err := parseHost(host)
		if err != nil {
			return nil, nil, fmt.Errorf("%w %s: %w", ErrBadHost, quote(host), err)
		}
		if key := name + address.String(); seen[key] {
			continue
		} else {
			seen[key] = true
		}
		if address.IsValid() {
			addresses = append(addresses, address.AsSlice())
		} else {
			names = append(names, name)
		}
	}
	return names, addresses, nil
}

func parseHost(host string) (string, netip.Addr, error) {
	if address, err := netip.ParseAddr(host); err == nil {
		address = address.Unmap()
		if address.Zone() != "" {
			return "", netip.Addr{}, errors.New("an address with a zone means something else on every host; leave the zone out")
		}
		if address.IsUnspecified() || address.IsMulticast() {
			return "", netip.Addr{}, errors.New("this address cannot be connected to")
		}
		return "", address, nil
	}
	switch {
	case strings.Contains(host, "://"), strings.Contains(host, "/"):
		return "", netip.Addr{}, errors.New("want a host name or address, not a URL or network")
	case strings.Contains(host, ":"):
		return "", netip.Addr{}, errors.New("want a host name without port; an IPv6 address stands without brackets")
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	return name, netip.Addr{}, checkDNSName(name)
}

// checkDNSName holds a name against RFC 1123 section 2.1, and allows the underscore that many labs have.
func checkDNSName(name string) error {
	if name == "" {
		return errors.New("it is empty")
	}
	if len(name) > 253 {
		return errors.New("it is longer than 253 characters")
	}
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if err := checkLabel(label); err != nil {
			return err
		}
	}
	if strings.Trim(labels[len(labels)-1], "0123456789") == "" {
		return errors.New("it looks like an IP address, but is not one")
	}
	return nil
}

func checkLabel(label string) error {
	switch {
	case label == "":
		return errors.New("it has an empty part between dots")
	case len(label) > 63:
		return errors.New("a part between dots is longer than 63 characters")
	case label[0] == '-' || label[len(label)-1] == '-':
		return errors.New("a part begins or ends with \"-\"")
	case label == "*":
		return errors.New("a wildcard would let this key speak for other hosts; list the names")
	}
	for _, c := range label {
		if c >= 0x80 {
			return errors.New("write an international name in its ASCII form (xn--…)")
		}
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return fmt.Errorf("%q cannot be in a host name", c)
		}
	}
	return nil
}

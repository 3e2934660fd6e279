package ovhcloud

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// KMIPPort is the only port that OVHcloud opens.
const KMIPPort = 5696

// Desired is how the entry of one key server is to be.
type Desired struct {
	Address     string // IPv4, as OVHcloud's network reaches the server
	Port        int    // 0: KMIPPort; another one is refused
	Thumbprint  string // SHA-1 of the server's certificate, with colons
	Description string // "": whatever is there stays
	// Replaces are addresses that this server had before. Their entries go once
	// the one of Address is delivered. Nothing else is ever removed.
	Replaces []string
}

// A wanted is a Desired that was checked.
type wanted struct {
	ip          netip.Addr
	thumbprint  string
	description string
	replaces    []netip.Addr
}

// Check refuses what OVHcloud cannot take, and warns of what it takes and what
// will hardly work. The error wraps ErrNotPossible.
func (d Desired) Check() (warnings []string, err error) {
	w, err := d.check()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotPossible, err)
	}
	return warn(w.ip), nil
}

func (d Desired) check() (w wanted, err error) {
	if w.ip, err = address(d.Address); err != nil {
		return w, err
	}
	if d.Port != 0 && d.Port != KMIPPort {
		return w, fmt.Errorf("port %d: OVHcloud opens port %d and no other; have the server, or what stands before it, listen there", d.Port, KMIPPort)
	}
	if w.thumbprint, err = thumbprint(d.Thumbprint); err != nil {
		return w, err
	}
	if strings.ContainsFunc(d.Description, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return w, fmt.Errorf("description %q: want printable characters on one line", d.Description)
	}
	if w.description = strings.TrimSpace(d.Description); len(w.description) > longest { // what is read is cut there, and would always differ
		return w, fmt.Errorf("description of %d bytes: want %d bytes at most", len(w.description), longest)
	}
	for _, old := range d.Replaces {
		ip, err := address(old)
		if err != nil {
			return w, fmt.Errorf("an address that is replaced: %w", err)
		}
		if ip == w.ip {
			return w, fmt.Errorf("address %s replaces itself: then its entry would be removed", ip)
		}
		if !slices.Contains(w.replaces, ip) {
			w.replaces = append(w.replaces, ip)
		}
	}
	return w, nil
}

// address reads what OVHcloud's field takes: IPv4 and nothing else.
func address(text string) (netip.Addr, error) {
	ip, err := netip.ParseAddr(text)
	switch {
	case text == "":
		return ip, fmt.Errorf("no address: want the IPv4 address under which OVHcloud's network reaches the server")
	case err != nil && strings.ContainsAny(text, ":"):
		if _, portErr := netip.ParseAddrPort(text); portErr == nil {
			return ip, fmt.Errorf("address %q: want it without a port: OVHcloud always opens %d", text, KMIPPort)
		}
		return ip, fmt.Errorf("address %q: want an IPv4 address", text)
	case err != nil:
		return ip, fmt.Errorf("address %q: OVHcloud takes an IPv4 address, no name", text)
	case !ip.Is4():
		return ip, fmt.Errorf("address %q: OVHcloud takes IPv4 only; give the server an IPv4 address", text)
	case ip.IsUnspecified(), ip.IsMulticast(), ip.As4()[0] == 0, ip.As4()[0] >= 240:
		return ip, fmt.Errorf("address %s is nobody's: want that of the server", ip)
	}
	return ip, nil
}

var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")

// warn names addresses that are taken and hardly reached.
func warn(ip netip.Addr) []string {
	switch {
	case ip.IsLoopback():
		return []string{fmt.Sprintf("%s is this machine itself: no vCenter reaches the server there", ip)}
	case ip.IsLinkLocalUnicast(), ip.IsPrivate(), sharedSpace.Contains(ip):
		return []string{fmt.Sprintf("%s is a private address: whether OVHcloud takes one, as of a vRack, is not known; it must be routed to your service", ip)}
	}
	return nil
}

var thumbprintForm = regexp.MustCompile(`^([0-9A-F]{2}:){19}[0-9A-F]{2}$`)

// thumbprint returns it as OVHcloud's API spells it.
func thumbprint(text string) (string, error) {
	t := strings.ToUpper(strings.TrimSpace(text))
	if thumbprintForm.MatchString(t) {
		return t, nil
	}
	digits := strings.ReplaceAll(t, ":", "")
	switch {
	case t == "":
		return "", fmt.Errorf("no thumbprint: want the SHA-1 thumbprint of the server's certificate")
	case len(digits) == 64:
		return "", fmt.Errorf("thumbprint %s is a SHA-256 fingerprint: OVHcloud wants SHA-1 (20 bytes)", t)
	}
	return "", fmt.Errorf("thumbprint %q: want 20 bytes of upper-case hexadecimal with colons, as in A7:61:…:2F", clean(text))
}

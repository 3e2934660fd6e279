package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// HandshakeKind says how a handshake ended that did not succeed; it is stable, for metrics.
type HandshakeKind string

// How handshakes end.
const (
	HandshakeNoCertificate HandshakeKind = "no-certificate" // vCenter's first contact, or a probe that reads our certificate
	HandshakeClosed        HandshakeKind = "closed"         // the peer went away: a port check, a load balancer's probe
	HandshakeTimeout       HandshakeKind = "timeout"
	HandshakeRefused       HandshakeKind = "refused"   // we do not accept the client's certificate
	HandshakeUntrusted     HandshakeKind = "untrusted" // the client does not accept ours
	HandshakeVersion       HandshakeKind = "version"   // no TLS version in common
	HandshakeCipher        HandshakeKind = "cipher"    // no cipher suite, curve or signature in common
	HandshakePlaintext     HandshakeKind = "plaintext" // the peer does not speak TLS
	HandshakeOther         HandshakeKind = "other"
)

// Level is what the end of a handshake deserves in the log.
func (k HandshakeKind) Level() slog.Level {
	switch k {
	case HandshakeNoCertificate, HandshakeClosed:
		return slog.LevelInfo
	}
	return slog.LevelWarn
}

// ClassifyHandshakeError turns the error of a server's handshake into a kind and a sentence for the administrator,
// who on the other side often sees nothing but a meaningless message. The sentence is fit to print.
func ClassifyHandshakeError(err error) (HandshakeKind, string) {
	for _, classify := range []func(error) (HandshakeKind, string){
		classifyRefusal, classifyConnection, classifyRecord, classifyAlert, classifyLocal,
	} {
		if kind, message := classify(err); kind != "" {
			return kind, message
		}
	}
	return HandshakeOther, "the TLS handshake failed: " + clean(err.Error())
}

// noCertificateText is crypto/tls's; there is no typed error. A test holds it against a real handshake.
const noCertificateText = "tls: client didn't provide a certificate"

func classifyRefusal(err error) (HandshakeKind, string) {
	var refused *RefusedError
	if errors.As(err, &refused) && refused.Code != CodeNoCertificate {
		return HandshakeRefused, refused.Error()
	}
	if refused != nil || err.Error() == noCertificateText {
		return HandshakeNoCertificate, "the client presented no certificate and has only read the server's, as vCenter does on first contact; " +
			"to use keys it must present one that is enrolled (keyreeve client add NAME)"
	}
	return "", ""
}

func classifyConnection(err error) (HandshakeKind, string) {
	var netErr net.Error
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		return HandshakeTimeout, "the client did not finish the TLS handshake in time: a slow or filtered network, or a peer that waits for the server to speak first"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.ErrClosedPipe), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, context.Canceled):
		return HandshakeClosed, "the connection was closed before the TLS handshake was complete: a port check or health probe, or a client that gave up without saying why"
	}
	return "", ""
}

// classifyRecord recognises what is not TLS by its first five bytes.
func classifyRecord(err error) (HandshakeKind, string) {
	var record tls.RecordHeaderError
	if !errors.As(err, &record) {
		return "", ""
	}
	first := string(record.RecordHeader[:])
	for _, method := range []string{"GET ", "POST ", "PUT ", "HEAD ", "OPTIO", "CONNE", "DELET", "PATCH"} {
		if strings.HasPrefix(first, method) {
			return HandshakePlaintext, "the client speaks plain HTTP; this port serves KMIP over TLS (the admin API has another address)"
		}
	}
	switch {
	case strings.HasPrefix(first, "\x42\x00\x78"):
		return HandshakePlaintext, "the client speaks KMIP without TLS; turn TLS on in the client"
	case strings.HasPrefix(first, "PRI *"):
		return HandshakePlaintext, "the client speaks HTTP/2 without TLS; this port serves KMIP over TLS"
	case strings.HasPrefix(first, "PROXY"), strings.HasPrefix(first, "\r\n\r\n\x00"):
		return HandshakePlaintext, "a load balancer sends a PROXY protocol header; turn that off"
	}
	return HandshakePlaintext, fmt.Sprintf("the first bytes (% X) are not TLS", record.RecordHeader)
}

// alertKinds are what the alerts of a client say about us (RFC 8446 section 6.2).
var alertKinds = []struct {
	alert   tls.AlertError
	kind    HandshakeKind
	message string
}{
	{48, HandshakeUntrusted, "the client does not trust this server's certificate; give it ca.pem, or re-upload it in vCenter"},
	{42, HandshakeUntrusted, "the client does not trust this server's certificate; give it ca.pem, or re-upload it in vCenter"},
	{46, HandshakeUntrusted, "the client does not trust this server's certificate; give it ca.pem, or re-upload it in vCenter, and see that it lists the name or address by which the client connects"},
	{43, HandshakeUntrusted, "the client cannot use this server's certificate; if it is ECDSA, issue one with an RSA key"},
	{44, HandshakeUntrusted, "the client holds this server's certificate for revoked"},
	{45, HandshakeUntrusted, "the client says that this server's certificate has expired; renew it, or set the client's clock"},
	{49, HandshakeUntrusted, "the client ended the handshake: access denied on its side"},
	{112, HandshakeUntrusted, "the client does not accept this server's name"},
	{70, HandshakeVersion, "the client does not speak TLS 1.2 or 1.3"},
	{86, HandshakeVersion, "the client fell back to a TLS version lower than both sides know"},
	{40, HandshakeCipher, "the client found no cipher suite or parameters in common; for clients of vSphere 6.5 and 6.7 set " + LegacySetting + ": true"},
	{71, HandshakeCipher, "the client wants stronger cipher suites or keys than it was offered"},
	{47, HandshakeCipher, "the client rejected a parameter of the handshake"},
	{90, HandshakeClosed, "the client canceled the handshake"},
	{0, HandshakeClosed, "the client closed the connection during the handshake"},
}

func classifyAlert(err error) (HandshakeKind, string) {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" || op.Err == nil {
		return "", ""
	}
	for _, a := range alertKinds {
		if op.Err.Error() == a.alert.Error() {
			return a.kind, fmt.Sprintf("%s (TLS alert: %s)", a.message, strings.TrimPrefix(a.alert.Error(), "tls: "))
		}
	}
	return HandshakeOther, "the client ended the handshake with the alert: " + clean(strings.TrimPrefix(op.Err.Error(), "tls: "))
}

// classifyLocal reads crypto/tls's own words, which have no types; what it does not know falls to HandshakeOther.
func classifyLocal(err error) (HandshakeKind, string) {
	text := err.Error()
	switch {
	case strings.Contains(text, "client offered only unsupported versions"):
		return HandshakeVersion, "the client offers only " + names(text, tls.VersionName) + "; this server speaks TLS 1.2 and 1.3, so turn one of them on in the client"
	case strings.Contains(text, "no cipher suite supported by both"):
		return HandshakeCipher, cipherMessage(text)
	case strings.Contains(text, "no key exchanges supported by both"), strings.Contains(text, "incompatible point formats"):
		return HandshakeCipher, "the client offers no elliptic curve that this server has (X25519, P-256, P-384, P-521)"
	case strings.Contains(text, "local error: tls: bad record MAC"):
		// OpenSSL sends its alerts of this moment in clear, which crypto/tls cannot tell from a forged record.
		return HandshakeUntrusted, "the client broke off the TLS 1.3 handshake when it saw this server's certificate, as OpenSSL does when it does not trust it; " +
			"give it ca.pem, or re-upload it in vCenter, and see that the certificate lists the name or address by which the client connects"
	case strings.Contains(text, "signature algorithm"):
		return HandshakeCipher, "client and server have no signature algorithm in common: " + clean(text)
	case strings.Contains(text, "invalid signature by the client certificate"):
		return HandshakeRefused, "the client presented a certificate whose private key it does not hold; install the key that belongs to it"
	case strings.Contains(text, "failed to parse client certificate"),
		strings.Contains(text, "client certificate contains an unsupported public key"),
		strings.Contains(text, "client sent certificate containing RSA key larger"):
		return HandshakeRefused, "the client's certificate cannot be used: " + clean(text)
	}
	return "", ""
}

func cipherMessage(text string) string {
	message := "no cipher suite in common; the client offers " + names(text, tls.CipherSuiteName)
	for _, id := range hexList(text) {
		for _, legacy := range legacySuites {
			if id == legacy {
				return message + "; to serve it all the same set " + LegacySetting + ": true"
			}
		}
	}
	return message
}

// names shows the hexadecimal list at the end of a crypto/tls error in words.
func names(text string, name func(uint16) string) string {
	var known []string
	for _, id := range hexList(text) {
		if len(known) == 12 {
			known = append(known, "…")
			break
		}
		known = append(known, name(id))
	}
	if known == nil {
		return "nothing known"
	}
	return strings.Join(known, ", ")
}

func hexList(text string) []uint16 {
	_, list, _ := strings.Cut(text, "[")
	list, _, _ = strings.Cut(list, "]")
	var ids []uint16
	for _, field := range strings.Fields(list) {
		if id, err := strconv.ParseUint(field, 16, 16); err == nil {
			ids = append(ids, uint16(id))
		}
	}
	return ids
}

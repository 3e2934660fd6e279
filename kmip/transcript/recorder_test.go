package transcript_test

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/kmipclient"
	"github.com/keyreeve/keyreeve/kmip/kmiptest"
	"github.com/keyreeve/keyreeve/kmip/transcript"
)

func recorder(t *testing.T, change ...func(*transcript.RecorderConfig)) (*transcript.Recorder, string) {
	t.Helper()
	cfg := transcript.RecorderConfig{
		Path: filepath.Join(t.TempDir(), "recording"), Hidden: transcript.Redactions, About: "a test", Logger: slog.New(slog.DiscardHandler),
	}
	for _, f := range change {
		f(&cfg)
	}
	r, err := transcript.NewRecorder(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r, cfg.Path
}

// recordConversation has a client say all that a recording must cope with, and
// returns the recording and the keys that it must not hold.
func recordConversation(t *testing.T, change ...func(*transcript.RecorderConfig)) (text string, planted map[string][]byte) {
	t.Helper()
	r, path := recorder(t, change...)
	server, _ := kmiptest.NewServer(t, kmiptest.Options{Recorder: r})
	planted = map[string][]byte{"the password": []byte("correct-horse-battery")}
	converse(t, server, tls.VersionTLS12, planted)
	converse(t, server, tls.VersionTLS13, planted)
	if err := server.Shutdown(); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data), planted
}

func converse(t *testing.T, server *kmiptest.Server, version uint16, planted map[string][]byte) {
	t.Helper()
	ctx := t.Context()
	config, err := server.ClientTLS("vmware-host")
	if err != nil {
		t.Fatal(err)
	}
	config.MinVersion, config.MaxVersion = version, version
	password := secret.Own(bytes.Clone(planted["the password"]))
	defer password.Clear()
	c, err := kmipclient.Dial(ctx, server.Addr(), kmipclient.Config{TLS: config, Username: "alice", Password: password})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	name := fmt.Sprintf("production database %x", version)
	made, err := c.Create(ctx, kmipclient.CreateOptions{Name: name})
	must(err)
	key, err := c.Get(ctx, made)
	must(err)
	planted[fmt.Sprintf("created %x", version)] = bytes.Clone(key.Expose())
	brought := []byte(fmt.Sprintf("0123456789abcdef0123456789ab%04x", version))
	planted[fmt.Sprintf("registered %x", version)] = brought
	registered, err := c.Register(ctx, kmipclient.RegisterOptions{Material: secret.Own(bytes.Clone(brought)), CreateOptions: kmipclient.CreateOptions{Name: name + " 2"}})
	must(err)
	_, err = c.Get(ctx, registered)
	must(err)
	_, err = c.AddAttribute(ctx, made, kmip.IntegerAttribute("x-Number", 987654))
	must(err)
	_, err = c.AddAttribute(ctx, made, kmip.TextAttribute("x-Owner", "Mister Smith"))
	must(err)
	found, err := c.Locate(ctx, kmip.NameAttribute(name))
	must(err)
	if len(found) != 1 {
		t.Fatalf("located %v", found)
	}
	_, err = c.GetAttributes(ctx, made)
	must(err)
	if _, err := c.Get(ctx, "01890000-0000-7000-8000-000000000000"); err == nil {
		t.Fatal("an absent key was handed out")
	}
	must(c.Activate(ctx, made))
	if err := c.Destroy(ctx, made); err == nil {
		t.Fatal("an active key was destroyed")
	}
	must(c.Revoke(ctx, made, kmip14.RevocationReasonCodeCessationOfOperation, "sold to Mister Smith", 0))
	must(c.Destroy(ctx, made))
}

// TestRecordingReplays: what was recorded is a transcript, and a new server
// answers it to the byte.
func TestRecordingReplays(t *testing.T) {
	for _, hidden := range [][]string{transcript.Redactions, {transcript.Names}, nil} {
		t.Run(strings.Join(hidden, ","), func(t *testing.T) {
			text, _ := recordConversation(t, func(c *transcript.RecorderConfig) { c.Hidden = hidden })
			parsed, err := transcript.ParseTranscript([]byte(text))
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			if unset := parsed.Unset(); len(unset) > 0 {
				t.Errorf("it does not stand alone: %v", unset)
			}
			if n := strings.Count(text, " send --"); n < 20 {
				t.Errorf("only %d requests were recorded", n)
			}
			kmiptest.RunTranscript(t, []byte(text))
		})
	}
}

// TestRecordingHoldsNoSecret looks for keys and passwords in every form they
// could leak in, at any offset.
func TestRecordingHoldsNoSecret(t *testing.T) {
	text, planted := recordConversation(t, func(c *transcript.RecorderConfig) { c.Hidden = nil })
	if len(planted) != 5 {
		t.Fatalf("only %d secrets were planted", len(planted))
	}
	for what, value := range planted {
		for form, piece := range pieces(value) {
			if strings.Contains(text, piece) {
				t.Errorf("%s is in the recording as %s", what, form)
			}
		}
	}
	// A search that finds nothing proves something only if it can find.
	for what, value := range planted {
		leak := "x" + base64.StdEncoding.EncodeToString(append([]byte{1}, value...)) + hex.EncodeToString(value)
		hits := 0
		for _, piece := range pieces(value) {
			if strings.Contains(leak, piece) {
				hits++
			}
		}
		if hits < 2 {
			t.Errorf("%s would not be found", what)
		}
	}
}

// pieces spells eight bytes of a secret in the forms it could leak in.
func pieces(value []byte) map[string]string {
	all := map[string]string{}
	for at := 0; at+8 <= len(value); at++ {
		piece := value[at : at+8]
		all[fmt.Sprint("bytes at ", at)] = string(piece)
		all[fmt.Sprint("hex at ", at)] = hex.EncodeToString(piece)
		all[fmt.Sprint("HEX at ", at)] = strings.ToUpper(hex.EncodeToString(piece))
		all[fmt.Sprint("base64 at ", at)] = base64.StdEncoding.EncodeToString(piece[:6])
		all[fmt.Sprint("quoted at ", at)] = strings.Trim(fmt.Sprintf("%q", piece), `"`)
	}
	return all
}

// TestRecordingHidesAtChoice: what is to be hidden is not there, what is not is.
func TestRecordingHidesAtChoice(t *testing.T) {
	shown := map[string][]string{
		transcript.Names:      {"production database", "sold to Mister Smith"},
		transcript.Attributes: {`"Mister Smith"`, "987654"},
		transcript.Usernames:  {`"alice"`, "vmware-host"},
		transcript.Addresses:  {"127.0.0.1:"},
	}
	for _, hide := range append(transcript.Redactions, "") {
		text, _ := recordConversation(t, func(c *transcript.RecorderConfig) { c.Hidden = []string{hide} })
		for what, words := range shown {
			for _, w := range words {
				if strings.Contains(text, w) == (what == hide) {
					t.Errorf("hiding %q: %s is there: %v", hide, w, what != hide)
				}
			}
		}
	}
}

// TestUnreadableIsNotRecorded: bytes that nobody can read may be a key.
func TestUnreadableIsNotRecorded(t *testing.T) {
	r, path := recorder(t)
	server, _ := kmiptest.NewServer(t, kmiptest.Options{Recorder: r})
	key := []byte("0123456789abcdef")
	for _, message := range [][]byte{
		append([]byte{0x42, 0x00, 0x78, 0x01, 0, 0, 0, 24, 0x42, 0x00, 0x43, 0x0f, 0, 0, 0, 16}, key...), // no such type
		key, // no KMIP
	} {
		c, err := server.Dial(t.Context(), "vcenter")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write(message)
		_, _ = c.Read(make([]byte, 1))
		_ = c.Close()
	}
	_ = server.Shutdown()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	data, _ := os.ReadFile(path)
	for form, piece := range pieces(key) {
		if bytes.Contains(data, []byte(piece)) {
			t.Errorf("recorded as %s", form)
		}
	}
	for _, want := range []string{"sends 32 bytes that are not recorded: no well-formed TTLV", "sends 8 bytes that are not recorded: not a KMIP request"} {
		if !bytes.Contains(data, []byte(want)) {
			t.Errorf("not said: %s\n%s", want, data)
		}
	}
	if _, err := transcript.ParseTranscript(data); err != nil {
		t.Error(err)
	}
}

// TestRecordingStaysBelowItsLimit, and says that it ended; what is there is
// still a transcript. The file is for its owner, and none is overwritten.
func TestRecordingStaysBelowItsLimit(t *testing.T) {
	const limit = 10000
	var log kmiptest.Log
	text, _ := recordConversation(t, func(c *transcript.RecorderConfig) { c.MaxSize, c.Logger = limit, slog.New(&log) })
	if len(text) > limit+100 || len(text) < limit/2 || !strings.HasSuffix(text, "it has reached its limit\n") {
		t.Errorf("%d bytes, ends with %q", len(text), text[max(0, len(text)-80):])
	}
	if _, err := transcript.ParseTranscript([]byte(text)); err != nil {
		t.Error(err)
	}
	if lines := log.Lines(slog.LevelWarn); len(lines) != 1 || !strings.Contains(lines[0].Text, "nothing more is recorded") {
		t.Errorf("logged: %v", lines)
	}
	_, path := recorder(t)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, mode %v", err, info.Mode())
	}
	if _, err := transcript.NewRecorder(transcript.RecorderConfig{Path: path}); err == nil {
		t.Error("a file that exists was taken")
	}
}

// TestSecretsKeepTheirPseudonyms: an object that comes back is the one that was
// sent, and no made-up value is the real one.
func TestSecretsKeepTheirPseudonyms(t *testing.T) {
	text, planted := recordConversation(t)
	material := regexp.MustCompile(`KeyMaterial ByteString (\S+)`).FindAllStringSubmatch(text, -1)
	if len(material) != 6 { // in each of two conversations: got, registered, got
		t.Fatalf("key material: %v", material)
	}
	for i := 0; i < 6; i += 3 {
		if !regexp.MustCompile(`^\$secret-\d+\[32\]$`).MatchString(material[i][1]) {
			t.Errorf("a key that the server made is recorded as %s", material[i][1])
		}
		if material[i+1][1] != material[i+2][1] || len(material[i+1][1]) != 64 {
			t.Errorf("registered as %s, got as %s", material[i+1][1], material[i+2][1])
		}
	}
	if strings.Contains(text, hex.EncodeToString(planted["registered 303"])) {
		t.Error("the made-up value is the key")
	}
}

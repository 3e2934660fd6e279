package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/keyreeve/keyreeve/internal/secret"
)

// A secretName is a secret and where it may be: in the file that a setting
// names, in the environment, or handed over by systemd.
type secretName struct {
	setting string // where a person may want to write it; the file's name is in the setting with _file behind it
}

var secretNames = []secretName{
	{"vcenter.password"},
	{"ovhcloud.application_secret"}, {"ovhcloud.consumer_key"}, {"ovhcloud.access_token"}, {"ovhcloud.client_secret"},
	serverPassword("PROVIDER", "SERVER"), // as people read of it
}

// serverPassword is the one that vCenter shows to a server of a provider.
func serverPassword(provider, server string) secretName {
	return secretName{"providers." + provider + "." + server + ".password"}
}

// elements are the paths of what stands in the file's lists.
var elements = map[string]string{"providers": "providers.PROVIDER", "providers.PROVIDER.servers": "providers.PROVIDER.SERVER"}

func secretAt(setting string) *secretName {
	for i := range secretNames {
		if secretNames[i].setting == setting {
			return &secretNames[i]
		}
	}
	return nil
}

func (s secretName) variable() string { return variable(s.setting) }

func (s secretName) credential() string { return words(s.setting, "-") }

// words puts one sign between the letters and digits of a name.
func words(name, between string) string {
	return strings.Join(strings.FieldsFunc(name, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }), between)
}

// file is the setting that names the secret's file.
func (s secretName) file() string { return s.setting + "_file" }

// places says where the secret may be.
func (s secretName) places() string {
	return fmt.Sprintf("put it into a file and name that as %s, or into the variable %s, or have systemd hand it over (LoadCredential=%s:FILE)",
		s.file(), s.variable(), s.credential())
}

// maxSecret bounds what is taken for a secret; a longer file is another one.
const maxSecret = 16 << 10

var errNoSecret = errors.New("missing")

// secret reads one. The environment wins over the file that the settings name,
// as it does for every setting, and that over what systemd hands over. The
// error wraps errNoSecret when it is nowhere.
func (a *app) secret(s secretName, file string) (*secret.Bytes, error) {
	if value := a.env(s.variable()); value != "" {
		return secret.Own([]byte(value)), nil
	}
	if file == "" {
		folder := a.env("CREDENTIALS_DIRECTORY")
		if folder == "" {
			return nil, fmt.Errorf("%w: %s: %w: %s", errConfig, s.setting, errNoSecret, s.places())
		}
		file = filepath.Join(folder, s.credential())
		if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("%w: %s: %w: %s", errConfig, s.setting, errNoSecret, s.places())
		}
	}
	value, err := readSecret(file)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", errConfig, s.file(), err)
	}
	return value, nil
}

// readSecret takes the file's content without the end of its line. A file that
// everybody can read is refused: it may be theirs by now.
func readSecret(file string) (*secret.Bytes, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o007 != 0 {
		return nil, fmt.Errorf("%s can be read by everybody (mode %04o): chmod o= %s, and change the secret if others were there", file, mode, file)
	}
	if info.Size() > maxSecret {
		return nil, fmt.Errorf("%s has %d bytes, which is no secret", file, info.Size())
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	value := bytes.TrimRight(data, "\r\n")
	if len(value) == 0 {
		return nil, fmt.Errorf("%s is empty", file)
	}
	return secret.Own(value), nil
}

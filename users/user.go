package users

import (
	"errors"
	"fmt"
	"time"
	"unicode"
	"unicode/utf8"
)

// ErrBadUser is wrapped by refusals of records that cannot be.
var ErrBadUser = errors.New("bad user")

// ErrConflict is wrapped when two users of a group would have one credential.
var ErrConflict = errors.New("credential already in use")

// User is the record of one user. The caller stores it sealed, as JSON.
type User struct {
	// Name is the Username of its credential, or what people call a device. It
	// owns objects, so a user who is added again by a name has what that name had.
	Name  string `json:"name"`
	Group string `json:"group"`
	// Device is the credential of a device; nil for Username and Password.
	Device *Device `json:"device,omitempty"`
	// Password is nil only for a device that has none.
	Password *Hash     `json:"password,omitempty"`
	Created  time.Time `json:"created"`
	Changed  time.Time `json:"changed"` // when the password was set
}

// Device is a Device credential (section 2.1.2): any of its fields, "" for one
// that is not sent. A credential fits when it has just these, with these values.
type Device struct {
	SerialNumber      string `json:"serial_number,omitempty"`
	DeviceIdentifier  string `json:"device_identifier,omitempty"`
	NetworkIdentifier string `json:"network_identifier,omitempty"`
	MachineIdentifier string `json:"machine_identifier,omitempty"`
	MediaIdentifier   string `json:"media_identifier,omitempty"`
}

// fields lists the fields in the specification's order.
func (d *Device) fields() [5]string {
	return [5]string{d.SerialNumber, d.DeviceIdentifier, d.NetworkIdentifier, d.MachineIdentifier, d.MediaIdentifier}
}

// MaxName and maxField bound names and the fields of a device, in bytes.
const (
	MaxName  = 128
	maxField = 256
)

// ID is what a user's record is stored under. Group names hold no slash.
func ID(group, name string) string { return group + "/" + name }

// Validate reports what is wrong with a record; the error wraps ErrBadUser.
func (u *User) Validate() error {
	if err := ValidateName(u.Name); err != nil {
		return err
	}
	if u.Group == "" {
		return fmt.Errorf("%w %q: it has no group", ErrBadUser, u.Name)
	}
	if u.Password != nil {
		if err := u.Password.check(); err != nil {
			return fmt.Errorf("%w %q: %w", ErrBadUser, u.Name, err)
		}
	}
	switch {
	case u.Device != nil:
		return u.Device.validate(u.Name)
	case u.Password == nil:
		return fmt.Errorf("%w %q: it has no password", ErrBadUser, u.Name)
	}
	return nil
}

// ValidateName refuses names that cannot be told apart when they are printed.
// Beyond that a Username is what the client's maker thought of: spaces,
// backslashes and letters of all alphabets are taken.
func ValidateName(name string) error {
	if err := printable(name, MaxName); err != nil {
		return fmt.Errorf("%w: the name %w", ErrBadUser, err)
	}
	return nil
}

func (d *Device) validate(name string) error {
	some := false
	for _, field := range d.fields() {
		if field == "" {
			continue
		}
		some = true
		if err := printable(field, maxField); err != nil {
			return fmt.Errorf("%w %q: a field of the device %w", ErrBadUser, name, err)
		}
	}
	if !some {
		return fmt.Errorf("%w %q: a device needs at least one of its five fields", ErrBadUser, name)
	}
	return nil
}

func printable(s string, most int) error {
	switch {
	case s == "":
		return errors.New("is empty")
	case len(s) > most:
		return fmt.Errorf("has %d bytes; at most %d are allowed", len(s), most)
	case !utf8.ValidString(s):
		return errors.New("is not UTF-8")
	}
	first, _ := utf8.DecodeRuneInString(s)
	last, _ := utf8.DecodeLastRuneInString(s)
	if unicode.IsSpace(first) || unicode.IsSpace(last) {
		return errors.New("begins or ends with a space")
	}
	for _, c := range s {
		if !unicode.IsPrint(c) {
			return fmt.Errorf("contains %U, which does not print", c)
		}
	}
	return nil
}

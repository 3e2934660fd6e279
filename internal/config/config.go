// Package config reads the server's settings: a YAML file, the environment over
// it, the command line over both.
//
// Why not a decoder into a struct: each setting is one row of a table, and the
// three sources set it through that row alike. So a value is checked in one
// place, every complaint names the line, variable or flag that it is about, and
// nothing that is misspelt is passed over. A key that no row has is an error.
//
// A secret is never a setting, only the path of its file is: configuration
// files, environments and command lines are read by many.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// Off turns off a listener.
const Off = "off"

// EnvPrefix begins the name of each variable; the rest is the setting's name in
// upper case, with "_" for ".".
const EnvPrefix = "KEYREEVE_"

// Config is what the server needs to know. [Default] gives the values that hold
// when nobody says otherwise.
type Config struct {
	Data           string // data folder
	Listen         string // address of the KMIP listener
	MetricsListen  string // address of metrics and health, or Off
	AdminSocket    string // empty: admin.sock in the data folder
	AdminListen    string // address of the admin API over HTTPS, or Off
	LogFormat      string // text or json
	LogLevel       slog.Level
	RootKeyFile    string // empty: beside the data folder, with .rootkey after its name
	PassphraseFile string // empty: the root key file needs none
	LegacySuites   bool
	RefuseInactive bool // Get refuses keys that are Deactivated or Compromised
	MakeFreshKeys  bool // a Locate of a fresh member of the group "default" makes a key
	Dev            bool // the data folder may be a temporary one

	GracePeriod       time.Duration // how long a destroyed key can be brought back; 0: not at all
	IndexedAttributes []string      // x- attributes that Locate finds without walking over all objects
	LeaseTime         time.Duration // answered to clients that ask for a key's lease
	MinFree           uint64        // bytes of free space below which only Revoke and Destroy are taken
	DrainTimeout      time.Duration // how long requests may finish at the end

	RecordFile string   // where what clients and server say is recorded; empty: nowhere
	RecordHide []string // of Hidden: what a recording leaves out beside keys and passwords
	RecordSize uint64   // bytes of a recording at most

	Backup Backup
	Audit  Audit
	Limits Limits
}

// Backup says where backups go, who can open them, and how often they are made.
type Backup struct {
	Dir            string        // of backups that name no place of their own
	Every          time.Duration // 0: only when somebody asks
	Recipients     []string      // age recipients, or paths of files with some
	PassphraseFile string        // instead of recipients
	KeepDaily      int           // days of which the schedule keeps a backup
	KeepWeekly     int           // and weeks
}

// Delete, as the place of the archive, means that archived segments are kept nowhere.
const Delete = "delete"

// Audit says how the journal is cut, signed, archived and exported.
type Audit struct {
	SegmentSize       uint64 // bytes
	SegmentAge        time.Duration
	CheckpointEvery   time.Duration
	CheckpointEntries int
	ArchiveTo         string        // a folder, or Delete; empty: nothing is archived
	ArchiveAfter      time.Duration // 0: age is no reason
	ArchiveAbove      uint64        // bytes; 0: size is no reason
	KeepAtLeast       time.Duration
	ExportFile        string // empty: none
	ExportFileSize    uint64 // bytes; 0: any
	Syslog            string // address, or Off
	SyslogCA          string // file
	SyslogName        string // empty: the host of Syslog
}

// Limits bound what one peer, and all of them, can make the server do.
type Limits struct {
	Handshake, FirstByte, Request, Idle, Write time.Duration

	MessageSize, ResponseSize, Depth, Items, BatchItems, Connections, PerAddress, Pending int
}

// Default returns the settings that hold when nobody says otherwise.
func Default() Config {
	return Config{
		Listen:        ":5696",
		MetricsListen: "127.0.0.1:9696",
		AdminListen:   Off,
		LogFormat:     "text",
		GracePeriod:   30 * 24 * time.Hour,
		LeaseTime:     time.Hour,
		MinFree:       64 << 20,
		DrainTimeout:  20 * time.Second,
		RecordHide:    slices.Clone(Hidden),
		RecordSize:    64 << 20,
		Backup:        Backup{KeepDaily: 14, KeepWeekly: 8},
		Audit: Audit{
			SegmentSize: 64 << 20, SegmentAge: 30 * 24 * time.Hour, CheckpointEvery: 10 * time.Minute, CheckpointEntries: 10000,
			KeepAtLeast: 90 * 24 * time.Hour, Syslog: Off,
		},
		Limits: Limits{
			Handshake: 10 * time.Second, FirstByte: 10 * time.Second, Request: 30 * time.Second,
			Idle: 10 * time.Minute, Write: 30 * time.Second,
			MessageSize: 1 << 20, ResponseSize: 4 << 20, Depth: 32, Items: 65536, BatchItems: 64,
			Connections: 4096, PerAddress: 256, Pending: 512,
		},
	}
}

// ErrInvalid is wrapped by every refusal of a setting.
var ErrInvalid = errors.New("configuration")

// Names returns the names of all settings, as the file spells them.
func Names() []string {
	names := make([]string, len(settings))
	for i, s := range settings {
		names[i] = s.name
	}
	return names
}

// Env returns the name of a setting's environment variable.
func Env(name string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(name, ".", "_"))
}

// Load puts the file at path (none when empty) over the defaults and the
// environment over that. Unknown are the variables that begin with EnvPrefix
// and name no setting: container systems make such by themselves, so they are
// told and not refused. An empty variable is as good as none.
func Load(path string, environ []string) (c Config, unknown []string, err error) {
	e := Explain(path, environ)
	if len(e.Problems) > 0 {
		return e.Config, nil, e.Problems[0]
	}
	return e.Config, e.Unknown, nil
}

// Set changes one setting by its name in the file.
func (c *Config) Set(name, value string) error {
	s := find(name)
	if s == nil {
		return fmt.Errorf("%w: unknown setting %q", ErrInvalid, name)
	}
	if err := s.set(c, value); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrInvalid, name, err)
	}
	return nil
}

package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A setting is one row: a name, how a value in text changes a Config, and how
// the value in a Config is written in the file.
type setting struct {
	name string
	set  func(c *Config, value string) error
	show func(c *Config) string
}

var settings = []setting{
	text("data", func(c *Config) *string { return &c.Data }),
	address("listen", func(c *Config) *string { return &c.Listen }),
	addressOrOff("metrics_listen", func(c *Config) *string { return &c.MetricsListen }),
	text("admin_socket", func(c *Config) *string { return &c.AdminSocket }),
	addressOrOff("admin_listen", func(c *Config) *string { return &c.AdminListen }),
	oneOf("log_format", func(c *Config) *string { return &c.LogFormat }, "text", "json"),
	{"log_level", setLogLevel, func(c *Config) string { return strings.ToLower(c.LogLevel.String()) }},
	text("root_key_file", func(c *Config) *string { return &c.RootKeyFile }),
	text("passphrase_file", func(c *Config) *string { return &c.PassphraseFile }),
	yesNo("legacy_suites", func(c *Config) *bool { return &c.LegacySuites }),
	yesNo("refuse_inactive", func(c *Config) *bool { return &c.RefuseInactive }),
	yesNo("make_fresh_keys", func(c *Config) *bool { return &c.MakeFreshKeys }),
	yesNo("dev", func(c *Config) *bool { return &c.Dev }),
	duration("grace_period", 0, func(c *Config) *time.Duration { return &c.GracePeriod }),
	{"indexed_attributes", setIndexedAttributes, func(c *Config) string { return "[" + strings.Join(c.IndexedAttributes, ", ") + "]" }},
	duration("lease_time", time.Second, func(c *Config) *time.Duration { return &c.LeaseTime }),
	size("min_free", func(c *Config) *uint64 { return &c.MinFree }),
	text("record_file", func(c *Config) *string { return &c.RecordFile }),
	{"record_hide", setRecordHide, func(c *Config) string { return "[" + strings.Join(c.RecordHide, ", ") + "]" }},
	size("record_size", func(c *Config) *uint64 { return &c.RecordSize }),
	duration("drain_timeout", time.Second, func(c *Config) *time.Duration { return &c.DrainTimeout }),
	text("backup.dir", func(c *Config) *string { return &c.Backup.Dir }),
	{"backup.every", setBackupEvery, func(c *Config) string { return c.Backup.Every.String() }},
	{"backup.recipients", setBackupRecipients, func(c *Config) string { return "[" + strings.Join(c.Backup.Recipients, ", ") + "]" }},
	text("backup.passphrase_file", func(c *Config) *string { return &c.Backup.PassphraseFile }),
	number("backup.keep_daily", 1, 3650, func(c *Config) *int { return &c.Backup.KeepDaily }),
	number("backup.keep_weekly", 0, 520, func(c *Config) *int { return &c.Backup.KeepWeekly }),
	size("audit.segment_size", func(c *Config) *uint64 { return &c.Audit.SegmentSize }),
	duration("audit.segment_age", time.Minute, func(c *Config) *time.Duration { return &c.Audit.SegmentAge }),
	duration("audit.checkpoint_every", time.Second, func(c *Config) *time.Duration { return &c.Audit.CheckpointEvery }),
	number("audit.checkpoint_entries", 1, 1<<30, func(c *Config) *int { return &c.Audit.CheckpointEntries }),
	text("audit.archive_to", func(c *Config) *string { return &c.Audit.ArchiveTo }),
	duration("audit.archive_after", 0, func(c *Config) *time.Duration { return &c.Audit.ArchiveAfter }),
	size("audit.archive_above", func(c *Config) *uint64 { return &c.Audit.ArchiveAbove }),
	duration("audit.keep_at_least", 0, func(c *Config) *time.Duration { return &c.Audit.KeepAtLeast }),
	text("audit.export_file", func(c *Config) *string { return &c.Audit.ExportFile }),
	size("audit.export_file_size", func(c *Config) *uint64 { return &c.Audit.ExportFileSize }),
	addressOrOff("audit.syslog", func(c *Config) *string { return &c.Audit.Syslog }),
	text("audit.syslog_ca", func(c *Config) *string { return &c.Audit.SyslogCA }),
	text("audit.syslog_name", func(c *Config) *string { return &c.Audit.SyslogName }),
	duration("limits.handshake", time.Second, func(c *Config) *time.Duration { return &c.Limits.Handshake }),
	duration("limits.first_byte", time.Second, func(c *Config) *time.Duration { return &c.Limits.FirstByte }),
	duration("limits.request", time.Second, func(c *Config) *time.Duration { return &c.Limits.Request }),
	duration("limits.idle", time.Second, func(c *Config) *time.Duration { return &c.Limits.Idle }),
	duration("limits.write", time.Second, func(c *Config) *time.Duration { return &c.Limits.Write }),
	number("limits.message_size", 1024, 64<<20, func(c *Config) *int { return &c.Limits.MessageSize }),
	number("limits.response_size", 1024, 256<<20, func(c *Config) *int { return &c.Limits.ResponseSize }),
	number("limits.depth", 8, 64, func(c *Config) *int { return &c.Limits.Depth }),
	number("limits.items", 64, 1<<20, func(c *Config) *int { return &c.Limits.Items }),
	number("limits.batch_items", 1, 1024, func(c *Config) *int { return &c.Limits.BatchItems }),
	number("limits.connections", 1, 1<<20, func(c *Config) *int { return &c.Limits.Connections }),
	number("limits.per_address", 1, 1<<20, func(c *Config) *int { return &c.Limits.PerAddress }),
	number("limits.pending", 1, 1<<20, func(c *Config) *int { return &c.Limits.Pending }),
}

func find(name string) *setting {
	if i := slices.IndexFunc(settings, func(s setting) bool { return s.name == name }); i >= 0 {
		return &settings[i]
	}
	return nil
}

func text(name string, field func(*Config) *string) setting {
	return setting{name, func(c *Config, value string) error {
		*field(c) = value
		return nil
	}, shown(field)}
}

// shown writes a plain value as it is.
func shown[T any](field func(*Config) *T) func(*Config) string {
	return func(c *Config) string { return fmt.Sprint(*field(c)) }
}

func oneOf(name string, field func(*Config) *string, choices ...string) setting {
	return setting{name, func(c *Config, value string) error {
		if !slices.Contains(choices, value) {
			return fmt.Errorf("%q is not one of: %s", value, strings.Join(choices, ", "))
		}
		*field(c) = value
		return nil
	}, shown(field)}
}

func address(name string, field func(*Config) *string) setting {
	return setting{name, func(c *Config, value string) error {
		if _, _, err := net.SplitHostPort(value); err != nil {
			return fmt.Errorf("%q is not an address: want host:port, [IPv6]:port or :port", value)
		}
		*field(c) = value
		return nil
	}, shown(field)}
}

func addressOrOff(name string, field func(*Config) *string) setting {
	inner := address(name, field)
	return setting{name, func(c *Config, value string) error {
		if value == Off {
			*field(c) = Off
			return nil
		}
		return inner.set(c, value)
	}, shown(field)}
}

// duration takes what is at least lowest: a zero among the limits would mean the
// default to the package that holds the limit, not "none".
func duration(name string, lowest time.Duration, field func(*Config) *time.Duration) setting {
	return setting{name, func(c *Config, value string) error {
		d, err := time.ParseDuration(value)
		if err != nil {
			return fmt.Errorf("%q is not a duration: want for example 30s, 10m or 720h", value)
		}
		if d < lowest {
			return fmt.Errorf("%s is too short: at least %s", value, lowest)
		}
		*field(c) = d
		return nil
	}, shown(field)}
}

func number(name string, lowest, highest int, field func(*Config) *int) setting {
	return setting{name, func(c *Config, value string) error {
		n, err := strconv.Atoi(value)
		if err != nil {
			return fmt.Errorf("%q is not a whole number", value)
		}
		if n < lowest || n > highest {
			return fmt.Errorf("%d is not between %d and %d", n, lowest, highest)
		}
		*field(c) = n
		return nil
	}, shown(field)}
}

func setLogLevel(c *Config, value string) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(value)); err != nil {
		return fmt.Errorf("%q is not one of: debug, info, warn, error", value)
	}
	c.LogLevel = level
	return nil
}

func yesNo(name string, field func(*Config) *bool) setting {
	return setting{name, func(c *Config, value string) error {
		if value != "true" && value != "false" {
			return fmt.Errorf("%q is neither true nor false", value)
		}
		*field(c) = value == "true"
		return nil
	}, shown(field)}
}

// setIndexedAttributes takes names with commas between them.
func setIndexedAttributes(c *Config, value string) error {
	names := strings.FieldsFunc(value, func(r rune) bool { return r == ',' })
	for i, name := range names {
		names[i] = strings.TrimSpace(name)
		if !strings.HasPrefix(names[i], "x-") || len(names[i]) == len("x-") {
			return fmt.Errorf("%q is not a custom attribute: its name begins with x-", names[i])
		}
	}
	c.IndexedAttributes = names
	return nil
}

// Hidden are what a recording can leave out.
var Hidden = []string{"names", "attributes", "usernames", "addresses"}

// setRecordHide takes names with commas between them, or none.
func setRecordHide(c *Config, value string) error {
	c.RecordHide = []string{}
	if value == "none" {
		return nil
	}
	for _, what := range strings.FieldsFunc(value, func(r rune) bool { return r == ',' }) {
		what = strings.TrimSpace(what)
		if !slices.Contains(Hidden, what) {
			return fmt.Errorf("%q is not one of: %s, none", what, strings.Join(Hidden, ", "))
		}
		c.RecordHide = append(c.RecordHide, what)
	}
	return nil
}

var units = []struct {
	suffix string
	bytes  uint64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"", 1}}

var errBytes = errors.New("want a number of bytes, for example 64MiB")

// size takes a number of bytes, with or without a unit.
func size(name string, field func(*Config) *uint64) setting {
	return setting{name, func(c *Config, value string) error {
		n, err := parseSize(value)
		if err != nil {
			return err
		}
		*field(c) = n
		return nil
	}, func(c *Config) string { return formatSize(*field(c)) }}
}

func parseSize(value string) (uint64, error) {
	for _, u := range units {
		digits, ok := strings.CutSuffix(value, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 32)
		if err != nil {
			return 0, fmt.Errorf("%q: %w", value, errBytes)
		}
		return n * u.bytes, nil
	}
	return 0, errBytes
}

func formatSize(n uint64) string {
	for _, u := range units {
		if n >= u.bytes && n%u.bytes == 0 {
			return strconv.FormatUint(n/u.bytes, 10) + u.suffix
		}
	}
	return "0"
}

// setBackupEvery takes 0, or a time in which a backup can be made.
func setBackupEvery(c *Config, value string) error {
	const shortest = 10 * time.Minute
	err := duration("", 0, func(c *Config) *time.Duration { return &c.Backup.Every }).set(c, value)
	if err == nil && c.Backup.Every != 0 && c.Backup.Every < shortest {
		err = fmt.Errorf("%s is too short: at least %s, or 0s for no schedule", c.Backup.Every, shortest)
	}
	return err
}

// setBackupRecipients takes recipients, or paths, with commas between them.
func setBackupRecipients(c *Config, value string) error {
	c.Backup.Recipients = nil
	for _, one := range strings.Split(value, ",") {
		if one = strings.TrimSpace(one); one != "" {
			c.Backup.Recipients = append(c.Backup.Recipients, one)
		}
	}
	return nil
}

package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/keyreeve/keyreeve/vsphere/policy"
	"github.com/keyreeve/keyreeve/vsphere/session"
)

// errConfig is wrapped by every refusal of a setting.
var errConfig = errors.New("configuration")

// config is the file of the agent. What is not in it, the agent does not do.
type config struct {
	Mode     session.Mode    `yaml:"mode"`
	StateDir string          `yaml:"state_dir"`
	Log      logConfig       `yaml:"log"`
	Server   serverConfig    `yaml:"server"`
	VCenter  *vcenterConfig  `yaml:"vcenter"`
	OVHcloud *ovhcloudConfig `yaml:"ovhcloud"`
	Run      runConfig       `yaml:"run"`

	Providers []providerConfig `yaml:"providers"`
	Absent    []string         `yaml:"absent_providers"`

	PolicyNode ast.Node       `yaml:"policy"` // is read into the next
	policy     *policy.Policy // nil: the settings have none

	text string // of the file
}

// runConfig is how often run looks, and where it is watched.
type runConfig struct {
	Every         time.Duration `yaml:"every"`
	MetricsListen string        `yaml:"metrics_listen"`
}

type logConfig struct {
	Format string `yaml:"format"`
	Level  string `yaml:"level"`
}

// serverConfig is how the agent reaches the key server's admin API, and where
// the server speaks KMIP.
type serverConfig struct {
	Socket string `yaml:"socket"`
	URL    string `yaml:"url"`
	Bundle string `yaml:"bundle"`
	KMIP   string `yaml:"kmip"`

	RenewBefore string `yaml:"renew_before"` // how long before its end the certificate is renewed
}

type vcenterConfig struct {
	URL               string        `yaml:"url"`
	User              string        `yaml:"user"`
	PasswordFile      string        `yaml:"password_file"`
	Thumbprint        string        `yaml:"thumbprint"`
	CAFile            string        `yaml:"ca_file"`
	RequestsPerSecond float64       `yaml:"requests_per_second"`
	KeepAlive         time.Duration `yaml:"keep_alive"`
}

type ovhcloudConfig struct {
	Endpoint string `yaml:"endpoint"`
	TokenURL string `yaml:"token_url"`
	Service  string `yaml:"service"`

	ApplicationKey        string `yaml:"application_key"`
	ApplicationSecretFile string `yaml:"application_secret_file"`
	ConsumerKeyFile       string `yaml:"consumer_key_file"`
	AccessTokenFile       string `yaml:"access_token_file"`
	ClientID              string `yaml:"client_id"`
	ClientSecretFile      string `yaml:"client_secret_file"`

	Address     string        `yaml:"address"`
	Description string        `yaml:"description"`
	Replaces    []string      `yaml:"replaces"`
	TaskTimeout time.Duration `yaml:"task_timeout"`
}

// settingsOf reads the file that -f or the environment names, and the
// environment over it.
func (a *app) settingsOf(o *options) (*config, error) {
	path := o.file
	if path == "" {
		path = a.env(envFile)
	}
	if path == "" {
		return nil, fmt.Errorf("%w: no file: give -f FILE or set %s", errConfig, envFile)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errConfig, err)
	}
	c, err := parse(data, a.environ...)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", errConfig, path, err)
	}
	c.text = string(data)
	return c, nil
}

// parse reads the settings. An unknown key, one that stands there twice and a
// secret are errors with their line; what the environment has brought is told
// with its variables.
func parse(data []byte, environ ...string) (*config, error) {
	tree, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, plain(err)
	}
	documents := 0
	for _, doc := range tree.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType {
			continue
		}
		if documents++; documents > 1 {
			return nil, fmt.Errorf("line %d: a second document begins; want one", doc.Body.GetToken().Position.Line)
		}
		if err := noSecrets("", doc.Body); err != nil {
			return nil, err
		}
	}
	c := &config{Mode: session.Observe, Server: serverConfig{RenewBefore: defaultRenewBefore}, StateDir: "/var/lib/keyreeve-agent", Log: logConfig{Format: "text", Level: "info"},
		Run: runConfig{Every: 10 * time.Minute, MetricsListen: "127.0.0.1:9697"}}
	if documents == 0 {
		return nil, errors.New("the file says nothing")
	}
	if err := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict()).Decode(c); err != nil {
		return nil, plain(err)
	}
	taken, err := c.overlay(environ)
	if err != nil {
		return nil, err
	}
	err = c.check()
	if err != nil && len(taken) > 0 {
		err = fmt.Errorf("with %s over it: %w", strings.Join(taken, ", "), err)
	}
	return c, err
}

// plain takes the line and the sentence out of an error of the decoder, which
// would otherwise print a piece of the file.
func plain(err error) error {
	e := yaml.Error(nil)
	if !errors.As(err, &e) || e.GetToken() == nil {
		return err
	}
	return fmt.Errorf("line %d: %s", e.GetToken().Position.Line, strings.ReplaceAll(e.GetMessage(), "unknown field", "unknown key"))
}

// noSecrets refuses secrets: the file is read by many, kept in repositories and
// pasted into tickets.
func noSecrets(path string, n ast.Node) error {
	switch n := n.(type) {
	case *ast.MappingNode:
		for _, pair := range n.Values {
			if err := noSecrets(path, pair); err != nil {
				return err
			}
		}
	case *ast.MappingValueNode:
		name := n.Key.GetToken().Value
		if path != "" {
			name = path + "." + name
		}
		if s := secretAt(name); s != nil {
			return fmt.Errorf("line %d: %s: a secret never stands in this file: %s", n.Key.GetToken().Position.Line, name, s.places())
		}
		return noSecrets(name, n.Value)
	case *ast.SequenceNode:
		for _, value := range n.Values {
			if err := noSecrets(elements[path], value); err != nil {
				return err
			}
		}
	}
	return nil
}

// check refuses what contradicts itself; what needs the network is doctor's.
func (c *config) check() error {
	checks := []func() error{c.checkMode, c.checkServer, c.checkRenewal, c.checkVCenter, c.checkOVHcloud, c.checkProviders, c.checkRun, c.readPolicy}
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (c *config) checkMode() error {
	if !slices.Contains(session.Modes(), c.Mode) {
		return fmt.Errorf("mode: %q is not one of observe, register, enforce", c.Mode)
	}
	if c.Log.Format != "text" && c.Log.Format != "json" {
		return fmt.Errorf("log.format: %q is not one of text, json", c.Log.Format)
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.Log.Level) {
		return fmt.Errorf("log.level: %q is not one of debug, info, warn, error", c.Log.Level)
	}
	return nil
}

// level is how much is logged.
func (l logConfig) level() (level slog.Level) {
	_ = level.UnmarshalText([]byte(l.Level)) // was checked
	return level
}

func (c *config) checkServer() error {
	s := c.Server
	switch {
	case s.Socket == "" && s.URL == "":
		return errors.New("server: give socket, on the key server's own machine, or url and bundle")
	case s.Socket != "" && s.URL != "":
		return errors.New("server: socket and url exclude each other")
	case s.URL != "" && s.Bundle == "":
		return errors.New("server.bundle: missing: the folder that keyreeve admin add NAME --role agent --out DIR made")
	case s.Bundle != "" && s.URL == "":
		return errors.New("server.bundle: it is for url; a socket needs none")
	}
	if s.URL != "" {
		if u, err := url.Parse(s.URL); err != nil || u.Scheme != "https" || u.Port() == "" || strings.Trim(u.Path, "/") != "" || u.User != nil || u.RawQuery != "" {
			return fmt.Errorf("server.url: %q: want https://HOST:PORT", s.URL)
		}
	}
	if s.KMIP == "" {
		return errors.New("server.kmip: missing: HOST:PORT where the server speaks KMIP, as this machine reaches it")
	}
	if u, err := url.Parse("kmip://" + s.KMIP); err != nil || u.Hostname() == "" || u.Port() == "" || u.Host != s.KMIP {
		return fmt.Errorf("server.kmip: %q: want HOST:PORT", s.KMIP)
	}
	return nil
}

func (c *config) checkVCenter() error {
	v := c.VCenter
	switch {
	case v == nil:
		return nil
	case v.URL == "":
		return errors.New("vcenter.url: missing: https://HOST of the vCenter")
	case v.User == "":
		return errors.New("vcenter.user: missing: who the agent logs in as, as agent@vsphere.local")
	case v.Thumbprint == "" && v.CAFile == "":
		return errors.New("vcenter: give thumbprint (SHA-256 of its certificate) or ca_file; the first certificate that answers is never believed")
	case v.Thumbprint != "" && v.CAFile != "":
		return errors.New("vcenter: thumbprint and ca_file exclude each other")
	case v.RequestsPerSecond < 0 || v.KeepAlive < 0:
		return errors.New("vcenter: requests_per_second and keep_alive are more than nothing")
	}
	return nil
}

func (c *config) checkOVHcloud() error {
	v := c.OVHcloud
	if v == nil {
		return nil
	}
	if v.Endpoint == "" {
		return errors.New("ovhcloud.endpoint: missing: ovh-eu, ovh-ca or ovh-us")
	}
	if v.Address == "" { // often it is the same; a name is not what OVHcloud takes
		host, err := netip.ParseAddrPort(c.Server.KMIP)
		if err != nil {
			return errors.New("ovhcloud.address: missing: the IPv4 address at which OVHcloud reaches the server")
		}
		v.Address = host.Addr().String()
	}
	return nil
}

func (c *config) checkRun() error {
	if c.Run.Every < time.Minute {
		return fmt.Errorf("run.every: %s is too short: want a minute at least", c.Run.Every)
	}
	if _, _, err := net.SplitHostPort(c.Run.MetricsListen); err != nil && c.Run.MetricsListen != "off" {
		return fmt.Errorf("run.metrics_listen: %q: want ADDRESS:PORT or off", c.Run.MetricsListen)
	}
	return nil
}

func (c *config) readPolicy() (err error) {
	if c.PolicyNode == nil {
		return nil
	}
	if c.VCenter == nil {
		return errors.New("policy: it needs vcenter: whose machines it is about")
	}
	c.policy, err = policy.FromNode(c.PolicyNode)
	return err
}

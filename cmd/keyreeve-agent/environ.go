package main

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// envPrefix begins the name of each variable; the rest is the setting's or
// secret's path in upper case, with "_" for ".".
const envPrefix = "KEYREEVE_AGENT_"

// envFile names the file of settings.
const envFile = envPrefix + "CONFIG"

func variable(setting string) string { return envPrefix + strings.ToUpper(words(setting, "_")) }

// otherWays are the settings that say the same in another way than one does.
// The environment takes the file's away: it replaces, and never contradicts.
var otherWays = map[string][]string{
	"server.socket":            {"server.url", "server.bundle"},
	"server.url":               {"server.socket"},
	"vcenter.thumbprint":       {"vcenter.ca_file"},
	"vcenter.ca_file":          {"vcenter.thumbprint"},
	"ovhcloud.application_key": {"ovhcloud.client_id"},
	"ovhcloud.client_id":       {"ovhcloud.application_key"},
}

// overlay puts the environment over the file's settings. It returns the names of
// the variables that it took, and refuses one that is nobody's: a misspelt
// setting would be passed over. An empty variable is as good as none.
func (c *config) overlay(environ []string) (taken []string, err error) {
	values, err := c.variables(environ)
	if err != nil {
		return nil, err
	}
	settings := settingPaths(reflect.TypeFor[config](), "")
	for _, path := range settings {
		if values[variable(path)] == "" {
			continue
		}
		for _, other := range otherWays[path] {
			c.at(other).SetZero()
		}
	}
	for _, path := range settings {
		name := variable(path)
		if values[name] == "" {
			continue
		}
		if err := assign(c.at(path), values[name]); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		taken = append(taken, name)
	}
	return taken, nil
}

// variables are those with our prefix and a value. The first of a name counts,
// as in app.env.
func (c *config) variables(environ []string) (map[string]string, error) {
	known := map[string]bool{envFile: true}
	for _, path := range settingPaths(reflect.TypeFor[config](), "") {
		known[variable(path)] = true
	}
	for _, s := range secretNames {
		known[s.variable()] = true
	}
	for _, p := range c.Providers {
		for _, s := range p.Servers {
			known[serverPassword(p.Name, s.Name).variable()] = true
		}
	}
	values := map[string]string{}
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		switch {
		case !strings.HasPrefix(name, envPrefix), value == "", values[name] != "":
		case !known[name]:
			return nil, fmt.Errorf("%s: no setting or secret has this variable: the names are those of the file, as %s", name, variable("server.kmip"))
		default:
			values[name] = value
		}
	}
	return values, nil
}

// settingPaths are the settings that are one value, with the names of the file.
// Lists and the policy are the file's alone.
func settingPaths(t reflect.Type, path string) (paths []string) {
	switch {
	case t.Kind() == reflect.Pointer:
		return settingPaths(t.Elem(), path)
	case t.Kind() == reflect.Struct:
		for i := range t.NumField() {
			if name := t.Field(i).Tag.Get("yaml"); name != "" {
				paths = append(paths, settingPaths(t.Field(i).Type, strings.TrimPrefix(path+"."+name, "."))...)
			}
		}
		return paths
	case t.Kind() == reflect.Slice, t.Kind() == reflect.Interface:
		return nil
	}
	return []string{path}
}

// at is a setting's place. It makes the part that the setting is in: who sets
// one by the environment wants the part.
func (c *config) at(path string) reflect.Value {
	v := reflect.ValueOf(c).Elem()
	for name := range strings.SplitSeq(path, ".") {
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		for i := range v.NumField() {
			if v.Type().Field(i).Tag.Get("yaml") == name {
				v = v.Field(i)
				break
			}
		}
	}
	return v
}

// assign reads a value as the file's decoder would.
func assign(v reflect.Value, value string) error {
	switch p := v.Addr().Interface().(type) {
	case *time.Duration:
		d, err := time.ParseDuration(value)
		if err != nil {
			return fmt.Errorf("%q is no duration, as 30s or 10m", value)
		}
		*p = d
	case *float64:
		f, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return fmt.Errorf("%q is no number", value)
		}
		*p = f
	default:
		if v.Kind() != reflect.String {
			return errors.New("this setting is the file's alone")
		}
		v.SetString(value)
	}
	return nil
}

package config

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// An Explanation is all that file and environment say together.
type Explanation struct {
	Config   Config
	Origins  []Origin // of every setting, in the order of the table
	Problems []error  // all of them, each wraps ErrInvalid; what is wrong has no effect
	Unknown  []string // variables that begin with EnvPrefix and name no setting
}

// An Origin says what a setting is and who says so.
type Origin struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	From  string `json:"from"` // default, the file with its line, or the variable
}

// notSettings are variables of the command line that the server's settings do not have.
var notSettings = []string{EnvPrefix + "CONFIG", EnvPrefix + "SERVER", EnvPrefix + "BUNDLE"}

// Explain puts the file at path (none when empty) over the defaults and the
// environment over that, as Load does, and does not end at the first mistake.
func Explain(path string, environ []string) *Explanation {
	e := &Explanation{Config: Default()}
	for _, s := range settings {
		e.Origins = append(e.Origins, Origin{Name: s.name, From: "default"})
	}
	if path != "" {
		e.file(path)
	}
	e.environment(environ)
	for i, s := range settings {
		e.Origins[i].Value = s.show(&e.Config)
	}
	return e
}

func (e *Explanation) problem(format string, args ...any) {
	e.Problems = append(e.Problems, fmt.Errorf("%w: %w", ErrInvalid, fmt.Errorf(format, args...)))
}

func (e *Explanation) file(path string) {
	data, err := os.ReadFile(path)
	if err != nil {
		e.problem("%w", err)
		return
	}
	f := &reader{config: &e.Config, seen: map[string]bool{}, lines: map[string]int{}}
	f.read(data)
	for _, err := range f.problems {
		e.problem("%s: %w", path, err)
	}
	for i := range e.Origins {
		if line, ok := f.lines[e.Origins[i].Name]; ok {
			e.Origins[i].From = fmt.Sprintf("%s:%d", path, line)
		}
	}
}

func (e *Explanation) environment(environ []string) {
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, EnvPrefix) || slices.Contains(notSettings, name) || value == "" {
			continue
		}
		i := slices.IndexFunc(settings, func(s setting) bool { return Env(s.name) == name })
		if i < 0 {
			e.Unknown = append(e.Unknown, name)
			continue
		}
		if err := settings[i].set(&e.Config, value); err != nil {
			e.problem("environment variable %s: %w", name, err)
			continue
		}
		e.Origins[i].From = name
	}
}

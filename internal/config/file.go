package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxLevels is how deep settings nest; deeper is a mistake, or made to hurt.
const maxLevels = 4

// A reader sets what YAML says, and goes on after a mistake.
type reader struct {
	config   *Config
	seen     map[string]bool
	lines    map[string]int // of the settings that were taken
	problems []error        // each names its line
}

func (r *reader) read(data []byte) {
	tree, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		r.add(plain(err))
		return
	}
	documents := 0
	for _, doc := range tree.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType {
			continue // nothing but comments
		}
		if documents++; documents > 1 {
			r.add(at(doc.Body, "a second document begins; want one"))
			return
		}
		r.node("", doc.Body, 0)
	}
}

func (r *reader) add(err error) { r.problems = append(r.problems, err) }

// plain takes the line and the sentence out of a syntax error, which would
// otherwise print a piece of the file.
func plain(err error) error {
	var syntax yaml.Error
	if !errors.As(err, &syntax) {
		return err
	}
	return fmt.Errorf("line %d: %s", syntax.GetToken().Position.Line, syntax.GetMessage())
}

func at(n ast.Node, format string, args ...any) error {
	return fmt.Errorf("line %d: %w", n.GetToken().Position.Line, fmt.Errorf(format, args...))
}

func (r *reader) node(path string, n ast.Node, level int) {
	switch n := n.(type) {
	case *ast.MappingNode:
		for _, pair := range n.Values {
			r.pair(path, pair, level)
		}
		return
	case *ast.MappingValueNode:
		r.pair(path, n, level)
		return
	}
	if path == "" {
		r.add(at(n, "want settings as name: value"))
		return
	}
	if err := r.value(path, n); err != nil {
		r.add(err)
	}
}

func (r *reader) pair(path string, pair *ast.MappingValueNode, level int) {
	name := pair.Key.GetToken().Value
	if path != "" {
		name = path + "." + name
	}
	switch {
	case level >= maxLevels:
		r.add(at(pair.Key, "settings nest too deep at %q", name))
	case !known(name):
		r.add(at(pair.Key, "unknown key %q", name))
	case r.seen[name]:
		r.add(at(pair.Key, "%q is set a second time", name))
	default:
		r.seen[name] = true
		r.node(name, pair.Value, level+1)
	}
}

// known reports whether name is a setting or the first part of one.
func known(name string) bool {
	for _, s := range settings {
		if s.name == name || strings.HasPrefix(s.name, name+".") {
			return true
		}
	}
	return false
}

func (r *reader) value(name string, n ast.Node) error {
	s := find(name)
	if s == nil {
		return at(n, "%q holds settings of its own: want them below it, indented", name)
	}
	value, err := scalar(n)
	if err != nil {
		return at(n, "%s: %w", name, err)
	}
	if err := s.set(r.config, value); err != nil {
		return at(n, "%s: %w", name, err)
	}
	r.lines[name] = n.GetToken().Position.Line
	return nil
}

// scalar returns the text of a value; of a list, its values with commas between
// them. Anchors, aliases and tags have no use here and are refused.
func scalar(n ast.Node) (string, error) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, nil
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, nil
	case *ast.SequenceNode:
		parts := make([]string, len(n.Values))
		for i, v := range n.Values {
			if v.Type() == ast.SequenceType {
				return "", errors.New("a list inside a list")
			}
			part, err := scalar(v)
			if err != nil {
				return "", err
			}
			parts[i] = part
		}
		return strings.Join(parts, ","), nil
	case *ast.NullNode:
		return "", errors.New("no value; leave the key out for the default")
	}
	return "", fmt.Errorf("want a plain value, not a %s", strings.ToLower(n.Type().String()))
}

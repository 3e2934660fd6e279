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

// file sets what the YAML in data says. An error names its line.
func (c *Config) file(data []byte) error {
	tree, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return plain(err)
	}
	seen := map[string]bool{}
	documents := 0
	for _, doc := range tree.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType {
			continue // nothing but comments
		}
		if documents++; documents > 1 {
			return at(doc.Body, "a second document begins; want one")
		}
		if err := c.node("", doc.Body, 0, seen); err != nil {
			return err
		}
	}
	return nil
}

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

func (c *Config) node(path string, n ast.Node, level int, seen map[string]bool) error {
	switch n := n.(type) {
	case *ast.MappingNode:
		for _, pair := range n.Values {
			if err := c.pair(path, pair, level, seen); err != nil {
				return err
			}
		}
		return nil
	case *ast.MappingValueNode:
		return c.pair(path, n, level, seen)
	}
	if path == "" {
		return at(n, "want settings as name: value")
	}
	return c.value(path, n)
}

func (c *Config) pair(path string, pair *ast.MappingValueNode, level int, seen map[string]bool) error {
	name := pair.Key.GetToken().Value
	if path != "" {
		name = path + "." + name
	}
	switch {
	case level >= maxLevels:
		return at(pair.Key, "settings nest too deep at %q", name)
	case !known(name):
		return at(pair.Key, "unknown key %q", name)
	case seen[name]:
		return at(pair.Key, "%q is set a second time", name)
	}
	seen[name] = true
	return c.node(name, pair.Value, level+1, seen)
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

func (c *Config) value(name string, n ast.Node) error {
	s := find(name)
	if s == nil {
		return at(n, "%q holds settings of its own: want them below it, indented", name)
	}
	value, err := scalar(n)
	if err != nil {
		return at(n, "%s: %w", name, err)
	}
	if err := s.set(c, value); err != nil {
		return at(n, "%s: %w", name, err)
	}
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

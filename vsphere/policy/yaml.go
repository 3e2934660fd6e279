package policy

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxLevels is how deep a match may nest; deeper is a mistake, or made to hurt.
const maxLevels = 16

func line(n ast.Node) int { return n.GetToken().Position.Line }

func at(n ast.Node, format string, args ...any) error {
	return fmt.Errorf("line %d: %w", line(n), fmt.Errorf(format, args...))
}

// section finds what stands below a key of the file.
func section(file []byte, name string) (ast.Node, error) {
	tree, err := parser.ParseBytes(file, 0)
	var syntax yaml.Error
	if errors.As(err, &syntax) { // without the piece of the file that it would print
		return nil, fmt.Errorf("line %d: %s", syntax.GetToken().Position.Line, syntax.GetMessage())
	}
	if err != nil {
		return nil, err
	}
	for _, doc := range tree.Docs {
		for _, pair := range pairs(doc.Body) {
			if pair.Key.GetToken().Value == name {
				return pair.Value, nil
			}
		}
	}
	return nil, fmt.Errorf("the file has no %s", name)
}

func pairs(n ast.Node) []*ast.MappingValueNode {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}
	}
	return nil
}

// fields are the keys that may stand at one place, and what reads their values.
type fields map[string]func(ast.Node) error

// mapping reads keys and values. What is misspelt is never passed over.
func mapping(n ast.Node, what string, f fields) error {
	list := pairs(n)
	if list == nil {
		return at(n, "%s: want name: value below it", what)
	}
	var problems []error
	for _, pair := range list {
		name := pair.Key.GetToken().Value
		read, ok := f[name]
		if !ok {
			problems = append(problems, at(pair.Key, "unknown key %q in %s; there are %s", name, what, strings.Join(slices.Sorted(maps.Keys(f)), ", ")))
			continue
		}
		problems = append(problems, read(pair.Value))
	}
	return errors.Join(problems...)
}

// each reads a list.
func each(read func(ast.Node) error) func(ast.Node) error {
	return func(n ast.Node) error {
		list, ok := n.(*ast.SequenceNode)
		if !ok {
			return at(n, "want a list, each line of it beginning with -")
		}
		var problems []error
		for _, v := range list.Values {
			problems = append(problems, read(v))
		}
		return errors.Join(problems...)
	}
}

// scalar returns the text of a plain value. Anchors, aliases and tags have no
// use here, and are none.
func scalar(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// texts reads one text, or a list of some.
func texts(n ast.Node) (list []string, err error) {
	if s, ok := scalar(n); ok && s != "" {
		return []string{s}, nil
	}
	err = each(func(n ast.Node) error {
		s, ok := scalar(n)
		if !ok || s == "" {
			return at(n, "want a text")
		}
		list = append(list, s)
		return nil
	})(n)
	if err == nil && len(list) == 0 {
		err = at(n, "the list is empty")
	}
	return list, err
}

func text(to *string) func(ast.Node) error {
	return func(n ast.Node) error {
		s, ok := scalar(n)
		if !ok || s == "" {
			return at(n, "want a text")
		}
		*to = s
		return nil
	}
}

func number(to *int, low, high int) func(ast.Node) error {
	return func(n ast.Node) error {
		s, _ := scalar(n)
		v, err := strconv.Atoi(s)
		if err != nil || v < low || v > high {
			return at(n, "want a number from %d to %d", low, high)
		}
		*to = v
		return nil
	}
}

// choice reads one of two words; the second sets to.
func choice(no, yes string, to *bool) func(ast.Node) error {
	return func(n ast.Node) error {
		s, _ := scalar(n)
		if s != no && s != yes {
			return at(n, "want %s or %s", no, yes)
		}
		*to = s == yes
		return nil
	}
}

// duration reads what ParseDuration takes.
func duration(to *time.Duration) func(ast.Node) error {
	return func(n ast.Node) (err error) {
		s, _ := scalar(n)
		if *to, err = ParseDuration(s); err != nil {
			return at(n, "%w", err)
		}
		return nil
	}
}

// ParseDuration reads such as 365d, or what Go reads; more than nothing.
func ParseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if text, ok := strings.CutSuffix(s, "d"); ok {
		var number int
		number, err = strconv.Atoi(text)
		if number > 100_000 {
			err = strconv.ErrRange
		}
		d = time.Duration(number) * 24 * time.Hour
	}
	if err != nil || d <= 0 {
		return 0, errors.New("want a time such as 365d or 720h")
	}
	return d, nil
}

package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/iotest"
)

// Only a typed yes goes on; the question is told whatever is typed.
func TestAnswer(t *testing.T) {
	for typed, want := range map[string]bool{
		"yes\n": true, " yes \r\n": true, "yes": true, "y\n": false, "\n": false, "YES\n": false, "yesyes\n": false, "no\n": false, "": false, "no\nyes\n": false,
	} {
		var told bytes.Buffer
		a := &app{err: &told}
		err := a.answer(strings.NewReader(typed), "destroy it?\n")
		if (err == nil) != want {
			t.Errorf("%q: %v", typed, err)
		}
		if err != nil && (err.Error() != "nothing was done" || codeFor(err) != exitRefused) {
			t.Errorf("%q: %v, exit code %d", typed, err, codeFor(err))
		}
		if !strings.HasPrefix(told.String(), "destroy it?\nType yes to go on: ") {
			t.Errorf("%q: told %q", typed, told.String())
		}
	}
	a := &app{err: &bytes.Buffer{}}
	if err := a.answer(iotest.ErrReader(errors.New("gone")), ""); err == nil {
		t.Error("a terminal that went away said yes")
	}
}

func codeFor(err error) int {
	code, _ := judge(err)
	return code
}

package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// absent BUNDLE UID DIR… fetches a key and looks for it, as bytes and as text, in
// every file of the folders and in what the servers have logged. With "!" the key
// must be found, which shows that the search finds.
func cmdAbsent(ts *testscript.TestScript, neg bool, args []string) {
	key := forms(ts, args[0], args[1])
	found := ""
	everywhere(ts, args[2:], func(where string, content []byte) {
		for form, text := range key {
			if bytes.Contains(content, text) {
				found = where + ", as " + form
			}
		}
	})
	if (found != "") != neg {
		ts.Fatalf("where the key was found: %q", found)
	}
}

// nowhere TEXT DIR… is absent for a text.
func cmdNowhere(ts *testscript.TestScript, neg bool, args []string) {
	found := ""
	everywhere(ts, args[1:], func(where string, content []byte) {
		if bytes.Contains(content, []byte(args[0])) {
			found = where
		}
	})
	if (found != "") != neg {
		ts.Fatalf("where the text was found: %q", found)
	}
}

// everywhere looks at every file of the folders, and at what the servers have logged.
func everywhere(ts *testscript.TestScript, dirs []string, look func(where string, content []byte)) {
	for _, dir := range dirs {
		ts.Check(filepath.WalkDir(ts.MkAbs(dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			content, err := os.ReadFile(path)
			look(path, content)
			return err
		}))
	}
	for name, p := range ts.Value(serversKey{}).(*servers).running {
		look("the log of server "+name, []byte(p.log.String()))
	}
}

// forms fetches a key and spells the first half of it in the ways in which it
// could leak: also out of the middle of a larger buffer, where base64 begins at
// any of three places, and as slog's text handler quotes bytes.
func forms(ts *testscript.TestScript, bundle, uid string) map[string][]byte {
	c, err := dial(ts, bundle)
	ts.Check(err)
	defer func() { _ = c.Close() }()
	key, err := c.Get(context.Background(), uid)
	ts.Check(err)
	defer key.Clear()
	half := bytes.Clone(key.Expose()[:key.Len()/2])
	all := map[string][]byte{
		"bytes":     half,
		"hex":       []byte(hex.EncodeToString(half)),
		"HEX":       []byte(strings.ToUpper(hex.EncodeToString(half))),
		"Go's text": []byte(strings.Trim(fmt.Sprint(half), "[]")),
		"quoted":    []byte(strconv.Quote(string(key.Expose()))[1:24]),
	}
	for skip := range 3 {
		all[fmt.Sprint("base64 from ", skip)] = []byte(base64.StdEncoding.EncodeToString(half[skip : skip+12]))
	}
	return all
}

// leak BUNDLE UID DIR writes a key into DIR in each form.
func cmdLeak(ts *testscript.TestScript, _ bool, args []string) {
	for form, text := range forms(ts, args[0], args[1]) {
		dir := filepath.Join(ts.MkAbs(args[2]), form)
		ts.Check(os.MkdirAll(dir, 0o700))
		ts.Check(os.WriteFile(filepath.Join(dir, "file"), append([]byte("some text before "), text...), 0o600))
	}
}

// nocore NAME: the server's memory goes into no core file.
func cmdNoCore(ts *testscript.TestScript, _ bool, args []string) {
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", server(ts, args[0]).cmd.Process.Pid))
	ts.Check(err)
	for line := range strings.Lines(string(limits)) {
		if fields := strings.Fields(line); strings.HasPrefix(line, "Max core file size") && fields[4] == "0" && fields[5] == "0" {
			return
		}
	}
	ts.Fatalf("the server may write a core file:\n%s", limits)
}

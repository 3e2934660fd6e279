package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/kmip/kmipclient"
)

// many BUNDLE N FILE has the server make N keys, and writes their identifiers
// with a hash of each to FILE.
func cmdMany(ts *testscript.TestScript, _ bool, args []string) {
	c, err := dial(ts, args[0])
	ts.Check(err)
	defer func() { _ = c.Close() }()
	var n int
	_, err = fmt.Sscan(args[1], &n)
	ts.Check(err)
	var list strings.Builder
	for range n {
		uid, err := c.Create(context.Background(), kmipclient.CreateOptions{})
		ts.Check(err)
		sum, err := fetch(c, uid)
		ts.Check(err)
		fmt.Fprintln(&list, uid, sum)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(list.String()), 0o600))
}

// same BUNDLE FILE gets each of the keys in FILE, and holds it against its hash.
func cmdSame(ts *testscript.TestScript, _ bool, args []string) {
	c, err := dial(ts, args[0])
	ts.Check(err)
	defer func() { _ = c.Close() }()
	n := 0
	for line := range strings.Lines(ts.ReadFile(args[1])) {
		uid, want, _ := strings.Cut(strings.TrimSpace(line), " ")
		sum, err := fetch(c, uid)
		ts.Check(err)
		if sum != want {
			ts.Fatalf("key %s has other bytes than before", uid)
		}
		n++
	}
	if n == 0 {
		ts.Fatalf("%s names no keys", args[1])
	}
}

// swapcert puts the server's other certificate to use, by the fingerprint that
// certificate show has of it.
func cmdSwapCert(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Check(ts.Exec("keyreeve", "certificate", "show", "-o", "json"))
	var all admin.ServerCertificates
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &all))
	if all.Other == nil {
		ts.Fatalf("there is no other certificate")
	}
	ts.Check(ts.Exec("keyreeve", "certificate", "use", all.Other.SHA256))
	ts.Check(ts.Exec("keyreeve", "certificate", "use", all.Other.SHA256)) // again: nothing is done
}

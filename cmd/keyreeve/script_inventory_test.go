package main

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/keyreeve/keyreeve/admin"
)

// report FILE NUMBER VCENTER [!REASON] [KEY=MACHINE...] writes a report for
// keyreeve inventory report, partial for the REASON.
func cmdReport(ts *testscript.TestScript, _ bool, args []string) {
	number, err := strconv.ParseUint(args[1], 10, 64)
	ts.Check(err)
	r := reportFile{VCenter: args[2], InventoryHeader: admin.InventoryHeader{
		Instance: "5f5f5f5f-0000-4000-8000-000000000001", Number: number, Providers: []string{"kms"},
		Time: time.Now().Add(-time.Minute).Add(time.Duration(number) * time.Second)}}
	for _, arg := range args[3:] {
		if reason, ok := strings.CutPrefix(arg, "!"); ok {
			r.Partial = append(r.Partial, reason)
			continue
		}
		key, name, _ := strings.Cut(arg, "=")
		r.List = append(r.List, admin.InventoryEntry{Key: key, User: admin.KeyUser{Kind: admin.UserVM, Name: name, UUID: "uuid-" + name, Provider: "kms"}})
	}
	text, err := json.Marshal(r)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), text, 0o600))
}

package internal_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/keyreeve/keyreeve/"

// A row says what a package may import of ours, and what of anything it must
// never import. A pattern that ends in "/..." stands for what comes before it
// and for all below; one that ends in "/*" for all below only.
type row struct {
	pkg   string
	may   []string
	never []string
}

// table is the house of the design, section 3. The first row that fits a package holds.
var table = []row{
	{"internal", nil, nil},
	{"internal/*", []string{"internal/*"}, nil},
	{"audit", []string{"internal/*"}, []string{"net", "crypto/tls"}},
	{"audit/forward", []string{"audit", "internal/*"}, nil},
	{"kmip/ttlv", []string{"internal/*"}, nil},
	{"keystore", []string{"audit", "internal/*", "kmip/ttlv"}, []string{"net", "crypto/tls"}},
	{"keystore/keystoretest", []string{"keystore", "audit", "internal/*", "kmip/ttlv"}, nil},
	{"keystore/bolt", []string{"keystore", "internal/*"}, nil},
	{"keystore/etcd", []string{"keystore", "internal/*"}, nil},
	{"keystore/rootkey", []string{"keystore", "internal/*"}, nil},
	{"keystore/backup", []string{"keystore", "audit", "internal/*", "kmip/ttlv"}, []string{"net", "crypto/tls"}},
	{"certs", []string{"internal/*"}, nil},
	{"users", []string{"kmip", "internal/*"}, []string{"net", "crypto/tls"}},
	{"kmip", []string{"kmip/ttlv", "internal/*"}, nil},
	{"kmip/kmipclient", []string{"kmip", "kmip/ttlv", "internal/*"}, nil},
	{"kmip/kmipbench", []string{"kmip", "kmip/kmipclient", "kmip/ttlv", "internal/*"}, nil},
	{"kmip/transcript", []string{"kmip/ttlv", "internal/*"}, nil},
	{"kmip/operations", []string{"kmip", "kmip/ttlv", "keystore", "audit", "internal/*"}, []string{"net", "crypto/tls"}},
	{"kmip/kmipserver", []string{"kmip", "kmip/ttlv", "kmip/operations", "internal/*"}, nil},
	{"admin", []string{"internal/*"}, nil},
	{"admin/adminserver", []string{"admin", "keystore", "kmip/ttlv", "certs", "users", "audit", "internal/*"}, nil},
	{"console", []string{"internal/*"}, nil},
	{"kmip/kmiptest", []string{"..."}, nil},
	{"vsphere/vspheretest", []string{"..."}, nil},
	{"cmd/keyreeve-lab", []string{"..."}, nil},
	{"vsphere/...", []string{"vsphere/...", "certs", "admin", "kmip", "kmip/kmipclient", "audit", "internal/*"}, nil},
	{"cmd/keyreeve", []string{"admin/...", "audit/...", "certs", "console", "internal/*", "keystore/...", "kmip/...", "users"},
		[]string{module + "keystore/keystoretest", module + "kmip/kmiptest"}},
	{"cmd/keyreeve-agent", []string{"vsphere/...", "certs", "admin", "kmip/kmipclient", "internal/*"},
		[]string{module + "vsphere/vspheretest", "github.com/vmware/govmomi/simulator/..."}},
}

// owners says who alone may name a module that is not ours. Tests may name any.
var owners = []struct {
	module string
	by     []string
}{
	{"github.com/gemalto/kmip-go/...", []string{"kmip/...", "cmd/keyreeve-lab"}},
	{"github.com/ovh/kmip-go/...", nil},
	{"github.com/vmware/govmomi/...", []string{"vsphere/...", "cmd/keyreeve-lab"}},
	{"go.etcd.io/bbolt/...", []string{"keystore/bolt"}},
	{"go.etcd.io/etcd/...", []string{"keystore/etcd"}},
	{"github.com/spf13/cobra/...", []string{"cmd/*", "internal/program"}},
	{"github.com/goccy/go-yaml/...", []string{"internal/config", "vsphere/policy", "cmd/*"}},
	{"filippo.io/age/...", []string{"keystore/backup"}},
	{"github.com/google/go-cmp/...", nil},
	{"github.com/rogpeppe/go-internal/...", []string{"internal/programtest"}},
}

func matches(pattern, path string) bool {
	if pattern == "..." {
		return true
	}
	if all, ok := strings.CutSuffix(pattern, "/..."); ok {
		return path == all || strings.HasPrefix(path, all+"/")
	}
	if below, ok := strings.CutSuffix(pattern, "/*"); ok {
		return strings.HasPrefix(path, below+"/")
	}
	return path == pattern
}

func matchesAny(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, path) })
}

// violations returns what a package imports against the table, in words.
func violations(pkg string, imports []string) []string {
	i := slices.IndexFunc(table, func(r row) bool { return matches(r.pkg, pkg) })
	if i < 0 {
		return []string{pkg + " has no row in the table: decide what it may import"}
	}
	var out []string
	for _, path := range imports {
		ours, isOurs := strings.CutPrefix(path, module)
		if isOurs && !matchesAny(table[i].may, ours) || matchesAny(table[i].never, path) {
			out = append(out, pkg+" must not import "+path)
		}
		for _, o := range owners {
			if matches(o.module, path) && !matchesAny(o.by, pkg) {
				out = append(out, pkg+" must not name "+path)
			}
		}
	}
	return out
}

func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "github.com/keyreeve/keyreeve/...").Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		t.Fatalf("go list: %v\n%s", err, exit.Stderr)
	} else if err != nil {
		t.Fatalf("go list: %v", err)
	}
	packages := 0
	for dec := json.NewDecoder(bytes.NewReader(out)); ; packages++ {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		for _, v := range violations(strings.TrimPrefix(p.ImportPath, module), p.Imports) {
			t.Error(v)
		}
	}
	if packages < 10 {
		t.Errorf("go list printed only %d packages", packages)
	}
}

// A rule that cannot be broken holds nothing: each of these must be found.
func TestViolationsAreFound(t *testing.T) {
	for _, tc := range []struct{ pkg, path string }{
		{"keystore", module + "kmip"},
		{"keystore", "net"},
		{"keystore", "go.etcd.io/bbolt"},
		{"keystore/bolt", module + "keystore/rootkey"},
		{"keystore/rootkey", "go.etcd.io/bbolt"},
		{"keystore/backup", module + "keystore/bolt"},
		{"cmd/keyreeve", "filippo.io/age"},
		{"certs", module + "keystore"},
		{"users", module + "keystore"},
		{"users", "github.com/gemalto/kmip-go/kmip14"},
		{"kmip/operations", "crypto/tls"},
		{"kmip/operations", module + "kmip/kmipserver"},
		{"kmip/kmipserver", module + "certs"},
		{"kmip/kmipserver", module + "keystore/bolt"},
		{"admin", module + "kmip"},
		{"admin/adminserver", module + "kmip/kmipserver"},
		{"console", module + "keystore"},
		{"vsphere/provider", module + "keystore"},
		{"cmd/keyreeve", module + "vsphere/provider"},
		{"cmd/keyreeve", "github.com/vmware/govmomi/vim25"},
		{"cmd/keyreeve", "github.com/gemalto/kmip-go/kmip14"},
		{"cmd/keyreeve-agent", module + "keystore"},
		{"audit", "github.com/gemalto/kmip-go/kmip14"},
		{"kmip", "github.com/ovh/kmip-go"},
		{"utils", "fmt"},
	} {
		if len(violations(tc.pkg, []string{tc.path})) == 0 {
			t.Errorf("%s importing %s passes", tc.pkg, tc.path)
		}
	}
	if v := violations("kmip/ttlv", []string{"fmt", module + "internal/secret", "github.com/gemalto/kmip-go/kmip14"}); v != nil {
		t.Errorf("an import that the table allows is refused: %v", v)
	}
}

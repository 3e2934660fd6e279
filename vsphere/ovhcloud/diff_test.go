package ovhcloud_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/vsphere/ovhcloud"
)

const (
	print1 = "A7:61:68:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:61:91:2F"
	print2 = "B7:61:68:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:61:91:2F"
	newIP  = "203.0.113.9"
	oldIP  = "203.0.113.8"
)

func entry(id int64, ip, thumbprint, state string) ovhcloud.Entry {
	return ovhcloud.Entry{ID: id, IP: netip.MustParseAddr(ip), Port: 5696, Thumbprint: thumbprint, Description: "kms", State: state}
}

// kinds writes the steps of a plan as words.
func kinds(p ovhcloud.Plan) string {
	var out []string
	for _, s := range p.Steps {
		out = append(out, string(s.Kind))
	}
	if p.Blocked != "" {
		out = append(out, "blocked")
	}
	return strings.Join(out, " ")
}

// Each row is a situation, and what is to be done in it.
func TestDiff(t *testing.T) {
	same := ovhcloud.Desired{Address: newIP, Thumbprint: print1}
	named := ovhcloud.Desired{Address: newIP, Thumbprint: print1, Description: "keyreeve"}
	moved := ovhcloud.Desired{Address: newIP, Thumbprint: print1, Replaces: []string{oldIP}}
	delivered := entry(1, newIP, print1, "delivered")
	other := entry(2, "203.0.113.77", print2, "delivered")
	for _, row := range []struct {
		name    string
		option  string
		entries []ovhcloud.Entry
		desired ovhcloud.Desired
		want    string
		warns   bool
	}{
		{"nothing is registered, and the option is off", "disabled", nil, same, "register", false},
		{"nothing of ours, and somebody else's stays", "enabled", []ovhcloud.Entry{other}, same, "register", false},
		{"somebody else's first entry is being made", "enabling", []ovhcloud.Entry{other}, same, "register", false},
		{"it is as desired", "enabled", []ovhcloud.Entry{delivered}, same, "", false},
		{"a person made it under another description, and none is desired", "enabled", []ovhcloud.Entry{delivered}, same, "", false},
		{"the description differs", "enabled", []ovhcloud.Entry{delivered}, named, "change", false},
		{"the certificate has changed", "enabled", []ovhcloud.Entry{entry(1, newIP, print2, "delivered")}, same, "change", false},
		{"certificate and description have changed", "enabled", []ovhcloud.Entry{entry(1, newIP, print2, "delivered")}, named, "change", false},
		{"its creation has failed", "enabling", []ovhcloud.Entry{entry(1, newIP, print1, "error")}, same, "change", false},
		{"its change has failed", "enabled", []ovhcloud.Entry{entry(1, newIP, print2, "error")}, same, "change", false},
		{"it is about to be created", "enabling", []ovhcloud.Entry{entry(1, newIP, print1, "toCreate")}, same, "wait", false},
		{"it is being created", "enabling", []ovhcloud.Entry{entry(1, newIP, print1, "creating")}, same, "wait", false},
		{"it is about to be changed", "enabled", []ovhcloud.Entry{entry(1, newIP, print2, "toUpdate")}, same, "wait", false},
		{"it is being changed", "enabled", []ovhcloud.Entry{entry(1, newIP, print2, "updating")}, same, "wait", false},
		{"it is about to be removed", "enabled", []ovhcloud.Entry{entry(1, newIP, print1, "toDelete")}, same, "wait", false},
		{"it is being removed", "enabled", []ovhcloud.Entry{entry(1, newIP, print1, "deleting")}, same, "wait", false},
		{"its state says nothing", "enabled", []ovhcloud.Entry{entry(1, newIP, print1, "unknown")}, same, "blocked", false},
		{"two entries, one being removed", "enabled", []ovhcloud.Entry{entry(1, newIP, print2, "deleting"), entry(3, newIP, print1, "delivered")}, same, "", true},
		{"two entries, one in error", "enabled", []ovhcloud.Entry{entry(1, newIP, print2, "error"), entry(3, newIP, print1, "delivered")}, same, "", true},
		{"an entry of another port", "enabled", []ovhcloud.Entry{{ID: 1, IP: netip.MustParseAddr(newIP), Port: 5697, Thumbprint: print1, State: "delivered"}}, same, "", true},
		{"the option is being turned off", "disabling", []ovhcloud.Entry{delivered}, same, "wait", false},
		{"the service is being migrated", "migrating", nil, same, "wait", false},
		{"the option is in error", "error", nil, same, "blocked", false},
		{"the option's state says nothing", "unknown", nil, same, "blocked", false},
		{"the option's state is new to us", "paused", nil, same, "blocked", false},
		{"the address has changed", "enabled", []ovhcloud.Entry{entry(1, oldIP, print1, "delivered")}, moved, "register remove", false},
		{"the address has changed, and the new one is delivered", "enabled", []ovhcloud.Entry{entry(1, oldIP, print1, "delivered"), entry(3, newIP, print1, "delivered")}, moved, "remove", false},
		{"the address has changed, and the new one is being made", "enabled", []ovhcloud.Entry{entry(1, oldIP, print1, "delivered"), entry(3, newIP, print1, "creating")}, moved, "wait", false},
		{"the address has changed, and the new one has failed", "enabled", []ovhcloud.Entry{entry(1, oldIP, print1, "delivered"), entry(3, newIP, print1, "error")}, moved, "change remove", false},
		{"the address has changed, and the new one says nothing", "enabled", []ovhcloud.Entry{entry(1, oldIP, print1, "delivered"), entry(3, newIP, print1, "unknown")}, moved, "blocked", false},
		{"the address has changed, and the old one is in error", "enabled", []ovhcloud.Entry{entry(1, oldIP, print1, "error"), entry(3, newIP, print1, "delivered")}, moved, "remove", false},
		{"the address has changed, and the old one is being removed", "enabled", []ovhcloud.Entry{entry(1, oldIP, print1, "deleting"), entry(3, newIP, print1, "delivered")}, moved, "wait", false},
		{"the address has changed, and the old one is gone", "enabled", []ovhcloud.Entry{entry(3, newIP, print1, "delivered")}, moved, "", false},
		{"an address changed that nobody says is replaced", "enabled", []ovhcloud.Entry{entry(1, oldIP, print1, "delivered")}, same, "register", false},
		{"a private address", "enabled", []ovhcloud.Entry{entry(1, "10.1.2.3", print1, "delivered")}, ovhcloud.Desired{Address: "10.1.2.3", Thumbprint: print1}, "", true},
		{"the thumbprint in lower case", "enabled", []ovhcloud.Entry{delivered}, ovhcloud.Desired{Address: newIP, Port: 5696, Thumbprint: strings.ToLower(print1)}, "", false},
	} {
		p, err := ovhcloud.Diff(ovhcloud.State{Service: "pcc-1", Option: row.option, Entries: row.entries}, row.desired)
		if got := kinds(p); err != nil || got != row.want || p.InSync() != (row.want == "") {
			t.Errorf("%s: %q, want %q (%v)", row.name, got, row.want, err)
		}
		if (len(p.Warnings) > 0) != row.warns {
			t.Errorf("%s: warnings %q", row.name, p.Warnings)
		}
		for _, s := range p.Steps {
			if s.Why == "" || s.Kind == ovhcloud.Remove && s.IP.String() != oldIP || s.Kind == ovhcloud.Change && s.Description == "" {
				t.Errorf("%s: step %+v", row.name, s)
			}
		}
	}
}

// What OVHcloud cannot take is refused in words before anybody is called.
func TestCheck(t *testing.T) {
	for _, row := range []struct {
		name string
		d    ovhcloud.Desired
		says string // "": it is taken
		warn bool
	}{
		{"an address", ovhcloud.Desired{Address: newIP, Thumbprint: print1}, "", false},
		{"loopback", ovhcloud.Desired{Address: "127.0.0.1", Thumbprint: print1}, "", true},
		{"private", ovhcloud.Desired{Address: "192.168.1.1", Thumbprint: print1}, "", true},
		{"carrier-grade", ovhcloud.Desired{Address: "100.64.1.1", Thumbprint: print1}, "", true},
		{"link-local", ovhcloud.Desired{Address: "169.254.1.1", Thumbprint: print1}, "", true},
		{"a name", ovhcloud.Desired{Address: "kms.example.com", Thumbprint: print1}, "no name", false},
		{"nothing", ovhcloud.Desired{Thumbprint: print1}, "no address", false},
		{"IPv6", ovhcloud.Desired{Address: "2001:db8::1", Thumbprint: print1}, "IPv4 only", false},
		{"IPv4 in IPv6", ovhcloud.Desired{Address: "::ffff:203.0.113.9", Thumbprint: print1}, "IPv4 only", false},
		{"with a port", ovhcloud.Desired{Address: "203.0.113.9:5696", Thumbprint: print1}, "without a port", false},
		{"a prefix", ovhcloud.Desired{Address: "203.0.113.0/24", Thumbprint: print1}, "IPv4 address", false},
		{"leading zeros", ovhcloud.Desired{Address: "203.0.113.009", Thumbprint: print1}, "IPv4 address", false},
		{"nobody's", ovhcloud.Desired{Address: "0.0.0.0", Thumbprint: print1}, "nobody's", false},
		{"broadcast", ovhcloud.Desired{Address: "255.255.255.255", Thumbprint: print1}, "nobody's", false},
		{"multicast", ovhcloud.Desired{Address: "224.0.0.1", Thumbprint: print1}, "nobody's", false},
		{"another port", ovhcloud.Desired{Address: newIP, Port: 5697, Thumbprint: print1}, "no other", false},
		{"no thumbprint", ovhcloud.Desired{Address: newIP}, "no thumbprint", false},
		{"SHA-256", ovhcloud.Desired{Address: newIP, Thumbprint: print1 + strings.Repeat(":00", 12)}, "SHA-256", false},
		{"without colons", ovhcloud.Desired{Address: newIP, Thumbprint: strings.ReplaceAll(print1, ":", "")}, "colons", false},
		{"two lines", ovhcloud.Desired{Address: newIP, Thumbprint: print1, Description: "a\nb"}, "one line", false},
		{"a long text", ovhcloud.Desired{Address: newIP, Thumbprint: print1, Description: strings.Repeat("é", 151)}, "300 bytes", false},
		{"it replaces itself", ovhcloud.Desired{Address: newIP, Thumbprint: print1, Replaces: []string{newIP}}, "replaces itself", false},
		{"it replaces a name", ovhcloud.Desired{Address: newIP, Thumbprint: print1, Replaces: []string{"old"}}, "no name", false},
	} {
		warnings, err := row.d.Check()
		if (err == nil) != (row.says == "") || err != nil && (!errors.Is(err, ovhcloud.ErrNotPossible) || !strings.Contains(err.Error(), row.says)) {
			t.Errorf("%s: %v", row.name, err)
		}
		if (len(warnings) > 0) != row.warn {
			t.Errorf("%s: warnings %q", row.name, warnings)
		}
		if _, diffErr := ovhcloud.Diff(ovhcloud.State{Option: "enabled"}, row.d); (diffErr == nil) != (err == nil) {
			t.Errorf("%s: Diff says %v", row.name, diffErr)
		}
	}
}

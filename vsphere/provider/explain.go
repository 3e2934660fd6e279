package provider

import (
	"fmt"
	"strings"
	"time"
)

// Reasons says in words why a provider is not Normal; nil: it is.
func (o Observed) Reasons(now time.Time) (list []string) {
	for _, s := range o.Servers {
		if why := s.reason(o.Client, now); why != "" {
			list = append(list, fmt.Sprintf("server %s: %s", clean(s.Name), why))
		}
	}
	switch {
	case len(o.Servers) == 0 && o.standard():
		list = append(list, "it has no server")
	case len(list) == 0 && o.Overall != "green":
		list = append(list, fmt.Sprintf("vCenter shows %q, and names no reason", clean(o.Overall)))
	}
	return list
}

// reason is the first thing that is wrong, in the order in which a connection
// comes about.
func (s ServerState) reason(client *Cert, now time.Time) string {
	words := ""
	if s.Connection != "" {
		words = "; vCenter says: " + clean(s.Connection)
	}
	switch c := s.Cert; {
	case s.Status == "green" && !not(s.TrustsServer) && !not(s.TrustsClient):
		return ""
	case c == nil:
		return "vCenter does not reach it: firewall (at OVHcloud: is it registered?), address, port, or the server is down" + words
	case now.After(c.NotAfter):
		return "its certificate ended at " + date(c.NotAfter) + words
	case now.Before(c.NotBefore):
		return "its certificate is valid from " + date(c.NotBefore) + " only: a clock is wrong" + words
	case not(s.TrustsServer):
		return "vCenter does not trust its certificate (SHA-1 " + clean(c.SHA1) + "): it has changed, or somebody else answers" + words
	case client == nil:
		return "vCenter has no certificate to show it" + words
	case now.After(client.NotAfter):
		return "vCenter's certificate ended at " + date(client.NotAfter) + words
	case not(s.TrustsClient):
		return "it does not take vCenter's certificate (SHA-1 " + clean(client.SHA1) + "): not enrolled, replaced, or revoked; its log says which" + words
	}
	return fmt.Sprintf("vCenter shows %q%s", clean(s.Status), words)
}

// ExplainGenerate explains vCenter's "Cannot generate key", which names no
// reason, by what vCenter shows of the provider and what our own probe found.
// o is nil if vCenter has no such provider; probe is Canary.Prove's error.
func ExplainGenerate(o *Observed, now time.Time, probe error) string {
	if o == nil {
		return "vCenter has no such key provider: its name was changed or it was removed; set it up again under the name that the machines have"
	}
	reasons := o.Reasons(now)
	stage := stageOf(probe)
	switch {
	case len(reasons) == 0 && probe == nil:
		return "vCenter shows the provider as connected, and a key could be made and read just now: it was for a moment, or it is this vCenter alone: its user and password for the server, or its group there"
	case len(reasons) > 0 && probe == nil:
		return "the server makes keys, and vCenter does not get to it: " + strings.Join(reasons, "; ")
	case stage == StageDial:
		return "the server is down or not reached, from here neither: " + clean(probe.Error())
	case stage == StageHandshake:
		return "the server does not let even us in, or is not the server that we know: " + clean(probe.Error())
	case len(reasons) == 0:
		return "vCenter shows green and the server gives no keys: its store or its root key has a problem; keyreeve status and its log say which: " + clean(probe.Error())
	}
	return "the server answers and gives no keys: " + clean(probe.Error()) + "; and " + strings.Join(reasons, "; ")
}

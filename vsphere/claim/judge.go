package claim

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Holder is the agent that may change things.
type Holder struct {
	Agent string    `json:"agent"`
	Host  string    `json:"host"`
	Until time.Time `json:"until"` // by vCenter's clock; zero: until a person ends it
}

// String names it for people.
func (h Holder) String() string {
	if h.Agent == "" {
		return h.Host
	}
	return fmt.Sprintf("%s (agent %s)", h.Host, h.Agent)
}

// hostLength bounds the host's name: vCenter takes values of 255 characters.
const hostLength = 64

func short(host string) string {
	host = strings.ToValidUTF8(host, "?")
	if len(host) > hostLength {
		host = strings.ToValidUTF8(host[:hostLength], "")
	}
	return host
}

func (h Holder) text() string {
	data, _ := json.Marshal(h) // it is text and a time
	return string(data)
}

// A def is a definition of the attribute that there is, and what the root folder
// has in it.
type def struct {
	key   int32
	value string
}

// holder is who a definition says. A text that is not ours may be a person's, or
// a later version's: it holds until a person ends it. nil: it does not say.
func (d def) holder() *Holder {
	var h Holder
	if d.value == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(d.value), &h); err != nil || h.Agent == "" || h.Until.IsZero() {
		return &Holder{Host: fmt.Sprintf("whoever wrote %q", short(d.value))}
	}
	return &h
}

// over tells whether a lease has ended.
func (h *Holder) over(now time.Time) bool { return !h.Until.IsZero() && !now.Before(h.Until) }

// holderOf returns whose lease has not ended.
func holderOf(defs []def, now time.Time) *Holder {
	for _, d := range defs {
		if h := d.holder(); h != nil && !h.over(now) {
			return h
		}
	}
	return nil
}

// A decision is what one who wants the vCenter may do.
type decision struct {
	taken  *Holder // nothing: somebody has it
	wait   []int32 // look again: somebody is at it, and has not said who he is
	remove []int32 // remove these and claim
}

// judge decides. waited are the definitions without a word that were there when
// it was last looked, a while ago; over: a person said that the holder is to go.
func judge(defs []def, self Holder, now time.Time, waited []int32, over bool) (d decision) {
	for _, def := range defs {
		h := def.holder()
		switch {
		case h == nil && !over && !slices.Contains(waited, def.key):
			d.wait = append(d.wait, def.key)
		case h == nil, over, h.over(now), h.Agent == self.Agent && h.Host == self.Host:
			d.remove = append(d.remove, def.key)
		default:
			d.taken = h
		}
	}
	return d
}

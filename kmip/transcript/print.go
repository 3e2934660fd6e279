package transcript

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"

	gemalto "github.com/gemalto/kmip-go/ttlv"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// Forms are the ways in which Print writes a message: as an outline, as the
// XML and JSON encodings of KMIP's profiles, and in the notation of
// transcripts.
var Forms = []string{"text", "xml", "json", "notation"}

// ErrCostly is wrapped when a message is well-formed, and nested so deep that
// the printers would not come to an end.
var ErrCostly = errors.New("nested too deep to be printed")

// Print writes a message for people in one of the Forms. It checks the bytes
// first, since the printers are made for friendly ones; the error wraps
// ttlv.ErrMalformed or ttlv.ErrLimit if they are not. Unless showKeys, what
// could be secret is not shown.
func Print(w io.Writer, form string, message []byte, showKeys bool) error {
	if err := ttlv.Check(message, ttlv.Limits{}); err != nil {
		return err
	}
	if !showKeys {
		var err error
		if message, err = Redact(message); err != nil {
			return err
		}
	}
	if form == "notation" {
		_, err := io.WriteString(w, Format(message))
		return err
	}
	if err := affordable(message); err != nil {
		return err
	}
	return print(w, form, gemalto.TTLV(message))
}

func print(w io.Writer, form string, message gemalto.TTLV) (err error) {
	switch form {
	case "text":
		err = gemalto.Print(w, "", "  ", message)
	case "json":
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(message)
	case "xml":
		e := xml.NewEncoder(w)
		e.Indent("", "  ")
		err = errors.Join(e.Encode(message), e.Close())
	default:
		return fmt.Errorf("there is no form %q", form)
	}
	if err == nil {
		_, err = fmt.Fprintln(w)
	}
	return err
}

// maxVisits bounds the printers' work; each visit is a few instructions.
const maxVisits = 1 << 23

// affordable counts what gemalto's printers do: at each level they validate all
// below it, and to find the next item they do it once more, so an item is
// visited some 2^depth times. A real message is about ten deep.
func affordable(message []byte) error {
	it, err := ttlv.Parse(message)
	if err != nil {
		return err
	}
	visits := uint64(0)
	var walk func(it ttlv.Item, depth int)
	walk = func(it ttlv.Item, depth int) {
		visits += 4 << depth
		r, err := it.Items()
		if err != nil {
			return
		}
		for child, ok := r.Next(); ok && visits <= maxVisits; child, ok = r.Next() {
			walk(child, depth+1)
		}
	}
	walk(it, 0)
	if visits > maxVisits {
		return ErrCostly
	}
	return nil
}

package adminserver

import (
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A field of a query struct, by its name in JSON.
type field struct {
	name string
	reflect.StructField
	optional bool
}

// fieldsOf lists the fields that encoding/json would write, those of embedded
// structs among them.
func fieldsOf(t reflect.Type) (list []field) {
	for _, f := range reflect.VisibleFields(t) {
		name, rest, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous || !f.IsExported() || name == "-" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		optional := slices.ContainsFunc(strings.Split(rest, ","), func(o string) bool { return o == "omitempty" || o == "omitzero" })
		list = append(list, field{name, f, optional})
	}
	return list
}

// queryOf reads a request's query into a struct. A name that no field has is an
// error, as in a body: a filter that is misspelt must not list everything.
func queryOf[Q any](r *http.Request) (q Q, err error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return q, badRequest("reading the query: %v", err)
	}
	v := reflect.ValueOf(&q).Elem()
	for _, f := range fieldsOf(v.Type()) {
		given := values[f.name]
		delete(values, f.name)
		if err := setField(v.FieldByIndex(f.Index), f.name, given); err != nil {
			return q, err
		}
	}
	for name := range values {
		return q, badRequest("unknown parameter %q in the query", name)
	}
	return q, nil
}

// setField sets a field from the values of its name; none, or an empty one,
// leave the zero value.
func setField(v reflect.Value, name string, given []string) error {
	if v.Kind() == reflect.Slice {
		v.Set(reflect.ValueOf(given))
		return nil
	}
	if len(given) > 1 {
		return badRequest("%s is given twice in the query", name)
	}
	if len(given) == 0 || given[0] == "" {
		return nil
	}
	return setText(v, name, given[0])
}

// setText knows the types that a query struct may have; the test of the table
// holds every row's struct against it.
func setText(v reflect.Value, name, text string) error {
	if v.Type() == reflect.TypeFor[time.Time]() {
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return badRequest("%s: %q is not a time: want for example 2026-11-26T14:00:00Z", name, text)
		}
		v.Set(reflect.ValueOf(t))
		return nil
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return badRequest("%s: %q is neither true nor false", name, text)
		}
		v.SetBool(b)
	case reflect.Int, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if err != nil {
			return badRequest("%s: %q is not a whole number", name, text)
		}
		v.SetInt(n)
	case reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(text, 10, v.Type().Bits())
		if err != nil {
			return badRequest("%s: %q is not a number from 0 on", name, text)
		}
		v.SetUint(n)
	default:
		return badRequest("%s cannot be given in a query", name)
	}
	return nil
}

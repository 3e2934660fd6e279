package adminserver

import (
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/admin"
)

//go:generate go test -run ^TestOpenAPIFile$ -update .

// object is a JSON object; encoding/json writes its keys in order, so the
// document is the same each time.
type object = map[string]any

const apiText = `The admin API of a Keyreeve server: JSON over HTTPS with a client certificate that has an admin record, ` +
	`or over the server's unix socket. A request with a field or parameter that is not listed is refused; answers may gain fields. ` +
	`x-keyreeve-roles lists who may: viewer, operator and agent are roles of an admin record, owner is whoever uses the socket.`

// document describes the routes as OpenAPI 3.1. Types and fields come from the
// Go types that are really read and written.
func document(table []route) object {
	schemas := schemas{}
	paths := object{}
	for _, r := range table {
		path, _ := paths[r.path].(object)
		if path == nil {
			path = object{}
			paths[r.path] = path
		}
		path[strings.ToLower(r.method)] = schemas.operation(r)
	}
	refusal := object{
		"description": "why not, and what to do",
		"content":     object{"application/json": object{"schema": schemas.of(reflect.TypeFor[admin.Error]())}},
	}
	return object{
		"openapi": "3.1.0",
		"info": object{"title": "Keyreeve admin API", "version": "1", "description": apiText,
			"license": object{"name": "Apache-2.0", "identifier": "Apache-2.0"}},
		"security": []any{object{"certificate": []any{}}},
		"paths":    paths,
		"components": object{
			"schemas":         object(schemas),
			"responses":       object{"Error": refusal},
			"securitySchemes": object{"certificate": object{"type": "mutualTLS", "description": "a certificate with an admin record; the unix socket needs none"}},
		},
	}
}

// schemas are those of named structs, by name.
type schemas object

func (s schemas) operation(r route) object {
	op := object{
		"operationId":      operationID(r),
		"summary":          r.summary,
		"x-keyreeve-roles": rolesOf(r.may),
		"responses": object{
			"200":     object{"description": "done", "content": object{mediaType(r): object{"schema": s.of(r.answer)}}},
			"default": object{"$ref": "#/components/responses/Error"},
		},
	}
	parameters := pathParameters(r.path)
	if r.method == http.MethodGet {
		parameters = append(parameters, s.queryParameters(r.request)...)
	} else if r.request != reflect.TypeFor[none]() {
		op["requestBody"] = object{"required": true, "content": object{"application/json": object{"schema": s.of(r.request)}}}
	}
	if parameters != nil {
		op["parameters"] = parameters
	}
	return op
}

func mediaType(r route) string {
	if r.lines {
		return "application/jsonl"
	}
	return "application/json"
}

func operationID(r route) string {
	id := strings.ToLower(r.method)
	for _, part := range strings.FieldsFunc(strings.TrimPrefix(r.path, "/v1"), func(c rune) bool { return strings.ContainsRune("/{}.-", c) }) {
		id += strings.ToUpper(part[:1]) + part[1:]
	}
	return id
}

func rolesOf(may access) []string {
	roles := slices.Collect(maps.Keys(accessOf))
	roles = slices.DeleteFunc(roles, func(r admin.Role) bool { return !may.allows(r) })
	slices.Sort(roles)
	names := make([]string, len(roles))
	for i, r := range roles {
		names[i] = string(r)
	}
	return names
}

func pathParameters(path string) (list []any) {
	for _, part := range strings.Split(path, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			list = append(list, object{"in": "path", "name": strings.TrimSuffix(name, "}"), "required": true, "schema": object{"type": "string"}})
		}
	}
	return list
}

func (s schemas) queryParameters(t reflect.Type) (list []any) {
	for _, f := range fieldsOf(t) {
		p := object{"in": "query", "name": f.name, "schema": s.of(f.Type)}
		if text := f.Tag.Get("doc"); text != "" {
			p["description"] = text
		}
		list = append(list, p)
	}
	return list
}

// of returns the schema of a type: of a named struct a reference.
func (s schemas) of(t reflect.Type) object {
	switch t {
	case reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case reflect.TypeFor[json.RawMessage]():
		return object{}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.of(t.Elem())
	case reflect.String:
		return text(t)
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Float32, reflect.Float64:
		return object{"type": "number"}
	case reflect.Int, reflect.Int64, reflect.Int32, reflect.Int16, reflect.Int8:
		return object{"type": "integer"}
	case reflect.Uint, reflect.Uint64, reflect.Uint32, reflect.Uint16, reflect.Uint8:
		return object{"type": "integer", "minimum": 0}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return object{"type": "string", "contentEncoding": "base64"}
		}
		return object{"type": "array", "items": s.of(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": s.of(t.Elem())}
	case reflect.Struct:
		return s.structure(t)
	}
	panic("adminserver: " + t.String() + " has no form in JSON") // the test of the document walks all types
}

// text lists the values of a string type that has a method for them.
func text(t reflect.Type) object {
	if v, ok := reflect.Zero(t).Interface().(interface{ Values() []string }); ok {
		return object{"type": "string", "enum": v.Values()}
	}
	return object{"type": "string"}
}

func (s schemas) structure(t reflect.Type) object {
	ref := object{"$ref": "#/components/schemas/" + t.Name()}
	if _, known := s[t.Name()]; known {
		return ref
	}
	properties, required := object{}, []string{}
	schema := object{"type": "object", "properties": properties}
	s[t.Name()] = schema // before its fields: a type may hold itself
	for _, f := range fieldsOf(t) {
		property := s.of(f.Type)
		if text := f.Tag.Get("doc"); text != "" {
			property["description"] = text
		}
		properties[f.name] = property
		if !f.optional {
			required = append(required, f.name)
		}
	}
	if len(required) > 0 {
		schema["required"] = required
	}
	return ref
}

// Document returns the OpenAPI document, indented, as docs/openapi.json holds it.
func Document() []byte {
	data, err := json.MarshalIndent(document(routes()), "", "  ")
	if err != nil {
		panic("adminserver: the description cannot be written: " + err.Error()) // maps, slices and strings only
	}
	return append(data, '\n')
}

func (s *Server) openAPI(*call, none) (json.RawMessage, error) { return Document(), nil }

package adminserver_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/admin/adminserver"
)

var update = flag.Bool("update", false, "write docs/openapi.json anew")

const openAPIFile = "../../docs/openapi.json"

// The file in docs is what the table of routes says today.
func TestOpenAPIFile(t *testing.T) {
	document := adminserver.Document()
	if *update {
		must(t, os.WriteFile(openAPIFile, document, 0o644))
	}
	file, err := os.ReadFile(openAPIFile)
	must(t, err)
	if !bytes.Equal(file, document) {
		t.Error("docs/openapi.json is not what the routes say: run go generate ./admin/adminserver, and look at the difference")
	}
}

func TestServerTellsItsDescription(t *testing.T) {
	w := newWorld(t)
	status, body := w.raw(t, http.MethodGet, "/v1/openapi.json", "")
	var got, want any
	must(t, json.Unmarshal([]byte(body), &got))
	must(t, json.Unmarshal(adminserver.Document(), &want))
	g, _ := json.Marshal(got)
	e, _ := json.Marshal(want)
	if status != http.StatusOK || !bytes.Equal(g, e) {
		t.Errorf("%d %s", status, body)
	}
}

// The document keeps the rules of OpenAPI 3.1 that readers of it rely on.
func TestOpenAPIIsValid(t *testing.T) {
	var doc map[string]any
	must(t, json.Unmarshal(adminserver.Document(), &doc))
	for _, problem := range openAPIProblems(doc) {
		t.Error(problem)
	}
}

// A check that finds nothing proves nothing: each of these must be found.
func TestOpenAPIProblemsAreFound(t *testing.T) {
	for name, tc := range map[string]struct{ from, to string }{
		"version":               {`"3.1.0"`, `"3.0.0"`},
		"no title":              {`"title"`, `"titel"`},
		"dangling reference":    {`"#/components/schemas/Status"`, `"#/components/schemas/Gone"`},
		"unknown type":          {`"type": "boolean"`, `"type": "bool"`},
		"parameter not in path": {`"name": "uid"`, `"name": "key"`},
		"optional path part": {`"in": "path",
            "name": "uid",
            "required": true`, `"in": "path",
            "name": "uid",
            "required": false`},
		"same operation twice": {`"getKeysUid"`, `"getKeys"`},
		"no answers": {`"responses": {
          "200"`, `"answers": {
          "200"`},
		"required is no field": {`"required": [
          "code"`, `"required": [
          "cod"`},
		"wrong security": {`"certificate": []`, `"password": []`},
		"no roles":       {`"x-keyreeve-roles"`, `"x-roles"`},
	} {
		text := string(adminserver.Document())
		broken := strings.Replace(text, tc.from, tc.to, 1)
		if broken == text {
			t.Errorf("%s: the document does not hold %s", name, tc.from)
			continue
		}
		var doc map[string]any
		must(t, json.Unmarshal([]byte(broken), &doc))
		if openAPIProblems(doc) == nil {
			t.Errorf("%s is not found", name)
		}
	}
}

// An openAPI is a document under test, with what is wrong with it.
type openAPI struct {
	doc      map[string]any
	problems []string
	ids      []string
}

func openAPIProblems(doc map[string]any) []string {
	o := &openAPI{doc: doc}
	o.want(doc["openapi"] == "3.1.0", "openapi is not 3.1.0")
	info := of(doc, "info")
	o.want(str(info["title"]) != "" && str(info["version"]) != "", "info needs title and version")
	schemes := of(doc, "components", "securitySchemes")
	security, _ := doc["security"].([]any)
	o.want(len(security) == 1, "one security requirement")
	for _, s := range security {
		for name := range s.(map[string]any) {
			o.want(str(of(schemes, name)["type"]) == "mutualTLS", "security scheme "+name+" is not there")
		}
	}
	o.want(len(of(doc, "paths")) > 0, "no paths")
	for path, item := range of(doc, "paths") {
		for method, op := range item.(map[string]any) {
			o.operation(method+" "+path, path, op.(map[string]any))
		}
	}
	for name, schema := range of(doc, "components", "schemas") {
		o.schema(name, schema)
	}
	return o.problems
}

func of(v any, path ...string) map[string]any {
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	m, _ := v.(map[string]any)
	return m
}

func str(v any) string { s, _ := v.(string); return s }

func (o *openAPI) want(ok bool, problem string) {
	if !ok {
		o.problems = append(o.problems, problem)
	}
}

func (o *openAPI) operation(where, path string, op map[string]any) {
	id := str(op["operationId"])
	o.want(id != "" && !slices.Contains(o.ids, id), where+": operationId is empty or not unique")
	o.ids = append(o.ids, id)
	o.want(str(op["summary"]) != "", where+": no summary")
	roles, _ := op["x-keyreeve-roles"].([]any)
	o.want(len(roles) > 0, where+": nobody may")
	inPath := o.parameters(where, op)
	for _, part := range strings.Split(path, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			name = strings.TrimSuffix(name, "}")
			o.want(slices.Contains(inPath, name), where+": "+name+" of the path is no parameter")
			inPath = slices.DeleteFunc(inPath, func(p string) bool { return p == name })
		}
	}
	o.want(len(inPath) == 0, where+": parameters are not in the path")
	if body, ok := op["requestBody"]; ok {
		o.content(where, body)
	}
	o.want(len(of(op, "responses")) == 2, where+": want an answer and an error")
	for _, response := range of(op, "responses") {
		o.content(where, response)
	}
}

func (o *openAPI) parameters(where string, op map[string]any) (inPath []string) {
	list, _ := op["parameters"].([]any)
	for _, p := range list {
		parameter := p.(map[string]any)
		name := str(parameter["name"])
		if parameter["in"] == "path" {
			o.want(parameter["required"] == true, where+": "+name+" of the path is not required")
			inPath = append(inPath, name)
		} else {
			o.want(parameter["in"] == "query", where+": "+name+" is nowhere")
		}
		o.schema(where+" "+name, parameter["schema"])
	}
	return inPath
}

func (o *openAPI) content(where string, v any) {
	holder := o.resolve(where, of(v))
	o.want(len(of(holder, "content")) == 1, where+": want one kind of content")
	for _, media := range of(holder, "content") {
		o.schema(where, of(media)["schema"])
	}
}

func (o *openAPI) resolve(where string, v map[string]any) map[string]any {
	ref := str(v["$ref"])
	if ref == "" {
		return v
	}
	target := of(o.doc, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
	o.want(strings.HasPrefix(ref, "#/") && target != nil, where+": "+ref+" leads nowhere")
	return target
}

func (o *openAPI) schema(where string, v any) {
	s, ok := v.(map[string]any)
	o.want(ok, where+": no schema")
	if s["$ref"] != nil {
		o.resolve(where, s)
		return
	}
	kind, typed := s["type"]
	o.want(!typed || slices.Contains([]string{"string", "boolean", "number", "integer", "array", "object"}, str(kind)), where+": unknown type")
	for name, property := range of(s, "properties") {
		o.schema(where+"."+name, property)
	}
	required, _ := s["required"].([]any)
	for _, name := range required {
		o.want(of(s, "properties")[str(name)] != nil, where+": required "+str(name)+" is no property")
	}
	if kind == "array" {
		o.schema(where+"[]", s["items"])
	}
}

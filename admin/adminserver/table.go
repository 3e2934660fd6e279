package adminserver

import (
	"context"
	"net/http"
	"reflect"
	"time"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/keystore"
)

// routes is the whole API. The mux, the check of roles and the OpenAPI document
// are made of it and of nothing else, so that none of them can forget a row.
//
// To add a path: declare its request and answer in package admin, write its
// handler, add a row, and renew docs/openapi.json with "go generate
// ./admin/adminserver". A request's fields come from the query for get and
// lines, and from the body for post; what is in braces in the path is read
// with call.path. A handler that changes something goes through the store's
// door with an Op of class OpChange.
func routes() []route {
	return []route{
		get("/v1/openapi.json", viewers|agents, "this description", (*Server).openAPI),
		get("/v1/status", viewers|agents, "how the server is", (*Server).status),
		post("/v1/verify", operators, "check the whole store and journal while they are in use", (*Server).verify),

		get("/v1/certificate", viewers|agents, "the server's certificate in use, and the other one", (*Server).showCertificates),
		post("/v1/certificate/stage", operators|agents, "make the server's next certificate, which nothing uses yet", (*Server).stageCertificate),
		post("/v1/certificate/use", operators|agents, "put the staged certificate to use, or the one before again", (*Server).useCertificate),

		get("/v1/backups", viewers, "the backups that were verified, newest first", (*Server).listBackups),
		post("/v1/backups", operators|agents, "make a backup, and answer when it is verified; for an agent, only if keys are in none", (*Server).createBackup),
		get("/v1/backups/progress", viewers, "how far the backup is that is being made", (*Server).backupProgress),

		get("/v1/audit", viewers, "a page of the journal, oldest event first", (*Server).readJournal),

		get("/v1/clients", viewers|agents, "all clients, by name", (*Server).listClients),
		post("/v1/clients", operators, "enrol a client", (*Server).enrolClient),
		get("/v1/clients/{name}", viewers|agents, "one client", (*Server).showClient),
		post("/v1/clients/{name}/revoke", operators, "shut a client out and end its connections", (*Server).revokeClient),
		post("/v1/clients/{name}/renew", operators|agents, "give a client another certificate; an agent only where that is allowed", (*Server).renewClient),
		post("/v1/clients/{name}/agent-renewable", operators, "say whether an agent may renew a client's certificate", (*Server).agentRenewable),
		post("/v1/clients/{name}/require-user", operators, "say whether a client's requests must name a user", (*Server).requireUser),

		get("/v1/users", viewers, "all users, by group and name", (*Server).listUsers),
		post("/v1/users", operators, "add a user to a client's group", (*Server).addUser),
		post("/v1/users/{group}/{name}/password", operators, "give a user another password", (*Server).setPassword),
		post("/v1/users/{group}/{name}/remove", operators, "forget a user; what it owns stays", (*Server).removeUser),

		get("/v1/admins", viewers, "all administrators, by name", (*Server).listAdmins),
		post("/v1/admins", owners, "make somebody an administrator", (*Server).addAdmin),
		get("/v1/admins/{name}", viewers, "one administrator", (*Server).showAdmin),
		post("/v1/admins/{name}/revoke", owners, "shut an administrator out and end their connections", (*Server).revokeAdmin),

		get("/v1/keys", viewers|agents, "a page of keys, oldest first: metadata only", (*Server).listKeys),
		get("/v1/keys/{uid}", viewers|agents, "one key's metadata", (*Server).showKey),
		post("/v1/keys/{uid}/activate", operators, "let a pre-active key be used to encrypt", (*Server).activateKey),
		post("/v1/keys/{uid}/revoke", operators, "say that a key is not to be used any more, or is compromised", (*Server).revokeKey),
		post("/v1/keys/{uid}/destroy", operators, "destroy a key; it can be brought back for the grace period", (*Server).destroyKey),
		post("/v1/keys/{uid}/recover", operators, "bring a destroyed key back, within its grace period", (*Server).recoverKey),
		post("/v1/keys/{uid}/reactivate", operators, "undo the revocation of a deactivated key", (*Server).reactivateKey),
		get("/v1/keys/{uid}/users", viewers, "which machines and hosts use a key, by vCenter", (*Server).keyUsers),

		get("/v1/inventories", viewers, "all vCenters that were assigned to an agent", (*Server).listInventories),
		post("/v1/inventories", operators, "assign a vCenter to an agent", (*Server).assignInventory),
		get("/v1/inventories/{vcenter}", viewers, "a vCenter and a page of the keys that it uses", (*Server).showInventory),
		post("/v1/inventories/{vcenter}/confirm", operators, "confirm that keys are not used any more", (*Server).confirmInventory),
		post("/v1/inventories/{vcenter}/remove", operators, "forget a vCenter that is gone for good, and release its keys", (*Server).removeInventory),
		post("/v1/inventories/{vcenter}/uploads", owners|agents, "begin a report", (*Server).beginUpload),
		post("/v1/inventories/{vcenter}/uploads/{upload}/entries", owners|agents, "go on with a report", (*Server).addToUpload),
		post("/v1/inventories/{vcenter}/uploads/{upload}/commit", owners|agents, "have a report taken as a whole", (*Server).commitUpload),
	}
}

// access is the set of roles that may use a route. An operator may what a
// viewer may, and the owner what an operator may; an agent only what says so.
type access uint8

const (
	owners access = 1 << iota
	onlyOperators
	onlyViewers
	agents

	operators = owners | onlyOperators
	viewers   = operators | onlyViewers
)

// accessOf is what a role is in the sets; a role that nobody knows is in none.
var accessOf = map[admin.Role]access{
	admin.RoleOwner: owners, admin.RoleOperator: onlyOperators, admin.RoleViewer: onlyViewers, admin.RoleAgent: agents,
}

func (a access) allows(role admin.Role) bool { return a&accessOf[role] != 0 }

// A call is one request: who asks, and the rest of what was sent.
type call struct {
	http  *http.Request
	by    *keystore.Principal
	role  admin.Role
	until time.Time // when the certificate ends; zero: not
}

// path returns what stands in the path for {name}.
func (c *call) path(name string) string { return c.http.PathValue(name) }

func (c *call) context() context.Context { return c.http.Context() }

// untilEnd is the context of an answer that may go on for long: not longer than
// the certificate of who reads it.
func (c *call) untilEnd() (context.Context, context.CancelFunc) {
	if c.until.IsZero() {
		return context.WithCancel(c.context())
	}
	return context.WithDeadline(c.context(), c.until)
}

// A route is a row of the table; get, post and lines make one.
type route struct {
	method, path string
	may          access
	summary      string       // for the OpenAPI document
	request      reflect.Type // none: nothing is taken
	answer       reflect.Type
	lines        bool // the answer is one value a line, until there are no more
	serve        func(*Server, http.ResponseWriter, *call) error
}

// none is the request of a route that takes nothing.
type none struct{}

// get makes the route of a question. Q is a struct whose fields come from the query.
func get[Q, A any](path string, may access, summary string, h func(*Server, *call, Q) (A, error)) route {
	return one(http.MethodGet, path, may, summary, queryOf[Q], h)
}

// post makes the route of a change. Q is the body.
func post[Q, A any](path string, may access, summary string, h func(*Server, *call, Q) (A, error)) route {
	return one(http.MethodPost, path, may, summary, bodyOf[Q], h)
}

func one[Q, A any](method, path string, may access, summary string, read func(*http.Request) (Q, error), h func(*Server, *call, Q) (A, error)) route {
	return route{
		method: method, path: path, may: may, summary: summary, request: reflect.TypeFor[Q](), answer: reflect.TypeFor[A](),
		serve: func(s *Server, w http.ResponseWriter, c *call) error {
			req, err := read(c.http)
			if err != nil {
				return err
			}
			answer, err := h(s, c, req)
			if err != nil {
				return err
			}
			write(w, http.StatusOK, answer)
			return nil
		},
	}
}

// lines makes the route of a question with many answers: h calls tell for each,
// which sends it at once as a line of JSON. The context ends with the
// connection, and when the server stops. An error after the first line is sent
// as the last one: {"error":{…}}.
func lines[Q, A any](path string, may access, summary string, h func(s *Server, ctx context.Context, c *call, req Q, tell func(A) error) error) route {
	return route{
		method: http.MethodGet, path: path, may: may, summary: summary, lines: true,
		request: reflect.TypeFor[Q](), answer: reflect.TypeFor[A](),
		serve: func(s *Server, w http.ResponseWriter, c *call) error {
			req, err := queryOf[Q](c.http)
			if err != nil {
				return err
			}
			ctx, cancel := c.untilEnd()
			defer cancel()
			defer context.AfterFunc(s.stopping, cancel)()
			out := &lineWriter{w: w}
			err = h(s, ctx, c, req, func(a A) error { return out.line(a) })
			return out.end(err)
		},
	}
}

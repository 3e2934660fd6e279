package vspheretest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// list answers the names of all services, in no order.
func (c *OVHcloud) list(w http.ResponseWriter, _ *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	names := slices.Clone(c.options.Services)
	c.rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	answer(w, names)
}

func (c *OVHcloud) about(w http.ResponseWriter, r *http.Request, _ *cloud) {
	answer(w, map[string]any{"serviceName": r.PathValue("service"), "location": "rbx2a", "managementInterface": "vcenter", "state": "delivered"})
}

func (c *OVHcloud) option(w http.ResponseWriter, _ *http.Request, s *cloud) {
	answer(w, map[string]string{"state": s.state})
}

func (c *OVHcloud) listKMS(w http.ResponseWriter, _ *http.Request, s *cloud) {
	ids := []int64{}
	for _, a := range s.kms {
		ids = append(ids, a.id)
	}
	c.rand.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	answer(w, ids)
}

// kmsRequest is the body of both calls that write.
type kmsRequest struct {
	IP            string  `json:"ip"`
	SSLThumbprint string  `json:"sslThumbprint"`
	Description   *string `json:"description"`
}

// body reads a request; a field that the API does not have is refused, as the
// real one does.
func bodyOf(w http.ResponseWriter, r *http.Request) (req kmsRequest, ok bool) {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&req); err != nil {
		refuse(w, http.StatusBadRequest, "Client::BadRequest", "Invalid request: "+err.Error())
		return req, false
	}
	if !thumbprintForm.MatchString(req.SSLThumbprint) {
		refuse(w, http.StatusBadRequest, "Client::BadRequest", "Invalid parameter sslThumbprint")
		return req, false
	}
	return req, true
}

// addKMS takes a key server, opens the firewall in a task, and turns the option
// on with the first one.
func (c *OVHcloud) addKMS(w http.ResponseWriter, r *http.Request, s *cloud) {
	req, ok := bodyOf(w, r)
	switch {
	case !ok:
		return
	case !validIP(req.IP):
		refuse(w, http.StatusBadRequest, "Client::BadRequest", "Invalid parameter ip: it is not an ipv4")
		return
	case slices.ContainsFunc(s.kms, func(a *access) bool { return a.ip == req.IP }):
		refuse(w, http.StatusConflict, "Client::Conflict", "This KMS is already registered")
		return
	}
	c.next++
	a := &access{id: c.next, ip: req.IP, thumbprint: req.SSLThumbprint, state: "toCreate"}
	if req.Description != nil {
		a.description = *req.Description
	}
	s.kms = append(s.kms, a)
	if s.state == "disabled" {
		s.state = "enabling"
	}
	t := c.begin(s, "addKmsVmEncryption", a)
	t.check = func() error { return c.matches(req.IP, req.SSLThumbprint) }
	t.done = func() { s.state, a.state, a.open = "enabled", "delivered", true }
	answer(w, c.render(t))
}

// begin makes a task. When it fails, the entry it is about is left in error.
func (c *OVHcloud) begin(s *cloud, name string, a *access) *task {
	c.next++
	t := &task{id: c.next, name: name, state: []string{"todo", "waitingTodo", "toCreate"}[c.rand.IntN(3)], created: c.options.Now()}
	t.failed = func() { a.state = "error" }
	s.tasks = append(s.tasks, t)
	return t
}

// find returns the entry that the path names, or answers that there is none.
func (s *cloud) find(w http.ResponseWriter, r *http.Request) *access {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if at := slices.IndexFunc(s.kms, func(a *access) bool { return a.id == id }); err == nil && at >= 0 {
		return s.kms[at]
	}
	notHere(w)
	return nil
}

func (c *OVHcloud) showKMS(w http.ResponseWriter, r *http.Request, s *cloud) {
	a := s.find(w, r)
	if a == nil {
		return
	}
	out := map[string]any{"kmsId": a.id, "ip": a.ip, "kmsTcpPort": KMIPPort, "sslThumbprint": a.thumbprint, "state": a.state, "description": nil}
	if a.description != "" {
		out["description"] = a.description
	} else if c.rand.IntN(2) == 0 {
		out["description"] = ""
	}
	answer(w, out)
}

// changeKMS changes the thumbprint and the description; the address cannot be
// changed.
func (c *OVHcloud) changeKMS(w http.ResponseWriter, r *http.Request, s *cloud) {
	a := s.find(w, r)
	if a == nil {
		return
	}
	req, ok := bodyOf(w, r)
	if !ok {
		return
	}
	if req.IP != "" {
		refuse(w, http.StatusBadRequest, "Client::BadRequest", "Unknown parameter ip")
		return
	}
	a.state = "toUpdate"
	t := c.begin(s, "updateKmsVmEncryption", a)
	t.check = func() error { return c.matches(a.ip, req.SSLThumbprint) }
	t.done = func() {
		s.state, a.state, a.open = "enabled", "delivered", true // one whose registration had failed is open now
		a.thumbprint = req.SSLThumbprint
		if req.Description != nil {
			a.description = *req.Description
		}
	}
	answer(w, c.render(t))
}

// removeKMS closes the firewall in a task.
func (c *OVHcloud) removeKMS(w http.ResponseWriter, r *http.Request, s *cloud) {
	a := s.find(w, r)
	if a == nil {
		return
	}
	a.state = "toDelete"
	t := c.begin(s, "removeKmsVmEncryption", a)
	t.done = func() {
		a.open = false
		s.kms = slices.DeleteFunc(s.kms, func(o *access) bool { return o == a })
	}
	answer(w, c.render(t))
}

// render writes a task as the API does. What is optional is there or not.
func (c *OVHcloud) render(t *task) map[string]any {
	out := map[string]any{
		"taskId": t.id, "name": t.name, "state": t.state, "progress": c.progress(t), "type": "generic",
		"executionDate": t.created.UTC().Format(time.RFC3339), "endDate": nil, "userId": nil, "networkAccessId": nil,
	}
	if !t.ended.IsZero() {
		out["endDate"] = t.ended.UTC().Format(time.RFC3339)
	}
	if c.rand.IntN(2) == 0 {
		out["description"] = "KMS of VM encryption"
	}
	if c.rand.IntN(2) == 0 {
		out["lastModificationDate"] = c.options.Now().UTC().Format(time.RFC3339)
	}
	return out
}

func (c *OVHcloud) progress(t *task) int64 {
	if t.state == "done" {
		return 100
	}
	return min(99, int64(100*c.options.Now().Sub(t.created)/c.options.TaskTime))
}

func (c *OVHcloud) listTasks(w http.ResponseWriter, r *http.Request, s *cloud) {
	ids := []int64{}
	for _, t := range s.tasks {
		name, state := r.URL.Query().Get("name"), r.URL.Query().Get("state")
		if (name == "" || strings.Contains(t.name, name)) && (state == "" || t.state == state) {
			ids = append(ids, t.id)
		}
	}
	c.rand.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	answer(w, ids)
}

func (c *OVHcloud) showTask(w http.ResponseWriter, r *http.Request, s *cloud) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	at := slices.IndexFunc(s.tasks, func(t *task) bool { return t.id == id })
	if err != nil || at < 0 {
		notHere(w)
		return
	}
	answer(w, c.render(s.tasks[at]))
}

// firstUser is the ID of the user whom each service has, admin.
const firstUser = 1001

func (c *OVHcloud) listUsers(w http.ResponseWriter, _ *http.Request, _ *cloud) {
	if c.options.HideUsers {
		refuse(w, http.StatusForbidden, "Client::Forbidden", "This call has not been granted")
		return
	}
	var ids []int
	for _, i := range c.rand.Perm(len(c.users)) {
		ids = append(ids, firstUser+i)
	}
	answer(w, ids)
}

func (c *OVHcloud) showUser(w http.ResponseWriter, r *http.Request, _ *cloud) {
	id, err := strconv.Atoi(r.PathValue("id"))
	if err != nil || id < firstUser || id >= firstUser+len(c.users) {
		notHere(w)
		return
	}
	login := c.users[id-firstUser]
	answer(w, map[string]any{"userId": id, "login": login, "name": login, "state": "delivered", "encryptionRight": !c.options.NoEncryptionRight})
}

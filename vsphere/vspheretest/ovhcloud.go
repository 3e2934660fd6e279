package vspheretest

import (
	"context"
	"crypto/rand"
	"crypto/sha1"
	"crypto/subtle"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// OVHcloudOptions say what an OVHcloud is like. The zero value has one service,
// ServiceName, without any key server, and takes tasks' time as TaskTime.
type OVHcloudOptions struct {
	Services []string // names of dedicatedCloud services; nil: one, ServiceName
	// TaskTime is how long a task takes once somebody has asked for it; 0: a
	// tenth of a second.
	TaskTime time.Duration
	// FailTasks is how many of the first tasks end in error.
	FailTasks int
	// IgnoreThumbprint takes any thumbprint. Whether the real one compares it
	// with the live server is not known; by default the double does.
	IgnoreThumbprint bool
	// NoEncryptionRight makes the users lack encryptionRight.
	NoEncryptionRight bool
	// HideUsers has the API credentials not read the users, as ones have that
	// were made for key servers alone.
	HideUsers bool
	// Seed varies what the API leaves open: orders, optional fields. 0: the clock's.
	Seed   uint64
	Dial   func(ctx context.Context, network, address string) (net.Conn, error) // to key servers; nil: net.Dialer's
	Logger *slog.Logger
	Now    func() time.Time
}

// ServiceName is the service that there is by default.
const ServiceName = "pcc-192-0-2-1"

// KMIPPort is the only port that OVHcloud opens.
const KMIPPort = 5696

// An OVHcloud is a double of the part of OVHcloud's API v1 that has to do with
// VM encryption (/dedicatedCloud). Requests must be signed with its application
// keys or carry its access token. It is an http.Handler for the paths below
// /1.0; its methods may be called from several goroutines.
//
// What it leaves open it varies, so that a client does not come to depend on
// an order or a field that the real one does not promise.
type OVHcloud struct {
	ApplicationKey, ApplicationSecret, ConsumerKey, AccessToken string

	options OVHcloudOptions
	mux     *http.ServeMux

	mu       sync.Mutex
	rand     *mathrand.Rand
	services map[string]*cloud
	failing  int
	next     int64
	users    []string // of vCenter's, the same in each service
}

// cloud is one dedicatedCloud service.
type cloud struct {
	state string // of the option
	kms   []*access
	tasks []*task
}

// access is a VMEncryptionAccessNetwork.
type access struct {
	id                          int64
	ip, thumbprint, description string
	state                       string
	open                        bool // the firewall lets vCenter reach it
}

// task is a dedicatedCloud.Task on its way.
type task struct {
	id             int64
	name, state    string
	created, ended time.Time
	ending         bool         // somebody is about to end it
	check          func() error // asks the key server, without the lock; nil: nothing to ask
	done, failed   func()       // what comes of it; called with the lock
}

// NewOVHcloud makes one.
func NewOVHcloud(o OVHcloudOptions) *OVHcloud {
	if o.Services == nil {
		o.Services = []string{ServiceName}
	}
	if o.TaskTime == 0 {
		o.TaskTime = 100 * time.Millisecond
	}
	if o.Seed == 0 {
		o.Seed = uint64(time.Now().UnixNano())
	}
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	c := &OVHcloud{
		ApplicationKey: rand.Text(), ApplicationSecret: rand.Text(), ConsumerKey: rand.Text(), AccessToken: rand.Text(),
		options: o, services: map[string]*cloud{}, failing: o.FailTasks, next: 300, users: []string{"admin"},
		rand: mathrand.New(mathrand.NewPCG(o.Seed, o.Seed)),
	}
	for _, s := range o.Services {
		c.services[s] = &cloud{state: "disabled"}
	}
	c.routes()
	return c
}

// AddUser makes a login one of the services' vCenter users.
func (c *OVHcloud) AddUser(login string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Contains(c.users, login) {
		c.users = append(c.users, login)
	}
}

// Open tells whether the firewall lets vCenter reach the address (host:port):
// a Network's SetFirewall takes it.
func (c *OVHcloud) Open(address string) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil || port != strconv.Itoa(KMIPPort) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.services {
		if slices.ContainsFunc(s.kms, func(a *access) bool { return a.open && a.ip == host }) {
			return true
		}
	}
	return false
}

func (c *OVHcloud) routes() {
	c.mux = http.NewServeMux()
	c.mux.HandleFunc("GET /1.0/auth/time", func(w http.ResponseWriter, _ *http.Request) { answer(w, c.options.Now().Unix()) })
	c.mux.HandleFunc("POST /1.0/auth/credential", c.credential)
	service := func(pattern string, fn func(w http.ResponseWriter, r *http.Request, s *cloud)) {
		c.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { c.serve(w, r, fn) })
	}
	c.mux.HandleFunc("GET /1.0/dedicatedCloud", c.list)
	service("GET /1.0/dedicatedCloud/{service}", c.about)
	service("GET /1.0/dedicatedCloud/{service}/vmEncryption", c.option)
	service("GET /1.0/dedicatedCloud/{service}/vmEncryption/kms", c.listKMS)
	service("POST /1.0/dedicatedCloud/{service}/vmEncryption/kms", c.addKMS)
	service("GET /1.0/dedicatedCloud/{service}/vmEncryption/kms/{id}", c.showKMS)
	service("DELETE /1.0/dedicatedCloud/{service}/vmEncryption/kms/{id}", c.removeKMS)
	service("POST /1.0/dedicatedCloud/{service}/vmEncryption/kms/{id}/changeProperties", c.changeKMS)
	service("GET /1.0/dedicatedCloud/{service}/task", c.listTasks)
	service("GET /1.0/dedicatedCloud/{service}/task/{id}", c.showTask)
	service("GET /1.0/dedicatedCloud/{service}/user", c.listUsers)
	service("GET /1.0/dedicatedCloud/{service}/user/{id}", c.showUser)
}

// ServeHTTP answers a request that is signed.
func (c *OVHcloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Ovh-QueryID", "EU.ext-1."+strings.ToLower(rand.Text()[:13]))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		refuse(w, http.StatusBadRequest, "Client::BadRequest", "the request is too large")
		return
	}
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	if !strings.HasPrefix(r.URL.Path, "/1.0/auth/") {
		if problem := c.authenticate(r, body); problem != "" {
			refuse(w, http.StatusForbidden, "Client::Forbidden", problem)
			return
		}
	}
	if _, pattern := c.mux.Handler(r); pattern == "" {
		refuse(w, http.StatusNotFound, "Client::NotFound", "Got an invalid (or empty) URL")
		return
	}
	c.mux.ServeHTTP(w, r)
}

// authenticate checks the signature of an application key, or the token. ""
// means that the request may go on.
func (c *OVHcloud) authenticate(r *http.Request, body []byte) string {
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		if subtle.ConstantTimeCompare([]byte(token), []byte(c.AccessToken)) == 1 {
			return ""
		}
		return "This token is invalid"
	}
	if r.Header.Get("X-Ovh-Application") != c.ApplicationKey {
		return "This application key is invalid"
	}
	if r.Header.Get("X-Ovh-Consumer") != c.ConsumerKey {
		return "This credential does not exist"
	}
	stamp := r.Header.Get("X-Ovh-Timestamp")
	sent, err := strconv.ParseInt(stamp, 10, 64)
	if now := c.options.Now().Unix(); err != nil || sent < now-300 || sent > now+300 {
		return "Invalid timestamp"
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	text := strings.Join([]string{c.ApplicationSecret, c.ConsumerKey, r.Method, scheme + "://" + r.Host + r.RequestURI, string(body), stamp}, "+")
	sum := sha1.Sum([]byte(text))
	if subtle.ConstantTimeCompare([]byte("$1$"+hex.EncodeToString(sum[:])), []byte(r.Header.Get("X-Ovh-Signature"))) != 1 {
		return "Invalid signature"
	}
	return ""
}

// credential answers the request for a consumer key: it is valid at once.
func (c *OVHcloud) credential(w http.ResponseWriter, _ *http.Request) {
	answer(w, map[string]string{"consumerKey": c.ConsumerKey, "state": "pendingValidation", "validationUrl": "https://www.ovh.com/auth/sso/api?credentialToken=" + rand.Text()})
}

// serve finds the service, and lets its tasks go on before it answers.
func (c *OVHcloud) serve(w http.ResponseWriter, r *http.Request, fn func(w http.ResponseWriter, r *http.Request, s *cloud)) {
	c.mu.Lock()
	s := c.services[r.PathValue("service")]
	c.mu.Unlock()
	if s == nil {
		notHere(w)
		return
	}
	c.proceed(s)
	c.mu.Lock()
	defer c.mu.Unlock()
	fn(w, r, s)
}

// proceed ends the tasks whose time has come.
func (c *OVHcloud) proceed(s *cloud) {
	for _, t := range c.due(s) {
		err := error(nil)
		if t.check != nil {
			err = t.check()
		}
		c.end(t, err)
	}
}

func (c *OVHcloud) end(t *task, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failing > 0 {
		c.failing--
		err = errors.New("the task was made to fail")
	}
	t.ended = c.options.Now()
	if err != nil {
		t.state = "error"
		t.failed()
		c.options.Logger.Info("an OVHcloud task failed", "task", t.id, "name", t.name, "err", err)
		return
	}
	t.state = "done"
	t.done()
}

// due takes the tasks whose time has come, and moves the others along.
func (c *OVHcloud) due(s *cloud) (list []*task) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range s.tasks {
		switch age := c.options.Now().Sub(t.created); {
		case t.ending:
		case age >= c.options.TaskTime:
			t.ending = true
			list = append(list, t)
		case age >= c.options.TaskTime/4:
			t.state = "doing"
		}
	}
	return list
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(v)
}

func refuse(w http.ResponseWriter, status int, class, message string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"class": class, "message": message})
}

func notHere(w http.ResponseWriter) {
	refuse(w, http.StatusNotFound, "Client::NotFound", "The requested object does not exist")
}

var thumbprintForm = regexp.MustCompile(`^([0-9A-F]{2}:){19}[0-9A-F]{2}$`)

// liveThumbprint is the SHA-1 thumbprint of the certificate that a key server
// shows now.
func (c *OVHcloud) liveThumbprint(ip string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	plain, err := c.options.Dial(ctx, "tcp", net.JoinHostPort(ip, strconv.Itoa(KMIPPort)))
	if err != nil {
		return "", err
	}
	defer func() { _ = plain.Close() }()
	seen := ""
	conn := tls.Client(plain, &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) > 0 {
			seen = fingerprint(s.PeerCertificates[0])
		}
		return nil
	}})
	if err := conn.HandshakeContext(ctx); seen == "" {
		return "", err
	}
	return seen, nil
}

// matches checks a thumbprint against the live key server.
func (c *OVHcloud) matches(ip, thumbprint string) error {
	if c.options.IgnoreThumbprint {
		return nil
	}
	seen, err := c.liveThumbprint(ip)
	if err == nil && seen != thumbprint {
		err = fmt.Errorf("the key server at %s has the thumbprint %s, not %s", ip, seen, thumbprint)
	}
	return err
}

func validIP(text string) bool {
	ip, err := netip.ParseAddr(text)
	return err == nil && ip.Is4()
}

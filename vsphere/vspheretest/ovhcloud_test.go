package vspheretest_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/ovh/go-ovh/ovh"

	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/kmip/kmiptest"
	"github.com/keyreeve/keyreeve/vsphere/vspheretest"
)

// ovhTask and ovhKMS are what a client reads of the API's objects.
type ovhTask struct {
	TaskID   int64  `json:"taskId"`
	State    string `json:"state"`
	Progress int64  `json:"progress"`
}

type ovhKMS struct {
	KmsID         int64  `json:"kmsId"`
	IP            string `json:"ip"`
	State         string `json:"state"`
	KmsTCPPort    int64  `json:"kmsTcpPort"`
	SSLThumbprint string `json:"sslThumbprint"`
}

const option = "/dedicatedCloud/" + vspheretest.ServiceName + "/vmEncryption"

// newCloud starts a double, with a client of OVHcloud's own making.
func newCloud(t *testing.T, o vspheretest.OVHcloudOptions) (*vspheretest.OVHcloud, *ovh.Client) {
	t.Helper()
	c := vspheretest.NewOVHcloud(o)
	srv := httptest.NewServer(c)
	t.Cleanup(srv.Close)
	client, err := ovh.NewClient(srv.URL+"/1.0", c.ApplicationKey, c.ApplicationSecret, c.ConsumerKey)
	if err != nil {
		t.Fatal(err)
	}
	return c, client
}

// settle asks for a task until it has ended.
func settle(t *testing.T, client *ovh.Client, started ovhTask) ovhTask {
	t.Helper()
	path := fmt.Sprintf("/dedicatedCloud/%s/task/%d", vspheretest.ServiceName, started.TaskID)
	for started.State != "done" && started.State != "error" {
		if err := client.Get(path, &started); err != nil {
			t.Fatal(err)
		}
	}
	return started
}

// kmsOn5696 is a key server on port 5696 of an address that nobody else uses,
// and its certificate's thumbprint.
func kmsOn5696(t *testing.T) (ip, thumbprint string) {
	t.Helper()
	addr, err := vspheretest.FreeAddress(vspheretest.KMIPPort)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	ip, _, err = net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	store := kmiptest.NewStore(t)
	kms := kmiptest.Start(t, store.Operations, kmiptest.Options{Listener: l})
	leaf, err := certs.FetchServerCertificate(t.Context(), kms.Addr())
	if err != nil {
		t.Fatal(err)
	}
	return ip, certs.SHA1(leaf)
}

// Registering a key server takes a task, turns the option on, and opens the
// firewall; removing it closes it again.
func TestOVHcloudLifeOfAKMS(t *testing.T) {
	ip, thumbprint := kmsOn5696(t)
	c, client := newCloud(t, vspheretest.OVHcloudOptions{TaskTime: 20 * time.Millisecond})
	var state struct{ State string }
	if err := client.Get(option, &state); err != nil || state.State != "disabled" {
		t.Fatalf("the option is %q, %v", state.State, err)
	}
	if c.Open(ip + ":5696") {
		t.Error("the firewall is open before anything was registered")
	}
	var started ovhTask
	body := map[string]string{"ip": ip, "sslThumbprint": thumbprint}
	if err := client.Post(option+"/kms", body, &started); err != nil {
		t.Fatal(err)
	}
	if started.State == "done" || c.Open(ip+":5696") {
		t.Error("it was done at once")
	}
	if end := settle(t, client, started); end.State != "done" || end.Progress != 100 {
		t.Fatalf("task %+v", end)
	}
	var ids []int64
	if err := client.Get(option+"/kms", &ids); err != nil || len(ids) != 1 {
		t.Fatalf("ids %v %v", ids, err)
	}
	var kms ovhKMS
	path := fmt.Sprintf("%s/kms/%d", option, ids[0])
	if err := client.Get(path, &kms); err != nil || kms.State != "delivered" || kms.IP != ip || kms.KmsTCPPort != 5696 || kms.SSLThumbprint != thumbprint {
		t.Errorf("kms %+v %v", kms, err)
	}
	if !c.Open(ip+":5696") || c.Open(ip+":5697") || c.Open("127.0.0.1:5696") {
		t.Error("the firewall is open for the wrong addresses")
	}
	if err := client.Get(option, &state); err != nil || state.State != "enabled" {
		t.Errorf("the option is %q, %v", state.State, err)
	}
	if err := client.Delete(path, &started); err != nil {
		t.Fatal(err)
	}
	if end := settle(t, client, started); end.State != "done" || c.Open(ip+":5696") {
		t.Errorf("after the removal: %+v, open %v", end, c.Open(ip+":5696"))
	}
}

// A thumbprint that is not the live server's, and a task that was made to
// fail, end in error; nothing is opened.
func TestOVHcloudTasksFail(t *testing.T) {
	ip, thumbprint := kmsOn5696(t)
	wrong := "AA" + thumbprint[2:]
	if wrong == thumbprint {
		wrong = "BB" + thumbprint[2:]
	}
	for name, o := range map[string]vspheretest.OVHcloudOptions{
		wrong:      {TaskTime: time.Millisecond},
		thumbprint: {TaskTime: time.Millisecond, FailTasks: 1},
	} {
		c, client := newCloud(t, o)
		var started ovhTask
		if err := client.Post(option+"/kms", map[string]string{"ip": ip, "sslThumbprint": name}, &started); err != nil {
			t.Fatal(err)
		}
		if end := settle(t, client, started); end.State != "error" || c.Open(ip+":5696") {
			t.Errorf("%s: %+v, open %v", name, end, c.Open(ip+":5696"))
		}
		var ids []int64
		var kms ovhKMS
		if err := errors.Join(client.Get(option+"/kms", &ids), client.Get(fmt.Sprintf("%s/kms/%d", option, ids[0]), &kms)); err != nil || kms.State != "error" {
			t.Errorf("%s: %+v %v", name, kms, err)
		}
	}
}

// What the real API refuses is refused, with OVHcloud's classes and a query id.
func TestOVHcloudRefuses(t *testing.T) {
	c, client := newCloud(t, vspheretest.OVHcloudOptions{})
	thumbprint := "A7:61:68:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:61:91:2F"
	code := func(err error) int {
		t.Helper()
		var e *ovh.APIError
		if !errors.As(err, &e) || e.QueryID == "" || e.Class == "" {
			t.Errorf("not an error of the API: %+v", err)
			return 0
		}
		return e.Code
	}
	for name, body := range map[string]map[string]string{
		"a name":           {"ip": "kms.example.com", "sslThumbprint": thumbprint},
		"IPv6":             {"ip": "2001:db8::1", "sslThumbprint": thumbprint},
		"SHA-256":          {"ip": "192.0.2.9", "sslThumbprint": thumbprint + ":00"},
		"a port":           {"ip": "192.0.2.9:5697", "sslThumbprint": thumbprint},
		"an unknown field": {"ip": "192.0.2.9", "sslThumbprint": thumbprint, "port": "5697"},
	} {
		if got := code(client.Post(option+"/kms", body, nil)); got != http.StatusBadRequest {
			t.Errorf("%s: status %d", name, got)
		}
	}
	if got := code(client.Get("/dedicatedCloud/pcc-1-2-3-4/vmEncryption", nil)); got != http.StatusNotFound {
		t.Errorf("an unknown service: %d", got)
	}
	if got := code(client.Post("/dedicatedCloud/"+vspheretest.ServiceName+"/kms", nil, nil)); got != http.StatusNotFound {
		t.Errorf("the path of an old guide: %d", got)
	}
	c.ApplicationSecret = "another"
	if got := code(client.Get("/dedicatedCloud", nil)); got != http.StatusForbidden {
		t.Errorf("a wrong signature: %d", got)
	}
}

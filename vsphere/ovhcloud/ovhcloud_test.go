package ovhcloud_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/vsphere/ovhcloud"
	"github.com/keyreeve/keyreeve/vsphere/vspheretest"
)

// A wire hands requests to a double, without a network: so a test's time is its
// own. before may answer in the double's place.
type wire struct {
	double *vspheretest.OVHcloud
	before func(r *http.Request) (*http.Response, error)
	after  func(r *http.Request) error // the answer is lost
	calls  []string
	bodies []string
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		data, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(strings.NewReader(string(data)))
		w.bodies = append(w.bodies, string(data))
	}
	w.calls = append(w.calls, r.Method+" "+strings.TrimPrefix(r.URL.Path, "/1.0"))
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if w.before != nil {
		if res, err := w.before(r); res != nil || err != nil {
			return res, err
		}
	}
	rec := httptest.NewRecorder()
	in := r.Clone(r.Context())
	in.RequestURI, in.Host = r.URL.RequestURI(), r.URL.Host
	in.TLS = new(tls.ConnectionState)
	w.double.ServeHTTP(rec, in)
	if w.after != nil {
		if err := w.after(r); err != nil {
			return nil, err
		}
	}
	return rec.Result(), nil
}

// count is how many calls began with that.
func (w *wire) count(prefix string) (n int) {
	for _, c := range w.calls {
		if strings.HasPrefix(c, prefix) {
			n++
		}
	}
	return n
}

func answerOf(status int, header, body string) *http.Response {
	h := http.Header{"X-Ovh-Queryid": {"EU.ext-1.test"}}
	if name, value, ok := strings.Cut(header, ": "); ok {
		h.Set(name, value)
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body))}
}

func own(text string) *secret.Bytes { return secret.Own([]byte(text)) }

func keys(double *vspheretest.OVHcloud) ovhcloud.Credentials {
	return ovhcloud.Credentials{ApplicationKey: double.ApplicationKey, ApplicationSecret: own(double.ApplicationSecret), ConsumerKey: own(double.ConsumerKey)}
}

type rig struct {
	*testing.T
	*wire
	client  *ovhcloud.Client
	service *ovhcloud.Service
	metrics *prometheus.Registry
}

// in runs fn in a bubble of time of its own, with a double and its client.
func in(t *testing.T, o vspheretest.OVHcloudOptions, fn func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o.IgnoreThumbprint, o.Seed = true, 7
		if o.TaskTime == 0 {
			o.TaskTime = 20 * time.Second
		}
		w := &wire{double: vspheretest.NewOVHcloud(o)}
		r := &rig{T: t, wire: w, metrics: prometheus.NewRegistry()}
		c, err := ovhcloud.New(ovhcloud.Config{Endpoint: "ovh-eu", Credentials: keys(w.double), Transport: w,
			Jitter: func() float64 { return 0.5 }, Metrics: ovhcloud.NewMetrics(r.metrics)})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		r.client = c
		if r.service, err = c.Service(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		fn(r)
	})
}

var desired = ovhcloud.Desired{Address: newIP, Thumbprint: print1, Description: "keyreeve"}

func (r *rig) reconcile(d ovhcloud.Desired) string {
	r.Helper()
	changed, err := r.service.Reconcile(r.Context(), d, nil)
	if err != nil {
		r.Fatal(err)
	}
	return kinds(ovhcloud.Plan{Steps: changed})
}

func (r *rig) open(ip string) bool { return r.double.Open(ip + ":5696") }

// A change that was ended before it was sent has not been carried out, and the
// error does not say that it may have been.
func TestEndedBeforeItWasSent(t *testing.T) {
	in(t, vspheretest.OVHcloudOptions{}, func(r *rig) {
		state, err := r.service.Observe(r.Context())
		if err != nil {
			r.Fatal(err)
		}
		plan, err := ovhcloud.Diff(state, desired)
		if err != nil {
			r.Fatal(err)
		}
		time.Sleep(2 * time.Hour) // of the bubble: OVHcloud's time is asked for anew
		ctx, cancel := context.WithCancel(r.Context())
		r.before = func(q *http.Request) (*http.Response, error) {
			if strings.HasSuffix(q.URL.Path, "/auth/time") {
				cancel()
				return nil, ctx.Err()
			}
			return nil, nil
		}
		_, err = r.service.Apply(ctx, desired, plan, nil)
		if !errors.Is(err, context.Canceled) || errors.Is(err, ovhcloud.ErrUnknownOutcome) || r.count("POST") > 0 {
			r.Errorf("%d sent: %v", r.count("POST"), err)
		}
	})
}

// A description that is nobody's but OVHcloud's stays as it is, however long it
// is and whatever is in it, when the thumbprint is changed.
func TestDescriptionStays(t *testing.T) {
	in(t, vspheretest.OVHcloudOptions{}, func(r *rig) {
		text := strings.Repeat("x", 400) + "\tend"
		r.reconcile(desired)
		r.before = func(q *http.Request) (*http.Response, error) {
			if q.Method != http.MethodGet || !strings.Contains(q.URL.Path, "/vmEncryption/kms/") {
				return nil, nil
			}
			return answerOf(200, "", fmt.Sprintf(`{"kmsId":1,"kmsTcpPort":5696,"ip":%q,"sslThumbprint":%q,"description":%q,"state":"delivered"}`, newIP, print1, text)), nil
		}
		state, err := r.service.Observe(r.Context())
		if err != nil || strings.Contains(state.Entries[0].Description, "\t") {
			r.Fatalf("%+v %v", state, err)
		}
		plan, err := ovhcloud.Diff(state, ovhcloud.Desired{Address: newIP, Thumbprint: print2})
		if err != nil || kinds(plan) != "change" {
			r.Fatalf("%+v %v", plan, err)
		}
		_, _ = r.service.Apply(r.Context(), ovhcloud.Desired{Address: newIP, Thumbprint: print2}, plan, nil)
		sent := r.bodies[len(r.bodies)-1]
		for _, b := range r.bodies {
			if strings.Contains(b, print2) {
				sent = b
			}
		}
		if !strings.Contains(sent, strings.Repeat("x", 400)+`\tend`) {
			r.Errorf("sent was %s", sent)
		}
	})
}

// The life of an entry: registered, left alone, changed, moved, removed. At no
// moment of the move is neither address open.
func TestLife(t *testing.T) {
	in(t, vspheretest.OVHcloudOptions{}, func(r *rig) {
		var seen []string
		_, err := r.service.Reconcile(r.Context(), desired, func(p ovhcloud.Progress) { seen = append(seen, p.State) })
		if err != nil || !r.open(newIP) || seen[len(seen)-1] != "done" || len(seen) < 2 {
			t.Fatalf("open %v, progress %v, %v", r.open(newIP), seen, err)
		}
		posts := r.count("POST")
		if got := r.reconcile(desired); got != "" || r.count("POST") != posts {
			t.Errorf("a second run changes %q", got)
		}
		next := desired
		next.Thumbprint = print2
		if got := r.reconcile(next); got != "change" {
			t.Errorf("a new thumbprint: %q", got)
		}
		moved := next
		moved.Address, moved.Replaces = oldIP, []string{newIP}
		r.before = func(*http.Request) (*http.Response, error) {
			if !r.open(oldIP) && !r.open(newIP) {
				t.Error("neither address is open")
			}
			return nil, nil
		}
		if got := r.reconcile(moved); got != "register remove" || r.open(newIP) || !r.open(oldIP) {
			t.Errorf("a new address: %q, old open %v", got, r.open(newIP))
		}
		r.before = nil
		removed, err := r.service.Unregister(r.Context(), oldIP, nil)
		if err != nil || len(removed) != 1 || r.open(oldIP) {
			t.Errorf("removed %v, open %v, %v", removed, r.open(oldIP), err)
		}
		if removed, err = r.service.Unregister(r.Context(), oldIP, nil); err != nil || len(removed) != 0 {
			t.Errorf("removing it again: %v %v", removed, err)
		}
		families, err := r.metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "keyreeve_agent_ovhcloud_tasks_total" && (len(f.Metric) != 1 || f.Metric[0].GetCounter().GetValue() != 5) {
				t.Errorf("tasks that were counted: %v", f.Metric)
			}
		}
	})
}

// A task that fails is an error with its number; the next run repairs it.
func TestTaskFails(t *testing.T) {
	in(t, vspheretest.OVHcloudOptions{FailTasks: 1}, func(r *rig) {
		_, err := r.service.Reconcile(r.Context(), desired, nil)
		failed, ok := errors.AsType[*ovhcloud.TaskError](err)
		if !ok || failed.Task.State != "error" || !strings.Contains(err.Error(), fmt.Sprint(failed.Task.ID)) || failed.Hint() == "" {
			t.Fatalf("a failed task: %v", err)
		}
		if r.open(newIP) {
			t.Error("it is open")
		}
		if got := r.reconcile(desired); got != "change" {
			t.Errorf("the next run: %q", got)
		}
	})
}

// When the new address cannot be had, the old one stays.
func TestMoveFails(t *testing.T) {
	in(t, vspheretest.OVHcloudOptions{}, func(r *rig) {
		r.reconcile(ovhcloud.Desired{Address: oldIP, Thumbprint: print1})
		moved := desired
		moved.Replaces = []string{oldIP}
		state, err := r.service.Observe(r.Context())
		if err != nil {
			t.Fatal(err)
		}
		plan, err := ovhcloud.Diff(state, moved)
		if err != nil || kinds(plan) != "register remove" {
			t.Fatalf("plan %q %v", kinds(plan), err)
		}
		plan.Steps = plan.Steps[1:] // as if the registration were skipped
		if _, err := r.service.Apply(r.Context(), moved, plan, nil); err == nil || !strings.Contains(err.Error(), "the old entry stays") {
			t.Errorf("the old entry was removed before the new one is there: %v", err)
		}
		if !r.open(oldIP) {
			t.Error("the old address is closed")
		}
	})
}

// A run that is killed while a task goes on: the next one waits for that task
// and begins no second one. So does one that finds a removal.
func TestKilledInTheMiddle(t *testing.T) {
	in(t, vspheretest.OVHcloudOptions{}, func(r *rig) {
		ctx, cancel := context.WithCancel(r.Context())
		_, err := r.service.Reconcile(ctx, desired, func(ovhcloud.Progress) { cancel() })
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("a cancelled run: %v", err)
		}
		posts := r.count("POST")
		if got := r.reconcile(desired); got != "" || r.count("POST") != posts || !r.open(newIP) {
			t.Errorf("the next run changed %q", got)
		}
		ctx, cancel = context.WithCancel(r.Context())
		if _, err := r.service.Unregister(ctx, newIP, func(ovhcloud.Progress) { cancel() }); !errors.Is(err, context.Canceled) {
			t.Fatalf("a cancelled removal: %v", err)
		}
		if got := r.reconcile(desired); got != "register" || !r.open(newIP) {
			t.Errorf("after a removal that was under way: %q", got)
		}
	})
}

// A removal that was broken off is waited for, and not asked for twice.
func TestRemovalUnderWay(t *testing.T) {
	in(t, vspheretest.OVHcloudOptions{}, func(r *rig) {
		r.reconcile(desired)
		ctx, cancel := context.WithCancel(r.Context())
		if _, err := r.service.Unregister(ctx, newIP, func(ovhcloud.Progress) { cancel() }); !errors.Is(err, context.Canceled) {
			t.Fatalf("a cancelled removal: %v", err)
		}
		deletes := r.count("DELETE")
		removed, err := r.service.Unregister(r.Context(), newIP, nil)
		if err != nil || len(removed) != 1 || r.count("DELETE") != deletes {
			t.Errorf("%v, %+v, %d more removals", err, removed, r.count("DELETE")-deletes)
		}
		if s, err := r.service.Observe(r.Context()); err != nil || len(s.Entries) != 0 || r.open(newIP) {
			t.Errorf("%v, it returned while there is %+v", err, s.Entries)
		}
	})
}

// An answer that is lost is not asked for twice: the entry is looked for.
func TestLostAnswer(t *testing.T) {
	in(t, vspheretest.OVHcloudOptions{}, func(r *rig) {
		r.after = func(req *http.Request) error {
			if req.Method != http.MethodPost {
				return nil
			}
			r.after = nil
			return errors.New("connection reset by peer")
		}
		if got := r.reconcile(desired); got != "" || r.count("POST") != 1 || !r.open(newIP) {
			t.Errorf("changed %q with %d posts, open %v", got, r.count("POST"), r.open(newIP))
		}
		r.after = func(*http.Request) error { return errors.New("connection reset by peer") }
		err := errors.Join(r.reconcileErr(ovhcloud.Desired{Address: newIP, Thumbprint: print2}))
		if err == nil || !strings.Contains(err.Error(), "tried 5 times") {
			t.Errorf("a network that is gone: %v", err)
		}
	})
}

func (r *rig) reconcileErr(d ovhcloud.Desired) error {
	_, err := r.service.Reconcile(r.Context(), d, nil)
	return err
}

// Too many calls, an API that is down and lost answers are tried again, after
// what OVHcloud asks for or longer and longer waits; what was refused is not.
func TestRetry(t *testing.T) {
	in(t, vspheretest.OVHcloudOptions{}, func(r *rig) {
		for _, row := range []struct {
			name   string
			status int // 0: no answer at all
			header string
			waits  time.Duration // for two failures
			tries  int
		}{
			{"too many calls", 429, "", 2250 * time.Millisecond, 3},
			{"too many calls, with a time", 429, "Retry-After: 7", 14 * time.Second, 3},
			{"a time that is absurd", 429, "Retry-After: 99999999", 4 * time.Minute, 3},
			{"down", 503, "", 2250 * time.Millisecond, 3},
			{"no answer", 0, "", 2250 * time.Millisecond, 3},
			{"refused", 403, "", 0, 1},
			{"gone", 404, "", 0, 1},
		} {
			left := 2
			r.before = func(*http.Request) (*http.Response, error) {
				if left--; left < 0 {
					return nil, nil
				}
				if row.status == 0 {
					return nil, errors.New("connection reset by peer")
				}
				return answerOf(row.status, row.header, `{"class":"Client::X","message":"no"}`), nil
			}
			r.calls = nil
			began := time.Now()
			_, err := r.client.Services(r.Context())
			if (err == nil) != (row.tries == 3) || r.count("GET /dedicatedCloud") != row.tries {
				t.Errorf("%s: %d tries, %v", row.name, r.count("GET /dedicatedCloud"), err)
			}
			if waited := time.Since(began); waited != row.waits {
				t.Errorf("%s: waited %s, want %s", row.name, waited, row.waits)
			}
		}
	})
}

// A POST is not repeated when it may have been carried out, and is when it
// cannot have been.
func TestPostIsNotRepeated(t *testing.T) {
	for _, row := range []struct {
		status int
		posts  int
		unsure bool
	}{{503, 1, true}, {500, 1, true}, {429, 5, false}, {400, 1, false}} {
		in(t, vspheretest.OVHcloudOptions{}, func(r *rig) {
			state, err := r.service.Observe(r.Context())
			if err != nil {
				t.Fatal(err)
			}
			plan, err := ovhcloud.Diff(state, desired)
			if err != nil {
				t.Fatal(err)
			}
			r.before = func(req *http.Request) (*http.Response, error) {
				if req.Method == http.MethodPost {
					return answerOf(row.status, "", `{"class":"Server::X","message":"no"}`), nil
				}
				return nil, nil
			}
			_, err = r.service.Apply(r.Context(), desired, plan, nil)
			if err == nil || errors.Is(err, ovhcloud.ErrUnknownOutcome) != row.unsure || r.count("POST") != row.posts {
				t.Errorf("%d: %d posts, %v", row.status, r.count("POST"), err)
			}
		})
	}
}

// Errors say what was tried, OVHcloud's class and query id, and what to do;
// what OVHcloud writes cannot forge lines.
func TestErrors(t *testing.T) {
	in(t, vspheretest.OVHcloudOptions{}, func(r *rig) {
		for _, row := range []struct {
			status     int
			body, hint string
		}{
			{403, `{"class":"Client::Forbidden","message":"no\n\u001b[31mforged","details":{"unauthorizedActionsByIAM":"pccVMware:apiovh:get"}}`, "IAM policy"},
			{403, `{"class":"Client::Forbidden","message":"This call has not been granted"}`, "vmEncryption"},
			{403, `{"class":"Client::Forbidden","message":"This credential does not exist"}`, "consumer key"},
			{400, `{"class":"Client::BadRequest","message":"Invalid timestamp"}`, "clock"},
			{401, `{"class":"Client::Unauthorized","message":"no"}`, "access token"},
			{404, `{"class":"Client::NotFound","message":"no"}`, "pcc-"},
			{409, `{"class":"Client::Conflict","message":"no"}`, "in a minute"},
			{500, `<html>oops</html>`, "support"},
		} {
			r.before = func(*http.Request) (*http.Response, error) { return answerOf(row.status, "", row.body), nil }
			_, err := r.service.Observe(r.Context())
			e, ok := errors.AsType[*ovhcloud.Error](err)
			if !ok || e.Status != row.status || e.QueryID != "EU.ext-1.test" || !strings.Contains(e.Hint, row.hint) {
				t.Errorf("%s: %v, hint %q", row.body, err, e.Hint)
				continue
			}
			if text := err.Error(); !strings.Contains(text, "EU.ext-1.test") || !strings.Contains(text, "state of VM encryption") || strings.ContainsAny(text, "\n\x1b") {
				t.Errorf("%s: %q", row.body, text)
			}
		}
	})
}

// While OVHcloud's people are at a task, it is asked for once a minute; one
// that does not end is left to them, with its number.
func TestFixingAndTimeout(t *testing.T) {
	in(t, vspheretest.OVHcloudOptions{TaskTime: time.Hour}, func(r *rig) {
		r.before = func(req *http.Request) (*http.Response, error) {
			if strings.Contains(req.URL.Path, "/task/") {
				return answerOf(200, "", `{"taskId":9,"name":"addKms","state":"fixing","progress":40}`), nil
			}
			return nil, nil
		}
		slow := false
		began := time.Now()
		_, err := r.service.Reconcile(r.Context(), desired, func(p ovhcloud.Progress) { slow = p.Slow })
		if err == nil || !strings.Contains(err.Error(), "did not end in 30m0s") || !strings.Contains(err.Error(), `"fixing" at 40%`) {
			t.Errorf("a task that does not end: %v", err)
		}
		if n := r.count("GET /dedicatedCloud/" + vspheretest.ServiceName + "/task/"); !slow || n < 30 || n > 31 || time.Since(began) != 30*time.Minute {
			t.Errorf("asked %d times in %s, slow %v", n, time.Since(began), slow)
		}
	})
}

// A call to an API that hangs ends with its context, the hidden one for
// OVHcloud's time among them.
func TestHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{double: vspheretest.NewOVHcloud(vspheretest.OVHcloudOptions{})}
		w.before = func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() }
		c, err := ovhcloud.New(ovhcloud.Config{Endpoint: "ovh-eu", Credentials: keys(w.double), Transport: w})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		began := time.Now()
		if _, err := c.Services(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 5*time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		if w.count("GET /auth/time") != 1 {
			t.Errorf("calls %v", w.calls)
		}
	})
}

// What the option does to its entries is waited for; what it says nothing
// about is left to a person.
func TestBlocked(t *testing.T) {
	in(t, vspheretest.OVHcloudOptions{}, func(r *rig) {
		state := "migrating"
		r.before = func(req *http.Request) (*http.Response, error) {
			if strings.HasSuffix(req.URL.Path, "/vmEncryption") {
				return answerOf(200, "", `{"state":"`+state+`"}`), nil
			}
			return nil, nil
		}
		_, err := r.service.Reconcile(r.Context(), desired, func(ovhcloud.Progress) { state = "error" })
		if !errors.Is(err, ovhcloud.ErrBlocked) || r.count("POST") != 0 {
			t.Errorf("an option in error: %v", err)
		}
	})
}

// The user's right is checked by the name that one logs in with.
func TestEncryptionRight(t *testing.T) {
	for _, missing := range []bool{false, true} {
		in(t, vspheretest.OVHcloudOptions{NoEncryptionRight: missing}, func(r *rig) {
			for _, login := range []string{"admin", "Admin@pcc-192-0-2-1.ovh.com", `PCC\admin`} {
				err := r.service.EncryptionRight(r.Context(), login)
				if errors.Is(err, ovhcloud.ErrNoEncryptionRight) != missing || !missing && err != nil {
					t.Errorf("%s: %v", login, err)
				}
			}
			if err := r.service.EncryptionRight(r.Context(), "nobody"); !errors.Is(err, ovhcloud.ErrRightUnknown) || !strings.Contains(err.Error(), "admin") {
				t.Errorf("an unknown user: %v", err)
			}
			r.double.AddUser("keyreeve-agent")
			if err := r.service.EncryptionRight(r.Context(), "keyreeve-agent@x"); errors.Is(err, ovhcloud.ErrNoEncryptionRight) != missing || missing && !strings.Contains(err.Error(), "user keyreeve-agent (1002)") {
				t.Errorf("a second user: %v", err)
			}
		})
	}
	in(t, vspheretest.OVHcloudOptions{HideUsers: true, NoEncryptionRight: true}, func(r *rig) {
		if err := r.service.EncryptionRight(r.Context(), "admin"); !errors.Is(err, ovhcloud.ErrRightUnknown) || errors.Is(err, ovhcloud.ErrNoEncryptionRight) {
			t.Errorf("users that are not to be read: %v", err)
		}
	})
	in(t, vspheretest.OVHcloudOptions{}, func(r *rig) {
		r.before = func(*http.Request) (*http.Response, error) { return answerOf(500, "", `{"message":"boom"}`), nil }
		if err := r.service.EncryptionRight(r.Context(), "admin"); err == nil || errors.Is(err, ovhcloud.ErrRightUnknown) {
			t.Errorf("OVHcloud's own problem: %v", err)
		}
	})
}

// Of several services one has to be named.
func TestService(t *testing.T) {
	in(t, vspheretest.OVHcloudOptions{}, func(r *rig) {
		if s, err := r.client.Service(r.Context(), vspheretest.ServiceName); err != nil || s.Name != vspheretest.ServiceName {
			t.Error(s, err)
		}
		for _, tc := range []struct{ names, asked, says string }{
			{`[]`, "", "no Hosted Private Cloud"},
			{`["pcc-2","pcc-1"]`, "", "pcc-1, pcc-2"},
			{`["pcc-2","pcc-1"]`, "pcc-3", "pcc-2"},
		} {
			r.before = func(*http.Request) (*http.Response, error) { return answerOf(200, "", tc.names), nil }
			if _, err := r.client.Service(r.Context(), tc.asked); err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%q among %s: %v", tc.asked, tc.names, err)
			}
		}
	})
}

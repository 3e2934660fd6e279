// Package kmipbench puts load on a KMIP server and measures it: rates, times,
// and beside them the same client against a TLS server that answers without
// looking, since numbers of a machine mean little without what it can do at all.
//
// It is a package of its own so that a stranger can check our numbers with the
// program that he already has. It makes keys on a server that may be in use: so
// it wants a group without any, remembers each that it makes, and destroys them
// at the end, also of a run that was broken off. Nothing here sees a key of
// anybody else; the keys that it gets are cleared.
package kmipbench

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/keyreeve/keyreeve/kmip/kmipclient"
)

// Config says what is measured.
type Config struct {
	Addr        string
	TLS         *tls.Config   // of a client whose group holds no keys
	Operations  []string      // of Operations
	Connections []int         // each operation is run with each number of them
	Warmup      time.Duration // before each measurement
	Duration    time.Duration // of each measurement
	// CPU returns how much processor time the server has used. nil: not known.
	CPU func() (time.Duration, error)
	// Echo runs Get also against a server in this process that answers without
	// looking, for comparison; only fair where the real one is on this machine.
	Echo bool
	// Report is called after each measurement, if not nil.
	Report func(Result)
}

// A Result is one measurement.
type Result struct {
	Operation   string        `json:"operation"`
	Connections int           `json:"connections"`
	Count       int           `json:"count"`
	PerSecond   float64       `json:"per_second"`
	P50         time.Duration `json:"p50_ns"`
	P95         time.Duration `json:"p95_ns"`
	P99         time.Duration `json:"p99_ns"`
	Max         time.Duration `json:"max_ns"`
	CPU         time.Duration `json:"server_cpu_ns,omitempty"` // of the server, an operation
	OfEcho      float64       `json:"of_echo,omitempty"`       // rate, as part of the echo server's with as many connections
}

// Echo is the Operation of the measurements without a server behind them.
const Echo = "echo"

// Operations are what can be measured.
var Operations = []string{"handshake", "get", "getattrs", "locate", "create", "vcenter"}

// ErrNotEmpty says that the client's group holds keys.
var ErrNotEmpty = errors.New("the client's group holds keys already")

// Run measures, and returns what it has measured and how many keys it made and
// destroyed again. Any request that fails ends it.
func Run(ctx context.Context, cfg Config) (results []Result, keys int, err error) {
	r := &run{cfg: cfg}
	if err := r.emptyGroup(ctx); err != nil {
		return nil, 0, err
	}
	defer func() {
		// What was made goes, whatever has happened.
		keys = len(r.made)
		err = errors.Join(err, r.destroyAll(context.WithoutCancel(ctx)))
	}()
	if err := r.prepare(ctx); err != nil {
		return nil, 0, fmt.Errorf("preparing: %w", err)
	}
	echoed := map[int]float64{}
	if cfg.Echo {
		if err := r.runEcho(ctx, &results, echoed); err != nil {
			return results, 0, fmt.Errorf("measuring the echo server: %w", err)
		}
	}
	for _, op := range cfg.Operations {
		for _, n := range cfg.Connections {
			res, err := r.measure(ctx, op, n, works[op], r.cfg.CPU)
			if err != nil {
				return results, 0, fmt.Errorf("measuring %s with %d connections: %w", op, n, err)
			}
			if base := echoed[n]; base > 0 && op != "handshake" && op != "vcenter" { // those open connections, which echo does not
				res.OfEcho = res.PerSecond / base
			}
			r.report(&results, res)
		}
	}
	return results, 0, nil
}

func (r *run) report(results *[]Result, res Result) {
	*results = append(*results, res)
	if r.cfg.Report != nil {
		r.cfg.Report(res)
	}
}

// A run is one call of Run.
type run struct {
	cfg  Config
	uids []string // of the keys that are read

	mu   sync.Mutex
	made []string
}

// keysRead is how many keys Get and Locate choose from.
const keysRead = 100

func (r *run) dial(ctx context.Context) (*kmipclient.Client, error) {
	return kmipclient.Dial(ctx, r.cfg.Addr, kmipclient.Config{TLS: r.cfg.TLS, Version: version})
}

// measure runs work on n connections, first for the warm-up and then counted.
func (r *run) measure(ctx context.Context, op string, n int, work worker, cpu func() (time.Duration, error)) (Result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	start := time.Now().Add(r.cfg.Warmup)
	end := start.Add(r.cfg.Duration)
	times, errs := make([][]time.Duration, n), make([]error, n)
	before := make(chan time.Duration, 1)
	go func() { before <- usedAt(ctx, start, cpu) }()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if times[i], errs[i] = r.work(ctx, work, i, start, end); errs[i] != nil {
				cancel()
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	after := usedAt(ctx, time.Time{}, cpu)
	if err := errors.Join(errs...); err != nil {
		return Result{}, err
	}
	return summarise(op, n, slices.Concat(times...), took, after-<-before), nil
}

// usedAt asks for the server's processor time at that moment.
func usedAt(ctx context.Context, at time.Time, cpu func() (time.Duration, error)) time.Duration {
	if cpu == nil {
		return 0
	}
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	used, err := cpu()
	if err != nil {
		return 0 // the server may have gone: the requests tell
	}
	return used
}

// work calls one worker until the end, and returns the times of what began
// after the start: at least one, however slow it is.
func (r *run) work(ctx context.Context, work worker, i int, start, end time.Time) (times []time.Duration, err error) {
	w := &hand{run: r, number: i}
	defer w.close()
	for {
		began := time.Now()
		if !began.Before(end) && len(times) > 0 {
			return times, nil
		}
		if err := work(ctx, w); err != nil {
			return nil, err
		}
		if !began.Before(start) {
			times = append(times, time.Since(began))
		}
	}
}

func summarise(op string, n int, times []time.Duration, took, cpu time.Duration) Result {
	res := Result{Operation: op, Connections: n, Count: len(times), PerSecond: float64(len(times)) / took.Seconds()}
	if len(times) == 0 {
		return res
	}
	slices.Sort(times)
	at := func(part float64) time.Duration { return times[min(len(times)-1, int(part*float64(len(times))))] }
	res.P50, res.P95, res.P99, res.Max = at(0.5), at(0.95), at(0.99), times[len(times)-1]
	if cpu > 0 {
		res.CPU = cpu / time.Duration(len(times))
	}
	return res
}

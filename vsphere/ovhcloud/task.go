package ovhcloud

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/keyreeve/keyreeve/internal/ctxtime"
)

// Polling: quick at first, since a task that opens a firewall may take seconds,
// then slowly. While people of OVHcloud's work on it, once a minute.
const (
	firstPoll = time.Second
	slowPoll  = 15 * time.Second
	fixPoll   = time.Minute
)

// A Task is one of OVHcloud's.
type Task struct {
	ID          int64  `json:"taskId"`
	Name        string `json:"name"`
	State       string `json:"state"` // todo, doing, fixing, done, canceled, error, …
	Progress    int64  `json:"progress"`
	Description string `json:"description"`
}

// ended tells that the task's state is a last one.
func (t Task) ended() bool { return t.State == "done" || t.State == "canceled" || t.State == "error" }

// Progress is how far something is that is waited for.
type Progress struct {
	Step    Step
	Task    Task // its ID is 0 while an entry or the option is waited for
	State   string
	Percent int64
	Slow    bool // people of OVHcloud's are on it
}

// Follow asks for a task until it has ended. An end that is not done is a
// *TaskError. A task that outlasts Config.TaskTimeout goes on at OVHcloud, and
// the next run waits for what it does.
func (s *Service) Follow(ctx context.Context, do string, t Task, progress func(Task)) error {
	c := s.client
	began := c.cfg.Now()
	err := s.poll(ctx, func(ctx context.Context) (done, slow bool, err error) {
		if !t.ended() {
			id := t.ID
			if err := c.call(ctx, do, http.MethodGet, s.path("/task/%d", id), nil, &t); err != nil {
				return false, false, err
			}
			t.ID = id
		}
		t.Name, t.State, t.Description = clean(t.Name), clean(t.State), clean(t.Description)
		if progress != nil {
			progress(t)
		}
		return t.ended(), t.State == "fixing", nil
	})
	state := t.State
	if err != nil {
		state = "lost"
		err = fmt.Errorf("%s: following OVHcloud's task %d, last seen as %q at %d%%: %w", do, t.ID, t.State, t.Progress, err)
	} else if t.State != "done" {
		err = &TaskError{Task: t, Do: do}
	}
	c.cfg.Metrics.task(state, c.cfg.Now().Sub(began).Seconds())
	return err
}

// poll calls look until it says done.
func (s *Service) poll(ctx context.Context, look func(ctx context.Context) (done, slow bool, err error)) error {
	limit := s.client.cfg.TaskTimeout
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it did not end in %s: it goes on at OVHcloud; run this again, which waits for it", limit))
	defer cancel()
	wait := firstPoll
	for {
		done, slow, err := look(ctx)
		if err != nil || done {
			return err
		}
		pause := wait
		if slow {
			pause = fixPoll
		}
		if err := ctxtime.Sleep(ctx, pause); err != nil {
			return err
		}
		wait = min(slowPoll, wait*3/2)
	}
}

package backup_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyreeve/keyreeve/internal/durable"
	"github.com/keyreeve/keyreeve/internal/logbuf"
	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/keystore/backup"
	kt "github.com/keyreeve/keyreeve/keystore/keystoretest"
)

// timed is a world that lives by the clock of a bubble of synctest.
func timed(t *testing.T, log *logbuf.Buffer) (w *world, s *backup.Schedule) {
	t.Helper()
	w = newWorld(t)
	w.config.Now = func() time.Time {
		w.Clock.Add(time.Now().Unix() - w.Clock.Unix())
		return time.Now()
	}
	w.config.Now()
	return w, &backup.Schedule{
		Maker: w.maker(t), Every: 24 * time.Hour, Dir: w.dir, Recipients: w.request(t, "").Recipients,
		KeepDaily: 3, KeepWeekly: 2, Logger: slog.New(slog.NewTextHandler(log, nil)),
	}
}

func TestSchedule(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var log logbuf.Buffer
		w, s := timed(t, &log)
		w.dir, s.Dir = dir, dir
		must(t, os.WriteFile(filepath.Join(dir, "a file of somebody's"), nil, 0o600))
		must(t, os.WriteFile(filepath.Join(dir, "."+s.Maker.FileName(time.Now())+".keyreeve-tmp-0123"), nil, 0o600))
		ctx, cancel := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() { s.Run(ctx); close(done) }()
		time.Sleep(59 * time.Second)
		if names := leftovers(t, dir); len(names) != 1 {
			t.Errorf("before it is due: %v", names)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if names := leftovers(t, dir); len(names) != 2 {
			t.Errorf("when it was due: %v\n%s", names, log.String())
		}
		byHand, err := s.Maker.Create(ctx, w.request(t, "by-hand.age"))
		must(t, err)
		time.Sleep(31 * 26 * time.Hour)
		cancel()
		<-done
		all, err := backup.List(context.Background(), w.Store)
		must(t, err)
		want := []string{filepath.Base(byHand.Path), "a file of somebody's"}
		for _, m := range all {
			if m.Scheduled {
				want = append(want, filepath.Base(m.Path))
			}
		}
		got := leftovers(t, dir)
		slices.Sort(want)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("what is there and what is written down (-want +got):\n%s", diff)
		}
		if scheduled := len(all) - 1; scheduled < 4 || scheduled > 6 {
			t.Errorf("%d backups are kept, want 3 daily and 1 or 2 weekly, and those of the last day", scheduled)
		}
		if strings.Contains(log.String(), "level=WARN") || strings.Contains(log.String(), "level=ERROR") {
			t.Errorf("logged:\n%s", log.String())
		}
	})
}

// A restart neither puts a backup off nor makes one more.
func TestScheduleAfterRestart(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var log logbuf.Buffer
		_, s := timed(t, &log)
		s.Dir = dir
		count := func(sleep time.Duration) int {
			ctx, cancel := context.WithCancel(ctx)
			done := make(chan struct{})
			go func() { s.Run(ctx); close(done) }()
			time.Sleep(sleep)
			synctest.Wait()
			cancel()
			<-done
			return len(leftovers(t, dir))
		}
		for i, step := range []struct {
			runs time.Duration
			want int
		}{{2 * time.Minute, 1}, {20 * time.Hour, 1}, {5 * time.Hour, 2}} {
			if got := count(step.runs); got != step.want {
				t.Errorf("run %d: %d backups, want %d", i, got, step.want)
			}
		}
	})
}

// A backup that was made while the clock was years ahead neither ends the
// schedule nor quiets the server, whose clock is right again.
func TestClockThatWasAhead(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var log logbuf.Buffer
		w, s := timed(t, &log)
		s.Dir, w.dir = dir, dir
		right := w.config.Now
		w.config.Now = func() time.Time { return right().Add(10 * 365 * 24 * time.Hour) }
		request := w.request(t, "ahead.age")
		request.Scheduled = true
		_, err := w.maker(t).Create(ctx, request)
		must(t, err)
		w.config.Now = right
		w.key(t, "made since")
		s.Maker = w.maker(t)
		if p := s.Maker.Standing().Problem(right(), backup.Patience(s.Every)); !strings.Contains(p, "keys were made since") {
			t.Errorf("problem %q", p)
		}
		ctx, cancel := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() { s.Run(ctx); close(done) }()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		cancel()
		<-done
		if names := leftovers(t, dir); len(names) != 2 {
			t.Errorf("%v\n%s", names, log.String())
		}
		if s := w.maker(t).Standing(); s.NewerKeys || s.Last.Path == request.Path {
			t.Errorf("after a restart the last backup is %+v", s.Last)
		}
	})
}

// A failure is an error in the log, and the next attempt comes soon.
func TestScheduleFails(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var log logbuf.Buffer
		w, s := timed(t, &log)
		bad := &trouble{FS: durable.OS, err: errors.New("the tape is torn")}
		w.config.FS = bad
		s.Maker, s.Dir = w.maker(t), dir
		ctx, cancel := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() { s.Run(ctx); close(done) }()
		time.Sleep(90 * time.Second)
		synctest.Wait()
		if !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), "the tape is torn") {
			t.Errorf("logged:\n%s", log.String())
		}
		bad.heal()
		time.Sleep(time.Hour)
		synctest.Wait()
		cancel()
		<-done
		if names := leftovers(t, dir); len(names) != 1 {
			t.Errorf("an hour later: %v\n%s", names, log.String())
		}
	})
}

// Whoever puts another file in the place of an old backup does not lose it.
func TestScheduleRemovesOnlyItsOwn(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var log logbuf.Buffer
		w, s := timed(t, &log)
		s.Dir, s.KeepWeekly, s.KeepDaily = dir, 0, 1
		ctx, cancel := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() { s.Run(ctx); close(done) }()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		all, err := backup.List(ctx, w.Store)
		must(t, err)
		must(t, os.WriteFile(all[0].Path, []byte("precious"), 0o600))
		time.Sleep(60 * time.Hour)
		cancel()
		<-done
		if b, err := os.ReadFile(all[0].Path); string(b) != "precious" {
			t.Errorf("it is %q now, %v", b, err)
		}
		if !strings.Contains(log.String(), "not the file that was made") {
			t.Errorf("logged:\n%s", log.String())
		}
	})
}

func TestStanding(t *testing.T) {
	w := newWorld(t)
	m := w.maker(t)
	now := func() time.Time { return time.Unix(w.Clock.Unix(), 0) }
	problem := func(want string) {
		t.Helper()
		if got := m.Standing().Problem(now(), backup.Patience(0)); !strings.Contains(got, want) || (want == "") != (got == "") {
			t.Errorf("problem %q, want %q", got, want)
		}
	}
	problem("no verified backup")
	_, err := m.Create(ctx, w.request(t, "one.age"))
	must(t, err)
	problem("")
	w.Clock.Add(100 * 24 * 3600)
	problem("") // old, and nothing is missing in it
	w.key(t, "made since")
	problem("keys were made since")
	if m = w.maker(t); !m.Standing().NewerKeys {
		t.Error("after a restart it is forgotten")
	}
	_, err = m.Create(ctx, w.request(t, "two.age"))
	must(t, err)
	w.key(t, "made just now")
	problem("")
	if s := m.Standing(); !s.NewerKeys || s.Last.Path != filepath.Join(w.dir, "two.age") {
		t.Errorf("standing %+v", s)
	}
	_, err = m.Create(ctx, w.request(t, "absent/three.age"))
	if s := m.Standing(); err == nil || s.Failed == nil || s.Last.Path != filepath.Join(w.dir, "two.age") {
		t.Errorf("standing after a failure %+v, %v", s, err)
	}
	if m.Standing().Last.NewestKey.IsZero() {
		t.Error("the newest key has no date")
	}
}

func TestNag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logbuf.Buffer
		w, s := timed(t, &log)
		ctx, cancel := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() { s.Maker.Nag(ctx, backup.Patience(0), s.Logger); close(done) }()
		for _, step := range []struct {
			sleep time.Duration
			want  int
		}{{time.Second, 1}, {20 * time.Hour, 1}, {5 * time.Hour, 2}, {72 * time.Hour, 5}} {
			time.Sleep(step.sleep)
			synctest.Wait()
			if got := strings.Count(log.String(), "level=WARN"); got != step.want {
				t.Errorf("nagged %d times, want %d", got, step.want)
			}
		}
		_, err := s.Maker.Create(ctx, w.request(t, "one.age"))
		must(t, err)
		log.Reset()
		time.Sleep(100 * time.Hour)
		synctest.Wait()
		cancel()
		<-done
		if log.String() != "" {
			t.Errorf("nagged all the same: %s", log.String())
		}
	})
}

// The store does not fill up with the records of backups.
func TestRecordsAreBounded(t *testing.T) {
	w := newWorld(t)
	for i := range 520 {
		m := backup.Made{ID: fmt.Sprintf("%04d", i), Created: time.Unix(int64(i), 0).UTC()}
		must(t, backup.Note(ctx, w.Store, kt.Admin, m, "a test"))
	}
	all, err := backup.List(ctx, w.Store)
	if err != nil || len(all) != 500 || all[0].ID != "0519" || all[499].ID != "0020" {
		t.Errorf("%d are kept, %v", len(all), err)
	}
	if stamp := keystore.StampTime(0); !stamp.IsZero() {
		t.Errorf("a store without keys has a newest key of %v", stamp)
	}
}

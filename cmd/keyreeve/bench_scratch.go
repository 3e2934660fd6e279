package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A scratch is a server of its own in a new folder, for measuring.
type scratch struct {
	program, dir, addr string

	cmd  *exec.Cmd
	log  bytes.Buffer
	dead chan struct{} // closed when the server has ended
}

func (s *scratch) data() string   { return filepath.Join(s.dir, "data") }
func (s *scratch) bundle() string { return filepath.Join(s.dir, "bundle") }

// command is our own program on the scratch folder, with no setting from outside.
func (s *scratch) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.program, append(args, "--data", s.data())...)
	for _, pair := range os.Environ() {
		if !strings.HasPrefix(pair, "KEYREEVE_") && !strings.HasPrefix(pair, "NOTIFY_SOCKET=") {
			cmd.Env = append(cmd.Env, pair)
		}
	}
	return cmd
}

func (s *scratch) run(ctx context.Context, args ...string) error {
	if out, err := s.command(ctx, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("keyreeve %s: %w\n%s", args[0], err, out)
	}
	return nil
}

// startTime is how long a server with an empty store may take to serve.
const startTime = 30 * time.Second

func (s *scratch) serve(ctx context.Context) error {
	ready := filepath.Join(s.dir, "ready")
	s.cmd = s.command(context.WithoutCancel(ctx), "server", "--dev", "--listen", "127.0.0.1:0", "--metrics-listen", "off", "--ready-file", ready)
	s.cmd.Stderr = &s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for us: we destroy first
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.dead = make(chan struct{})
	go func() { _ = s.cmd.Wait(); close(s.dead) }()
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if text, err := os.ReadFile(ready); err == nil && bytes.HasSuffix(text, []byte("\n")) {
				s.addr = strings.TrimSpace(string(text))
				return nil
			}
		case <-s.dead:
			return fmt.Errorf("the server ended:\n%s", &s.log)
		case <-ctx.Done():
			return errors.New("the server does not serve")
		}
	}
}

// remove ends the server and removes the folder with all that is in it.
func (s *scratch) remove() error {
	if s.dead != nil {
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-s.dead:
		case <-time.After(startTime):
			_ = s.cmd.Process.Kill()
			<-s.dead
		}
	}
	return os.RemoveAll(s.dir)
}

// ticks is the unit of processor times in /proc: USER_HZ, which is 100 on every
// Linux that programs see.
const ticks = time.Second / 100

// processorTime is what a process has used, in user and kernel mode.
func processorTime(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(stat), ") ") // the name before may hold spaces
	fields := strings.Fields(after)
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat has another form than known", pid)
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * ticks, errors.Join(err, err2)
}

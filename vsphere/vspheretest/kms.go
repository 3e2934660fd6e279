package vspheretest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/internal/logbuf"
)

// A KMS is a keyreeve server in a process of its own, with a store in a
// folder: the program that users run, not a part of it. Its methods may be
// called from several goroutines.
type KMS struct {
	Admin *admin.Client // over its socket
	Data  string
	Env   []string // added to the environment of what is started from now on; set it while nothing is

	binary, addr string

	mu      sync.Mutex
	process *exec.Cmd
	ended   chan struct{}
	log     *logbuf.Buffer
}

// startTimeout bounds how long a server may take until it serves; stopTimeout
// until it has ended.
const startTimeout = 30 * time.Second

var stopTimeout = 30 * time.Second // tests have less patience

// NewKMS makes a store in dir/kms for a server at the address, and starts it.
// binary is the keyreeve program.
func NewKMS(ctx context.Context, binary, dir, addr string) (*KMS, error) {
	k := &KMS{binary: binary, addr: addr, Data: filepath.Join(dir, "kms"), log: new(logbuf.Buffer)}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if out, err := k.command(ctx, "init", "--host", host).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("keyreeve init: %w: %s", err, bytes.TrimSpace(out))
	}
	k.Admin = admin.NewClient(filepath.Join(k.Data, "admin.sock"))
	if err := k.prepareBackups(ctx, dir); err != nil {
		return nil, err
	}
	return k, k.Start(ctx)
}

// prepareBackups gives the server a folder for backups and somebody who can
// open them; nothing makes one unasked.
func (k *KMS) prepareBackups(ctx context.Context, dir string) error {
	recipient, err := k.Run(ctx, "backup", "keygen", "--out", filepath.Join(dir, "backup.identity"))
	if err != nil {
		return err
	}
	folder := filepath.Join(dir, "backups")
	if err := os.Mkdir(folder, 0o700); err != nil {
		return err
	}
	k.Env = append(k.Env, "KEYREEVE_BACKUP_DIR="+folder, "KEYREEVE_BACKUP_RECIPIENTS="+strings.TrimSpace(recipient))
	return nil
}

// command is a call of the program on this store. A lab's store may lie in a
// temporary folder: it is thrown away.
func (k *KMS) command(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, k.binary, args...)
	c.Env = append(os.Environ(), "KEYREEVE_DATA="+k.Data, "KEYREEVE_DEV=true", "KEYREEVE_METRICS_LISTEN=off")
	c.Env = append(c.Env, k.Env...)
	return c
}

// Run runs a command of the program on this store, such as key list, and
// returns what it printed.
func (k *KMS) Run(ctx context.Context, args ...string) (string, error) {
	var out, problems bytes.Buffer
	c := k.command(ctx, args...)
	c.Stdout, c.Stderr = &out, &problems
	if err := c.Run(); err != nil {
		return out.String(), fmt.Errorf("keyreeve %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(problems.Bytes()))
	}
	return out.String(), nil
}

// Addr is host and port of the server.
func (k *KMS) Addr() string { return k.addr }

// Log is what the server has logged so far, over all its starts.
func (k *KMS) Log() string { return k.log.String() }

// Start starts the server, and returns once it serves.
func (k *KMS) Start(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.process != nil {
		return errors.New("the key server runs already")
	}
	ready := filepath.Join(filepath.Dir(k.Data), "ready")
	if err := os.Remove(ready); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	c := k.command(context.WithoutCancel(ctx), "server", "--listen", k.addr, "--ready-file", ready)
	c.Stdout, c.Stderr = k.log, k.log
	if err := c.Start(); err != nil {
		return fmt.Errorf("starting the key server: %w", err)
	}
	k.process, k.ended = c, make(chan struct{})
	ended := k.ended
	go func() { _ = c.Wait(); close(ended) }()
	if err := k.awaitReady(ctx, ready, ended); err != nil {
		_ = c.Process.Kill()
		<-ended
		k.process = nil
		return err
	}
	return nil
}

func (k *KMS) awaitReady(ctx context.Context, ready string, ended chan struct{}) error {
	limit := time.NewTimer(startTimeout)
	defer limit.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ended:
			return fmt.Errorf("the key server ended at once:\n%s", k.Log())
		case <-limit.C:
			return fmt.Errorf("the key server does not serve:\n%s", k.Log())
		case <-tick.C:
			if content, err := os.ReadFile(ready); err == nil && len(content) > 0 {
				return nil
			}
		}
	}
}

// Kill ends the server as a power cut would, without a word.
func (k *KMS) Kill() error { return k.end(syscall.SIGKILL) }

// Stop has the server finish what is under way; one that does not end in half a
// minute is killed, which is an error. It may be called again.
func (k *KMS) Stop() error { return k.end(syscall.SIGTERM) }

func (k *KMS) end(s syscall.Signal) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.process == nil {
		return nil
	}
	err := k.process.Process.Signal(s)
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	limit := time.NewTimer(stopTimeout)
	defer limit.Stop()
	select {
	case <-k.ended:
	case <-limit.C:
		err = errors.Join(err, fmt.Errorf("the key server did not end within %v of %v, and was killed:\n%s", stopTimeout, s, k.Log()), k.process.Process.Kill())
		<-k.ended
	}
	k.process = nil
	return err
}

// FreeAddress returns an address of the loopback of which nobody uses the port.
// With 127.x.y.z many key servers can have OVHcloud's port 5696 on one machine.
func FreeAddress(port int) (string, error) {
	for n := range 500 {
		seed := uint32(os.Getpid())*7919 + uint32(time.Now().UnixNano()) + uint32(n)*104729
		host := fmt.Sprintf("127.%d.%d.%d", 64+seed%128, seed>>8%254, 1+seed>>16%254)
		addr := net.JoinHostPort(host, strconv.Itoa(port))
		if l, err := net.Listen("tcp", addr); err == nil {
			return addr, l.Close()
		}
	}
	return "", fmt.Errorf("no address of 127.0.0.0/8 has port %d free", port)
}

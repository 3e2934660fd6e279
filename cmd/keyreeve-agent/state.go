package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/keyreeve/keyreeve/internal/durable"
)

// A state is the agent's folder, locked: two agents would number their reports
// alike, and undo each other's work. What is in it can be lost: then reports
// begin anew under another instance, and an operator assigns the vCenter again.
type state struct {
	dir  string
	lock *durable.Lock
}

// openState locks the folder, and makes it when it is missing.
func openState(dir string) (*state, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("state_dir: %w", err)
	}
	lock, err := durable.LockDir(dir)
	if err != nil {
		return nil, fmt.Errorf("state_dir: %w", err)
	}
	return &state{dir, lock}, nil
}

func (s *state) close() { _ = s.lock.Unlock() }

// reports says which reports this installation has made.
type reports struct {
	Instance string            `json:"instance"` // a random UUID, made once
	Numbers  map[string]uint64 `json:"numbers"`  // of the last report, by vCenter
}

// A reportNumber names one report.
type reportNumber struct {
	Instance string
	Number   uint64
}

const reportsFile = "reports.json"

// readReports reads what nextReport wrote; without an instance: nothing yet.
func readReports(dir string) (r reports, err error) {
	path := filepath.Join(dir, reportsFile)
	data, err := durable.ReadFile(durable.OS, path, 1<<20)
	if errors.Is(err, os.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(data, &r); err != nil || r.Instance == "" {
		return r, fmt.Errorf("%s is damaged: remove it, and have the vCenter assigned to this agent again", path)
	}
	return r, nil
}

// nextReport counts. The number is on the disk before it is used: one that was
// used twice would be taken for the first one, sent again.
func (s *state) nextReport(vcenter string) (n reportNumber, err error) {
	path := filepath.Join(s.dir, reportsFile)
	r, err := readReports(s.dir)
	if err != nil {
		return n, err
	}
	if r.Instance == "" {
		r.Instance = uuid()
	}
	if r.Numbers == nil {
		r.Numbers = map[string]uint64{}
	}
	r.Numbers[vcenter]++
	data, err := json.Marshal(r)
	if err != nil {
		return n, err
	}
	return reportNumber{r.Instance, r.Numbers[vcenter]}, durable.WriteFile(durable.OS, path, data, 0o600)
}

// uuid is a random one, version 4.
func uuid() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

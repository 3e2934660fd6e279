package transcript

import (
	"bytes"
	"encoding/binary"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// A slowDisk takes nothing until it is opened.
type slowDisk struct {
	open chan struct{}
	err  error
	bytes.Buffer
}

func (d *slowDisk) Write(p []byte) (int, error) {
	<-d.open
	if d.err != nil {
		return 0, d.err
	}
	return d.Buffer.Write(p)
}
func (d *slowDisk) Sync() error  { return nil }
func (d *slowDisk) Close() error { return nil }

// TestSlowDiskHoldsNobodyUp: what the disk does not take is dropped and said.
// A recorder that waited would hang this test.
func TestSlowDiskHoldsNobodyUp(t *testing.T) {
	disk := &slowDisk{open: make(chan struct{})}
	r := newRecorder(RecorderConfig{MaxSize: 1 << 40, Logger: slog.New(slog.DiscardHandler), Now: time.Now}, disk)
	r.Connected(1, "g", "c", "192.0.2.1:1", 0)
	message := []byte{0x42, 0x00, 0x78, 0x01, 0, 0, 0, 0, 0x42, 0x00, 0x55, 0x07, 0, 0, 0, 0}
	message = append(message, bytes.Repeat([]byte("name "), 200<<10)...)
	binary.BigEndian.PutUint32(message[4:], uint32(len(message)-8))
	binary.BigEndian.PutUint32(message[12:], uint32(len(message)-16))
	for range 24 {
		r.Received(1, message)
	}
	if r.queued > maxQueue || r.lost < 4 {
		t.Errorf("%d bytes wait, %d sections are lost", r.queued, r.lost)
	}
	close(disk.open)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(disk.String(), " send --"); n == 0 || n >= 24 {
		t.Errorf("%d sections arrived", n)
	}
}

// TestLostSectionsAreSaid where they are missing.
func TestLostSectionsAreSaid(t *testing.T) {
	disk := &slowDisk{open: make(chan struct{})}
	r := newRecorder(RecorderConfig{MaxSize: 1 << 40, Logger: slog.New(slog.DiscardHandler), Now: time.Now}, disk)
	r.mu.Lock()
	r.queued = maxQueue
	r.mu.Unlock()
	r.Connected(1, "g", "c", "192.0.2.1:1", 0)
	r.mu.Lock()
	r.queued = 0
	r.mu.Unlock()
	r.Closed(1)
	close(disk.open)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(disk.String(), "# 1 sections are missing here") {
		t.Errorf("not said:\n%s", disk)
	}
}

// TestBrokenDiskEndsTheRecording, with one line in the log and an error at the end.
func TestBrokenDiskEndsTheRecording(t *testing.T) {
	disk := &slowDisk{open: make(chan struct{}), err: errors.New("no space")}
	close(disk.open)
	var log bytes.Buffer
	r := newRecorder(RecorderConfig{MaxSize: 1 << 40, Logger: slog.New(slog.NewTextHandler(&log, nil)), Now: time.Now}, disk)
	r.Connected(1, "g", "c", "192.0.2.1:1", 0)
	r.Closed(1)
	if err := r.Close(); err == nil {
		t.Error("the failed write is not told")
	}
	if n := strings.Count(log.String(), "cannot be written"); n != 1 {
		t.Errorf("%d lines in the log:\n%s", n, log.String())
	}
}

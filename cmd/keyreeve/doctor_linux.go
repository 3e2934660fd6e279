package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// fileSystemOf finds the mount that the path lies on, by its device.
func fileSystemOf(path string) (f fileSystem) {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return f
	}
	mounts, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return f
	}
	defer func() { _ = mounts.Close() }()
	want := fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev))
	for lines := bufio.NewScanner(mounts); lines.Scan(); {
		device, kind, source := mountOf(lines.Text())
		if device == want {
			f.kind = kind
			f.fastCommits = kind == "ext4" && madeFastCommits(source)
		}
	}
	if f.kind == "" {
		f.kind = kindByMagic(path)
	}
	return f
}

// kindByMagic knows the file systems whose files have another device than their
// mount.
func kindByMagic(path string) string {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil {
		return ""
	}
	return map[int64]string{
		unix.BTRFS_SUPER_MAGIC: "btrfs", unix.NFS_SUPER_MAGIC: "nfs", unix.OVERLAYFS_SUPER_MAGIC: "overlay", unix.TMPFS_MAGIC: "tmpfs",
		unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", 0x2fc12fc1: "zfs",
	}[int64(st.Type)]
}

// mountOf takes a line of mountinfo apart: see proc(5).
func mountOf(line string) (device, kind, source string) {
	before, after, ok := strings.Cut(line, " - ")
	left, right := strings.Fields(before), strings.Fields(after)
	if !ok || len(left) < 3 || len(right) < 2 {
		return "", "", ""
	}
	return left[2], right[0], right[1]
}

// madeFastCommits tells whether the ext4 on the device has made any: the kernel
// counts them, and none are counted where they are turned off.
func madeFastCommits(source string) bool {
	text, err := os.ReadFile(filepath.Join("/proc/fs/ext4", filepath.Base(source), "fc_info"))
	if err != nil {
		return false
	}
	for l := range strings.Lines(string(text)) {
		if number, isCount := strings.CutSuffix(strings.TrimSpace(l), " commits"); isCount {
			n, err := strconv.ParseUint(number, 10, 64)
			return err == nil && n > 0
		}
	}
	return false
}

// clockSynced asks the kernel whether a time service keeps the clock.
func clockSynced() (bool, error) {
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err != nil {
		return false, err
	}
	return t.Status&unix.STA_UNSYNC == 0, nil
}

func swapDevices() []string {
	text, err := os.ReadFile("/proc/swaps")
	if err != nil {
		return nil
	}
	return swapsIn(string(text))
}

// swapsIn lists swap that is not on memory or behind the device mapper, where
// encrypted swap is. The first line is a heading, whose columns are parted by
// tabs.
func swapsIn(text string) (devices []string) {
	for l := range strings.Lines(text) {
		name := ""
		if columns := strings.Fields(l); len(columns) > 0 {
			name = columns[0]
		}
		if name != "" && name != "Filename" && !strings.HasPrefix(name, "/dev/dm-") && !strings.HasPrefix(name, "/dev/zram") {
			devices = append(devices, name)
		}
	}
	return devices
}

// openFiles is how many files a process may have open.
func openFiles() uint64 {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return limit.Max // Go raises the soft limit to it
}

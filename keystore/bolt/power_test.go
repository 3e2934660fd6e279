//go:build linux && power && !diskmodel

package bolt_test

import "testing"

// TestDiskModelLong is TestDiskModel a hundred times over: some 350,000 images.
func TestDiskModelLong(t *testing.T) { runDiskModel(t, "KEYREEVE_DISK_ROUNDS=100") }

//go:build linux && power && !diskmodel

package bolt_test

import "testing"

// TestDiskModelLong is TestDiskModel sixty times over: some 200,000 images.
func TestDiskModelLong(t *testing.T) { runDiskModel(t, "KEYREEVE_DISK_ROUNDS=60") }

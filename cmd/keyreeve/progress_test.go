package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestBar(t *testing.T) {
	for _, tc := range []struct {
		done, total uint64
		want        string
	}{
		{0, 0, "verifying  [..............................] 0 of 0"},
		{1, 2, "verifying  [###############...............] 1 of 2"},
		{2, 2, "verifying  [##############################] 2 of 2"},
		{9, 2, "verifying  [##############################] 9 of 2"},
	} {
		var out bytes.Buffer
		testApp(&out).bar("verifying", tc.done, tc.total)
		if got := strings.TrimPrefix(out.String(), "\r"); got != tc.want {
			t.Errorf("%d of %d: %q, want %q", tc.done, tc.total, got, tc.want)
		}
	}
	var out bytes.Buffer
	if count, stop := testApp(&out).counterBar("verifying"); count != nil {
		t.Error("something is drawn where there is no terminal")
	} else if stop(); out.Len() > 0 {
		t.Errorf("drawn: %q", out.String())
	}
}

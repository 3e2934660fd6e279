package adminserver

import "testing"

func TestAllowed(t *testing.T) {
	for _, tc := range []struct {
		peer uint32
		us   int
		want bool
	}{{0, 0, true}, {0, 990, true}, {990, 990, true}, {991, 990, false}, {991, 0, false}, {65534, 990, false}} {
		if got := allowed(tc.peer, tc.us); got != tc.want {
			t.Errorf("user %d at a server of user %d: %v, want %v", tc.peer, tc.us, got, tc.want)
		}
	}
}

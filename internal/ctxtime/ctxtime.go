// Package ctxtime waits for a time that a context may cut short.
package ctxtime

import (
	"context"
	"time"
)

// Sleep waits for d. When ctx ends first, it returns why.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

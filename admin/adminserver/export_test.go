package adminserver

import (
	"context"
	"time"
)

// Retire is one round of RetireReplaced by a server that was started then.
func (s *Server) Retire(ctx context.Context, started time.Time) { s.retire(ctx, started) }

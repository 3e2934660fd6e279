package kmipserver

// PooledBytes takes a buffer from the pool and returns all of it, for a test
// of what connections leave in there.
func PooledBytes(size int) []byte {
	b := takeBuffer(size)
	return b.data[:cap(b.data)]
}

// DeferredBytes returns how many bytes of answers are kept to be polled again.
func (s *Server) DeferredBytes() (n int) {
	s.deferred.mu.Lock()
	defer s.deferred.mu.Unlock()
	for _, d := range s.deferred.all {
		if d.ended != nil {
			n += len(d.ended.payload)
		}
	}
	return n
}

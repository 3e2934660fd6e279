package kmipserver

// PooledBytes takes a buffer from the pool and returns all of it, for a test
// of what connections leave in there.
func PooledBytes(size int) []byte {
	b := takeBuffer(size)
	return b.data[:cap(b.data)]
}

package bolt

// SetNoSync makes bbolt leave out its syncs: a bug that the disk model must catch.
func (b *Backend) SetNoSync() { b.db.NoSync = true }

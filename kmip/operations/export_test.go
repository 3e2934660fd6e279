package operations

// Key is all memory of the call's buffer for key material.
func (c *Call) Key() []byte {
	b := c.key.Bytes()
	return b[:cap(b)]
}

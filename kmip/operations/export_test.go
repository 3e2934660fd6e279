package operations

// Key is all memory of the call's buffer for key material.
func (c *Call) Key() []byte {
	b := c.key.Bytes()
	return b[:cap(b)]
}

// Random is what the call has drawn for a key that Apply makes.
func (c *Call) Random() []byte { return c.random }

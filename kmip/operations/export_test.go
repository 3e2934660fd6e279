package operations

// Scratch is all memory of the call's scratch buffer.
func (c *Call) Scratch() []byte {
	b := c.scratch.Bytes()
	return b[:cap(b)]
}

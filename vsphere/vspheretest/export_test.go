package vspheretest

// StopTimeout is how long Stop waits for a server.
var StopTimeout = &stopTimeout

// OwnUpdates has the simulator's own waiting for updates answer, to compare.
// Nobody may be connected yet.
func (v *VCenter) OwnUpdates() { delete(v.answers, "PropertyCollector") }

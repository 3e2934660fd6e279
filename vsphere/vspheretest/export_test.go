package vspheretest

// OwnUpdates has the simulator's own waiting for updates answer, to compare.
// Nobody may be connected yet.
func (v *VCenter) OwnUpdates() { delete(v.answers, "PropertyCollector") }

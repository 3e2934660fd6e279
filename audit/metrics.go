package audit

// Metrics counts what the journal does. A nil *Metrics counts nothing.
type Metrics struct {
	groups  adder
	events  adder
	bytes   adder
	dropped adder
	sync    observer
}

type (
	adder    interface{ Add(float64) }
	observer interface{ Observe(float64) }
)

func (m *Metrics) wrote(events, bytes int, seconds float64) {
	if m == nil {
		return
	}
	m.groups.Add(1)
	m.events.Add(float64(events))
	m.bytes.Add(float64(bytes))
	m.sync.Observe(seconds)
}

func (m *Metrics) drop(n uint64) {
	if m != nil {
		m.dropped.Add(float64(n))
	}
}

// Package keystoretest is the contract of package keystore as an executable
// specification: what a Backend must do ([RunBackend], [RunBackendFaults]),
// what a Store on it must do ([RunStore]), and what must never be wrong
// ([MustCheck], which every test of a store runs at its end).
//
// With it come a backend and a journal in memory that police their caller
// ([Volume], [Tape]), faults in pairs ([Faulty]: failed and not stored, failed
// but stored), a power switch that can be thrown between any two steps of the
// order of durability ([Power]), and a model of the disk below a real backend
// ([Disk]).
//
// The suites are scenarios that return errors, so that the package's own tests
// can run them against seeded bugs: a suite that does not notice the marker
// left out of the journal, or a commit's error ignored, fails there.
package keystoretest

//go:build race

package kmipserver_test

// raceSlack is what the race detector adds: sync.Pool drops some of what it is
// given then.
const raceSlack = 10

//go:build !race

package kmipserver_test

const raceSlack = 0

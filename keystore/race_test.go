//go:build race

package keystore_test

// Under the race detector sync.Pool drops what it is given now and then.
const maxGetAllocations = 12

// modelChecks is how many sequences TestModel tries.
const modelChecks = "20"

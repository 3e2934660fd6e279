//go:build !race

package keystore_test

const maxGetAllocations = 2

// modelChecks is how many sequences TestModel tries.
const modelChecks = "150"

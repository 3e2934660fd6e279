package provider

// SweepOne is what a proof does with a key that the server names as one of an
// earlier proof's.
var SweepOne = Canary.sweepOne

package backup

// The tests make passphrases cheap: what they cost is age's to prove.
func init() { workFactor = 10 }

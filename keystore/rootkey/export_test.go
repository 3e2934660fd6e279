package rootkey

// CheckAccess is tested directly: a file of another user takes more than a test may do.
var CheckAccess = checkAccess

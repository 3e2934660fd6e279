package admin

// A Code says what kind of failure an Error is; it is stable.
type Code string

// The codes.
const (
	CodeBadRequest Code = "bad-request" // the request contradicts itself or cannot be read
	CodeNotFound   Code = "not-found"
	CodeExists     Code = "exists"
	CodeRefused    Code = "refused" // understood, and not allowed
	CodeDiskFull   Code = "disk-full"
	CodeDamaged    Code = "damaged"
	CodeFailed     Code = "failed" // the server cannot, now
)

// Error is the body of every answer that is no success. Both texts are for
// people, in lower case; they hold no key material and nothing of the server's
// inside.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"` // what to do
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

package admin

// A Code says what kind of failure an Error is; it is stable.
type Code string

// The codes.
const (
	CodeBadRequest Code = "bad-request" // the request contradicts itself or cannot be read
	CodeNotFound   Code = "not-found"
	CodeForbidden  Code = "forbidden" // the role is not enough
	CodeExists     Code = "exists"
	CodeRefused    Code = "refused" // understood, and not allowed
	CodeDiskFull   Code = "disk-full"
	CodeDamaged    Code = "damaged"
	CodeFailed     Code = "failed" // the server cannot, now
)

// Values returns all codes.
func (Code) Values() []string {
	return []string{string(CodeBadRequest), string(CodeNotFound), string(CodeForbidden), string(CodeExists), string(CodeRefused),
		string(CodeDiskFull), string(CodeDamaged), string(CodeFailed)}
}

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

// Failed is the last line of an answer of many lines that broke off.
type Failed struct {
	Error *Error `json:"error"`
}

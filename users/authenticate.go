package users

import (
	"context"

	"github.com/keyreeve/keyreeve/kmip"
)

// A Client is whose certificate a request came with.
type Client struct {
	Name  string
	Group string
	// RequireUser is set for a client that may do nothing without a user.
	RequireUser bool
}

// An Error says why a request is not taken for anybody's. Its text is for the
// journal and the log, and names nothing that the request claimed; the client
// is told only that it failed.
type Error struct {
	Reason string
	User   string // the user whose password was wrong; "" if there is none
}

// Error returns the reason.
func (e *Error) Error() string { return e.Reason }

// What a request's credentials amount to.
type presented uint8

const (
	nothing     presented = iota // no credential
	right                        // each of them right, and all the same user's
	wrong                        // one is unknown, or its password is wrong
	unsupported                  // one is of a type that we cannot check
	ambiguous                    // each right, but of several users
	presentations
)

// Which client it is that presents them.
type situation uint8

const (
	withoutUsers situation = iota // its group has none, and it needs none
	withUsers                     // its group has users
	userRequired                  // it must name one
	situations
)

// What comes of it.
type verdict uint8

const (
	asClient verdict = iota // whatever was sent, it is the client itself
	asUser
	refused
)

// verdicts is the whole rule. A client without users ignores what it is sent:
// vCenter may send a user name that was typed into it for another server. Where
// there are users, what was sent must be right, all of it: a request with a
// wrong password must not be carried out as somebody else's.
var verdicts = [presentations][situations]verdict{
	//            without users  with users  user required
	nothing:     {asClient, asClient, refused},
	right:       {asClient, asUser, asUser},
	wrong:       {asClient, refused, refused},
	unsupported: {asClient, refused, refused},
	ambiguous:   {asClient, refused, refused},
}

var reasons = [presentations]string{
	nothing:     "the client must name a user, and the request has no credential",
	wrong:       "no user of the group has this credential",
	unsupported: "the request has a credential of a type that is not supported",
	ambiguous:   "the request has credentials of several users",
}

// A finding is what was found out about a request's credentials.
type finding struct {
	what   presented
	user   string // right: whose they are; wrong: whose password was wrong, if known
	reason string
}

func found(what presented) finding { return finding{what: what, reason: reasons[what]} }

// Authenticate says who a request is from: the name of a user, or "" for the
// client itself. An error means that nothing of the request may be carried out;
// it is an *Error, save when ctx has ended. The credentials are read and not
// kept.
func (r *Registry) Authenticate(ctx context.Context, c Client, credentials []kmip.Credential) (user string, err error) {
	s := r.situation(c)
	if s == withoutUsers { // whatever it is, the verdict is the same: no hashes for that
		return "", nil
	}
	f, err := r.examine(ctx, c, credentials)
	if err != nil {
		return "", err
	}
	r.count.requests[f.what].Inc()
	switch verdicts[f.what][s] {
	case asClient:
		return "", nil
	case asUser:
		return f.user, nil
	}
	return "", &Error{Reason: f.reason, User: f.user}
}

func (r *Registry) situation(c Client) situation {
	switch {
	case c.RequireUser:
		return userRequired
	case r.Has(c.Group) > 0:
		return withUsers
	}
	return withoutUsers
}

// examine holds all credentials against the table. Types that we cannot check
// come first: a request that fails anyway costs no hash.
func (r *Registry) examine(ctx context.Context, c Client, credentials []kmip.Credential) (f finding, err error) {
	if len(credentials) == 0 {
		return found(nothing), nil
	}
	for i := range credentials {
		if !credentials[i].IsUsername() && !credentials[i].IsDevice() {
			return found(unsupported), nil
		}
	}
	user := ""
	for i := range credentials {
		f, err = r.check(ctx, c, &credentials[i])
		switch {
		case err != nil || f.what != right:
			return f, err
		case i > 0 && f.user != user:
			return found(ambiguous), nil
		}
		user = f.user
	}
	return f, nil
}

// check finds out whose a credential is: right or wrong. It fails only when ctx
// ends first.
func (r *Registry) check(ctx context.Context, c Client, credential *kmip.Credential) (finding, error) {
	if e := r.table.Load().lookup(c.Group, credential); e != nil && r.memory.has(r.memory.tag(c.Name, e, credential)) {
		return finding{what: right, user: e.Name}, nil
	}
	leave, err := r.bound.enter(ctx, c.Name)
	if err != nil {
		return finding{}, err
	}
	defer leave()
	// The record may have changed while this waited, or another request of the
	// client's have found the same credential right.
	e := r.table.Load().lookup(c.Group, credential)
	if e == nil {
		r.fits(r.decoy, credential.Password)
		return found(wrong), nil
	}
	tag := r.memory.tag(c.Name, e, credential)
	if r.memory.has(tag) {
		return finding{what: right, user: e.Name}, nil
	}
	if !r.has(e, credential.Password) {
		return finding{what: wrong, user: e.Name, reason: "the user's password is wrong"}, nil
	}
	r.memory.add(tag, ID(e.Group, e.Name))
	return finding{what: right, user: e.Name}, nil
}

// has tells whether the password is the user's. A device without one takes a
// credential without one only.
func (r *Registry) has(e *entry, password []byte) bool {
	if e.Password == nil {
		return !r.fits(r.decoy, password) && password == nil
	}
	return r.fits(e.Password, password)
}

func (r *Registry) fits(h *Hash, password []byte) bool {
	r.count.hashes.Inc()
	return h.fits(password)
}

// lookup finds the user that a credential claims to be.
func (t *table) lookup(group string, c *kmip.Credential) *entry {
	if c.IsUsername() {
		if e := t.byID[ID(group, string(c.Username))]; e != nil && e.Device == nil {
			return e
		}
		return nil
	}
	key := appendField(nil, []byte(group))
	for _, field := range deviceFields(c) {
		if field != nil && len(field) == 0 {
			return nil // sent and empty is not the same as not sent
		}
		key = appendField(key, field)
	}
	return t.byDevice[string(key)]
}

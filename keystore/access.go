package keystore

import "slices"

// Who may do what with an object is decided here and nowhere else.
//
//	who asks                          to look at it      to change it
//	the user that made it             yes                yes
//	an administrator                  yes, not the Value yes
//	another user of the same group    by its policy      Permission Denied
//	another group                     it does not exist  it does not exist
//
// The client itself, without a user, counts as a user of its own: it has no
// rights over what users made, nor they over what it made. To look at an
// object is Locate, Check, Get, Get Attributes, Get Attribute List and Obtain
// Lease; everything else changes it, or uses it as its owner does.

// A policy is an Operation Policy (specification section 3.18): the types of
// object that all users of the group may look at. No policy lets anybody but
// the owner change an object, and none reaches beyond the group.
type policy struct {
	name string
	look []ObjectType
}

// DefaultPolicy holds for objects that name none. Its name and content are
// section 3.18.2's.
const DefaultPolicy = "default"

// policyAttribute is the attribute that names an object's policy.
const policyAttribute = "Operation Policy Name"

// policies are those that there are. group-read is our own. None shares a
// Template: the policy that a Template names is for what is made of it (section
// 3.18.2.3), and the Template is its owner's.
var policies = [...]policy{
	{DefaultPolicy, []ObjectType{Certificate, PublicKey}},
	{"group-read", []ObjectType{Certificate, SymmetricKey, PublicKey, PrivateKey, SplitKey, SecretData, OpaqueObject, PGPKey}},
}

// PolicyNames returns the names of all Operation Policies.
func PolicyNames() (names []string) {
	for i := range policies {
		names = append(names, policies[i].name)
	}
	return names
}

// policyOf returns an object's policy. A name that we do not know, which a
// newer version may have stored, shares nothing: what it would allow is not
// ours to guess.
func policyOf(o *Object) policy {
	name := DefaultPolicy
	if a, ok := o.Attribute(policyAttribute, 0); ok {
		text, _ := a.Value.Text()
		name = string(text)
	}
	for i := range policies {
		if policies[i].name == name {
			return policies[i]
		}
	}
	return policy{}
}

// A purpose is what somebody wants with an object.
type purpose uint8

const (
	toLook purpose = iota
	toChange
)

// may says whether p may do that with the object: nil, ErrPermission, or
// ErrNotFound for what p must not even know of.
func (p *Principal) may(o *Object, what purpose) error {
	switch {
	case p.Admin:
		return nil
	case o.Group != p.Group:
		return ErrNotFound
	case o.User == p.User, what == toLook && slices.Contains(policyOf(o).look, o.Type):
		return nil
	}
	return ErrPermission
}

// refusal is what the journal says of an error of may.
func refusal(err error) string {
	if err == ErrNotFound {
		return "the object belongs to another group"
	}
	return "the object belongs to another user of the group"
}

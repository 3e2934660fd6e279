package admin

// A Role says what an administrator may do. A viewer reads; an operator also
// changes; an agent has a small set of its own (it renews the clients that were
// marked for it, reports inventories and reads metadata). The owner is whoever
// uses the server's unix socket: an operator who also decides who the
// administrators are. No certificate makes an owner.
type Role string

// The roles.
const (
	RoleViewer   Role = "viewer"
	RoleOperator Role = "operator"
	RoleAgent    Role = "agent"
	RoleOwner    Role = "owner"
)

// Values returns all roles.
func (Role) Values() []string {
	return []string{string(RoleViewer), string(RoleOperator), string(RoleAgent), string(RoleOwner)}
}

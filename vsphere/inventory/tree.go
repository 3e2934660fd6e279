package inventory

import (
	"github.com/vmware/govmomi/vim25/types"
)

// treeProperties are what is read of everything that is no machine.
var treeProperties = map[string][]string{
	"Folder":          {"name", "parent"},
	"Datacenter":      {"name", "parent"},
	"ComputeResource": {"name", "parent"},
	"ResourcePool":    {"name", "parent"}, // vApps too
	"Datastore":       {"name", "parent", "summary.freeSpace", "summary.accessible"},
	"HostSystem": {"name", "parent", "runtime.connectionState", "runtime.cryptoState", "runtime.cryptoKeyId",
		"hardware.systemInfo.uuid", "capability.cryptoSupported", "capability.encryptionHotOperationSupported", "capability.encryptionWithSnapshotsSupported"},
}

// A tree tells where things are.
type tree struct {
	nodes  map[string]node
	root   string
	fields map[int32]string // names of custom attributes
}

type node struct{ kind, name, parent string }

func newTree(root string) *tree {
	return &tree{nodes: map[string]node{}, root: root, fields: map[int32]string{}}
}

func (t *tree) add(o types.ObjectContent, p props) {
	t.nodes[o.Obj.Value] = node{o.Obj.Type, get[string](p, "name"), p.ref("parent")}
}

// path spells out where an object is; empty if something above it is not known.
func (t *tree) path(ref string) string {
	var parts []string
	for ref != t.root {
		n, ok := t.nodes[ref]
		if !ok || len(parts) > len(t.nodes) {
			return ""
		}
		parts = append(parts, n.name)
		ref = n.parent
	}
	path := ""
	for _, part := range parts {
		path = "/" + part + path
	}
	return path
}

// vmPath is the path of a machine; one in a vApp is below its pool.
func (t *tree) vmPath(p props) string {
	parent := p.ref("parent")
	if parent == "" {
		parent = p.ref("parentVApp")
	}
	folder := t.path(parent)
	if folder == "" {
		return ""
	}
	return folder + "/" + get[string](p, "name")
}

// clusterOf is the name of the cluster of a host, or of a pool when the
// machine has no host; empty: a host by itself.
func (t *tree) clusterOf(refs ...string) string {
	for _, ref := range refs {
		for range len(t.nodes) {
			n, ok := t.nodes[ref]
			if !ok {
				break
			}
			if n.kind == "ClusterComputeResource" {
				return n.name
			}
			ref = n.parent
		}
	}
	return ""
}

func (t *tree) attributes(values []types.BaseCustomFieldValue) map[string]string {
	out := map[string]string{}
	for _, v := range values {
		if s, ok := v.(*types.CustomFieldStringValue); ok && t.fields[s.Key] != "" && s.Value != "" {
			out[t.fields[s.Key]] = s.Value
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

func hostOf(o types.ObjectContent, p props, t *tree) Host {
	key := get[types.CryptoKeyId](p, "runtime.cryptoKeyId")
	h := Host{
		Ref: o.Obj.Value, Name: get[string](p, "name"), UUID: get[string](p, "hardware.systemInfo.uuid"),
		Connection: string(get[types.HostSystemConnectionState](p, "runtime.connectionState")),
		Crypto:     get[string](p, "runtime.cryptoState"), Key: keyOf(&key), Cluster: t.clusterOf(o.Obj.Value),
		HotEncryption: get[bool](p, "capability.encryptionHotOperationSupported"),
		WithSnapshots: get[bool](p, "capability.encryptionWithSnapshotsSupported"),
	}
	supported, said := p["capability.cryptoSupported"].(bool)
	h.Incapable = said && !supported
	if h.Connection == "" || hidden(o, "runtime.cryptoKeyId") {
		h.Connection = "not readable"
	}
	return h
}

func datastore(o types.ObjectContent, p props) Datastore {
	return Datastore{o.Obj.Value, get[string](p, "name"), get[int64](p, "summary.freeSpace"), get[bool](p, "summary.accessible")}
}

package admin

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"hash"
	"net/http"
	"net/url"
	"time"
)

// KeyUser is a virtual machine, a disk or a host that uses a key.
type KeyUser struct {
	Kind     string `json:"kind"`                // vm, disk or host
	Name     string `json:"name"`                // of the machine, a disk's too, or of the host
	Disk     string `json:"disk,omitempty"`      // the disk's label
	UUID     string `json:"uuid"`                // instance UUID of the machine, hardware UUID of the host
	BIOS     string `json:"bios_uuid,omitempty"` // of the machine
	Provider string `json:"provider"`            // the key provider's name in vCenter
}

// Kinds of a KeyUser.
const (
	UserVM   = "vm"
	UserDisk = "disk"
	UserHost = "host"
)

// InventoryEntry says that a key is in use. Key is what vCenter calls it.
type InventoryEntry struct {
	Key  string  `json:"key"`
	User KeyUser `json:"user"`
}

// InventoryHeader is the body of POST /v1/inventories/{vcenter}/uploads: what a
// report says of itself.
type InventoryHeader struct {
	Instance  string    `json:"instance"`            // a random UUID, made once by each installation of an agent
	Number    uint64    `json:"number"`              // from 1, one more for each report
	Time      time.Time `json:"time"`                // when the agent began to look; whole seconds
	Partial   []string  `json:"partial,omitempty"`   // why not all was seen; empty: the report is complete
	Providers []string  `json:"providers,omitempty"` // names of the key providers that this server answers for
	Entries   int       `json:"entries"`             // how many will follow
	Digest    string    `json:"digest"`              // an InventorySum
}

// InventoryUpload is the answer to it, and to each chunk.
type InventoryUpload struct {
	Upload   string `json:"upload"`   // its identifier, for the path
	Received int    `json:"received"` // entries so far
}

// InventoryChunk is the body of POST /v1/inventories/{vcenter}/uploads/{upload}/entries.
// Offset is how many entries came before it.
type InventoryChunk struct {
	Offset  int              `json:"offset"`
	Entries []InventoryEntry `json:"entries"`
}

// InventoryTaken is the answer to POST /v1/inventories/{vcenter}/uploads/{upload}/commit.
type InventoryTaken struct {
	Number   uint64   `json:"number"`
	Complete bool     `json:"complete"`
	Again    bool     `json:"again,omitempty"`   // it had been taken before
	Reasons  []string `json:"reasons,omitempty"` // why it releases nothing, if it is not complete
}

// Inventory is what the server knows of a vCenter.
type Inventory struct {
	VCenter   string    `json:"vcenter"` // its instance UUID
	Name      string    `json:"name,omitempty"`
	Agent     string    `json:"agent"`  // the only one that may report
	Groups    []string  `json:"groups"` // whose keys it uses
	Assigned  time.Time `json:"assigned"`
	Number    uint64    `json:"number"`            // of the last report; 0: none yet
	Received  time.Time `json:"received,omitzero"` // when it came
	Complete  time.Time `json:"complete,omitzero"` // when the last complete one came
	Reasons   []string  `json:"reasons,omitempty"` // why the last one is partial
	Entries   uint64    `json:"entries"`           // of the last report
	Providers []string  `json:"providers,omitempty"`
	Keys      uint64    `json:"keys"`                // in use
	Waiting   uint64    `json:"waiting,omitempty"`   // not named any more, and in use until a person confirms that they are not
	Missing   uint64    `json:"missing,omitempty"`   // named, and not in the store
	Destroyed uint64    `json:"destroyed,omitempty"` // named, and destroyed
	Foreign   uint64    `json:"foreign,omitempty"`   // named, and of groups that are not the vCenter's
	Lost      []string  `json:"lost,omitempty"`      // the first hundred of missing and destroyed
	Removing  bool      `json:"removing,omitempty"`  // its removal was begun
}

// InventoryStatus is what all vCenters have in common, for a Status.
type InventoryStatus struct {
	VCenters  int       `json:"vcenters"`
	Keys      uint64    `json:"keys"`                // in use
	Waiting   uint64    `json:"waiting,omitempty"`   // for a person to confirm
	Missing   uint64    `json:"missing,omitempty"`   // in use, and not in the store
	Destroyed uint64    `json:"destroyed,omitempty"` // in use, and destroyed
	Oldest    time.Time `json:"oldest,omitzero"`     // the oldest of the last complete reports
	Never     int       `json:"never,omitempty"`     // vCenters without a complete report
}

// UsedKey is a key in use, with the first of its users.
type UsedKey struct {
	Key     string    `json:"key"`
	VCenter string    `json:"vcenter"`
	Total   uint64    `json:"total"` // users
	Users   []KeyUser `json:"users"`
	Absent  bool      `json:"absent,omitempty"` // the last complete report did not name it; it is not released yet
}

// InventoryQuery is the query of GET /v1/inventories/{vcenter}.
type InventoryQuery struct {
	After string `json:"after,omitempty" doc:"what the page before had as next"`
	Limit int    `json:"limit,omitempty" doc:"keys in a page, at most and by default 1000"`
}

// InventoryPage is a vCenter with a page of the keys that it uses.
type InventoryPage struct {
	Inventory Inventory `json:"inventory"`
	Keys      []UsedKey `json:"keys"`
	Next      string    `json:"next,omitempty"`
}

// AssignRequest is the body of POST /v1/inventories.
type AssignRequest struct {
	VCenter string   `json:"vcenter"`
	Name    string   `json:"name,omitempty"`
	Agent   string   `json:"agent"`
	Groups  []string `json:"groups"`
}

// ConfirmRequest is the body of POST /v1/inventories/{vcenter}/confirm: that
// so many keys are not used any more, as of a report.
type ConfirmRequest struct {
	Number uint64 `json:"number"`
	Keys   uint64 `json:"keys"`
	Reason string `json:"reason"`
}

// RemoveRequest is the body of POST /v1/inventories/{vcenter}/remove: that the
// vCenter is gone for good, which uses so many keys.
type RemoveRequest struct {
	Keys   uint64 `json:"keys"`
	Reason string `json:"reason"`
}

// An InventorySum is the digest of a report: SHA-256 over its header and its
// entries, each text with its length before it.
type InventorySum struct{ h hash.Hash }

// NewInventorySum begins with the header; its Digest does not count.
func NewInventorySum(vcenter string, head InventoryHeader) *InventorySum {
	s := &InventorySum{sha256.New()}
	s.texts(vcenter, head.Instance)
	s.number(head.Number)
	s.number(uint64(head.Time.Unix()))
	s.number(uint64(len(head.Partial)))
	s.texts(head.Partial...)
	s.number(uint64(len(head.Providers)))
	s.texts(head.Providers...)
	s.number(uint64(head.Entries))
	return s
}

// Add goes on with entries, in their order.
func (s *InventorySum) Add(entries ...InventoryEntry) {
	for _, e := range entries {
		s.texts(e.Key, e.User.Kind, e.User.Name, e.User.Disk, e.User.UUID, e.User.BIOS, e.User.Provider)
	}
}

// String returns the digest in hexadecimal.
func (s *InventorySum) String() string { return hex.EncodeToString(s.h.Sum(nil)) }

func (s *InventorySum) texts(texts ...string) {
	for _, t := range texts {
		s.number(uint64(len(t)))
		_, _ = s.h.Write([]byte(t)) // never fails
	}
}

func (s *InventorySum) number(n uint64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	_, _ = s.h.Write(b[:]) // never fails
}

// chunkBytes is about how large a chunk of a report is, in bytes of JSON; the
// server takes 1 MiB.
const chunkBytes = 512 << 10

func inventoryPath(vcenter string, parts ...string) string {
	path := "/v1/inventories/" + url.PathEscape(vcenter)
	for _, p := range parts {
		path += "/" + url.PathEscape(p)
	}
	return path
}

// ReportInventory sends a report, in chunks, and has it taken as a whole. It
// sets the header's Entries and Digest. What fails on the way has left nothing
// behind; the same report can be sent again.
func (c *Client) ReportInventory(ctx context.Context, vcenter string, head InventoryHeader, entries []InventoryEntry) (taken InventoryTaken, err error) {
	head.Time, head.Entries = head.Time.Truncate(time.Second), len(entries)
	sum := NewInventorySum(vcenter, head)
	sum.Add(entries...)
	head.Digest = sum.String()
	up, err := c.BeginInventory(ctx, vcenter, head)
	for err == nil && len(entries) > 0 {
		n := 0
		if n, err = chunk(entries); err != nil {
			break
		}
		up, err = c.AddInventory(ctx, vcenter, up.Upload, InventoryChunk{up.Received, entries[:n]})
		entries = entries[n:]
	}
	if err != nil {
		return taken, err
	}
	return c.CommitInventory(ctx, vcenter, up.Upload)
}

// BeginInventory, AddInventory and CommitInventory are the steps of
// ReportInventory. The header's Entries and Digest must be set.
func (c *Client) BeginInventory(ctx context.Context, vcenter string, head InventoryHeader) (InventoryUpload, error) {
	return call[InventoryUpload](ctx, c, http.MethodPost, inventoryPath(vcenter, "uploads"), head)
}

// AddInventory sends a chunk.
func (c *Client) AddInventory(ctx context.Context, vcenter, upload string, chunk InventoryChunk) (InventoryUpload, error) {
	return call[InventoryUpload](ctx, c, http.MethodPost, inventoryPath(vcenter, "uploads", upload, "entries"), chunk)
}

// CommitInventory has what was sent taken as a whole.
func (c *Client) CommitInventory(ctx context.Context, vcenter, upload string) (InventoryTaken, error) {
	return call[InventoryTaken](ctx, c, http.MethodPost, inventoryPath(vcenter, "uploads", upload, "commit"), struct{}{})
}

// chunk returns how many of the entries fit one.
func chunk(entries []InventoryEntry) (n int, err error) {
	for size := 0; n < len(entries) && size < chunkBytes; n++ {
		text, err := json.Marshal(entries[n])
		if err != nil {
			return 0, err
		}
		if size += len(text) + 1; size > chunkBytes && n > 0 {
			break
		}
	}
	return n, nil
}

// Inventories lists the vCenters that were assigned.
func (c *Client) Inventories(ctx context.Context) ([]Inventory, error) {
	return call[[]Inventory](ctx, c, http.MethodGet, "/v1/inventories", nil)
}

// Inventory returns a vCenter with a page of the keys that it uses.
func (c *Client) Inventory(ctx context.Context, vcenter string, query InventoryQuery) (page InventoryPage, err error) {
	path, err := withQuery(inventoryPath(vcenter), query)
	if err != nil {
		return page, err
	}
	return call[InventoryPage](ctx, c, http.MethodGet, path, nil)
}

// KeyUsers says who uses a key, by vCenter.
func (c *Client) KeyUsers(ctx context.Context, uid string) ([]UsedKey, error) {
	return call[[]UsedKey](ctx, c, http.MethodGet, "/v1/keys/"+url.PathEscape(uid)+"/users", nil)
}

// AssignInventory says which agent reports on a vCenter, and whose keys it uses.
func (c *Client) AssignInventory(ctx context.Context, req AssignRequest) (Inventory, error) {
	return call[Inventory](ctx, c, http.MethodPost, "/v1/inventories", req)
}

// ConfirmInventory releases the keys that wait for a person.
func (c *Client) ConfirmInventory(ctx context.Context, vcenter string, req ConfirmRequest) (Inventory, error) {
	return call[Inventory](ctx, c, http.MethodPost, inventoryPath(vcenter, "confirm"), req)
}

// RemoveInventory forgets a vCenter that is gone for good, and releases its keys.
func (c *Client) RemoveInventory(ctx context.Context, vcenter string, req RemoveRequest) error {
	_, err := call[Removed](ctx, c, http.MethodPost, inventoryPath(vcenter, "remove"), req)
	return err
}

// Removed is the answer to POST /v1/inventories/{vcenter}/remove.
type Removed struct {
	VCenter string `json:"vcenter"`
	Keys    uint64 `json:"keys"` // that it used
}

package adminserver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/keystore"
)

var opShowInventory = keystore.Op{Name: "Show Inventory", Class: keystore.OpObserve}

const maxUsedKeys = 1000 // in one page; each has up to fifty users

// vcenter reads the UUID in the path.
func (c *call) vcenter() (keystore.VCenterID, error) { return vcenterOf(c.path("vcenter")) }

func vcenterOf(text string) (keystore.VCenterID, error) {
	id, ok := keystore.ParseVCenterID(text)
	if !ok {
		return id, badRequest("%q is not the instance UUID of a vCenter", text)
	}
	return id, nil
}

func (s *Server) listInventories(c *call, _ none) ([]admin.Inventory, error) {
	list := []admin.Inventory{}
	err := do(c.context(), s.cfg.Store, c.by, &opShowInventory, func(tx *keystore.Tx) error {
		list = list[:0]
		all, err := tx.VCenters()
		for _, v := range all {
			list = append(list, inventory(v))
		}
		return err
	})
	return list, err
}

func (s *Server) showInventory(c *call, req admin.InventoryQuery) (page admin.InventoryPage, err error) {
	id, err := c.vcenter()
	if err != nil {
		return page, err
	}
	from, limit := keystore.UID{}, req.Limit
	if limit == 0 {
		limit = maxUsedKeys
	}
	if limit < 1 || limit > maxUsedKeys {
		return page, badRequest("limit %d is not between 1 and %d", limit, maxUsedKeys)
	}
	if req.After != "" {
		var ok bool
		if from, ok = keystore.ParseUID([]byte(req.After)); !ok {
			return page, badRequest("%q is not a unique identifier", req.After)
		}
	}
	err = do(c.context(), s.cfg.Store, c.by, &opShowInventory, func(tx *keystore.Tx) error {
		v, err := tx.VCenter(id)
		if err != nil {
			return err
		}
		page = admin.InventoryPage{Inventory: inventory(v), Keys: []admin.UsedKey{}}
		return tx.UsedKeys(id, from, func(u keystore.UsedKey) bool {
			if u.Key == from { // where the page before ended
				return true
			}
			if len(page.Keys) == limit {
				page.Next = page.Keys[limit-1].Key
				return false
			}
			page.Keys = append(page.Keys, usedKey(u))
			return true
		})
	})
	return page, unknownVCenter(id, err)
}

func unknownVCenter(id keystore.VCenterID, err error) error {
	if errors.Is(err, keystore.ErrNotFound) {
		return &admin.Error{Code: admin.CodeNotFound, Message: fmt.Sprintf("no vCenter %s was assigned", id), Hint: "keyreeve inventory list shows all"}
	}
	return err
}

// keyUsers says who uses a key. The key need not exist: what an inventory names
// and the store does not have is what one wants to look up most.
func (s *Server) keyUsers(c *call, _ none) ([]admin.UsedKey, error) {
	uid, ok := keystore.ParseUID([]byte(c.path("uid")))
	if !ok {
		return nil, badRequest("%q is not a unique identifier", c.path("uid"))
	}
	users := []admin.UsedKey{}
	err := do(c.context(), s.cfg.Store, c.by, &opShowInventory, func(tx *keystore.Tx) (err error) {
		users, err = usersOf(tx, uid)
		return err
	})
	return users, err
}

// usersOf says who uses a key, by vCenter; empty if it is not in use.
func usersOf(tx *keystore.Tx, uid keystore.UID) ([]admin.UsedKey, error) {
	used, err := tx.Uses(uid)
	list := []admin.UsedKey{}
	for _, u := range used {
		list = append(list, usedKey(u))
	}
	return list, err
}

func usedKey(u keystore.UsedKey) admin.UsedKey {
	out := admin.UsedKey{Key: u.Key.String(), VCenter: u.VCenter.String(), Total: u.Total, Users: []admin.KeyUser{}, Absent: u.Absent}
	for _, use := range u.Uses {
		out.Users = append(out.Users, admin.KeyUser{Kind: use.Kind.String(), Name: use.Name, Disk: use.Disk, UUID: use.UUID, BIOS: use.BIOS, Provider: use.Provider})
	}
	return out
}

func inventory(v keystore.VCenterInfo) admin.Inventory {
	return admin.Inventory{
		VCenter: v.ID.String(), Name: v.Name, Agent: v.Agent, Groups: v.Groups, Assigned: second(v.Assigned), Number: v.Number,
		Received: second(v.Received), Complete: second(v.Complete), Reasons: v.Reasons, Entries: v.Entries, Providers: v.Providers,
		Keys: v.Keys, Waiting: v.Waiting, Missing: v.Missing, Destroyed: v.Destroyed, Foreign: v.Foreign, Lost: v.Lost, Removing: v.Removing,
	}
}

func second(unix int64) time.Time {
	if unix == 0 {
		return time.Time{}
	}
	return time.Unix(unix, 0).UTC()
}

func (s *Server) assignInventory(c *call, req admin.AssignRequest) (out admin.Inventory, err error) {
	id, err := vcenterOf(req.VCenter)
	if err != nil {
		return out, err
	}
	if _, err := s.admins().get(req.Agent); err != nil {
		return out, err
	}
	if len(req.Groups) == 0 {
		return out, badRequest("a vCenter uses the keys of at least one group")
	}
	v, err := s.cfg.Store.AssignVCenter(c.context(), c.by, keystore.VCenterInfo{ID: id, Name: req.Name, Agent: req.Agent, Groups: req.Groups})
	if err != nil {
		return out, err
	}
	s.cfg.Logger.Info("vCenter assigned", "vcenter", req.VCenter, "name", req.Name, "agent", req.Agent, "groups", req.Groups, "by", c.by.User)
	return inventory(v), nil
}

func (s *Server) confirmInventory(c *call, req admin.ConfirmRequest) (out admin.Inventory, err error) {
	id, err := s.weighed(c, &req.Reason)
	if err != nil {
		return out, err
	}
	v, err := s.cfg.Store.ConfirmInventory(c.context(), c.by, id, req.Number, req.Keys, req.Reason)
	if err != nil {
		return out, unconfirmed(id, err)
	}
	s.cfg.Logger.Warn("inventory confirmed: keys are released", "vcenter", id.String(), "keys", req.Keys, "reason", req.Reason, "by", c.by.User)
	return inventory(v), nil
}

func (s *Server) removeInventory(c *call, req admin.RemoveRequest) (out admin.Removed, err error) {
	id, err := s.weighed(c, &req.Reason)
	if err != nil {
		return out, err
	}
	if err := s.cfg.Store.RemoveVCenter(c.context(), c.by, id, req.Keys, req.Reason); err != nil {
		return out, unconfirmed(id, err)
	}
	s.cfg.Logger.Warn("vCenter removed: all of its keys are released", "vcenter", id.String(), "keys", req.Keys, "reason", req.Reason, "by", c.by.User)
	return admin.Removed{VCenter: id.String(), Keys: req.Keys}, nil
}

// weighed reads what a change that releases keys must have.
func (s *Server) weighed(c *call, reason *string) (keystore.VCenterID, error) {
	id, err := c.vcenter()
	if *reason = strings.TrimSpace(*reason); err == nil && *reason == "" {
		err = badRequest("a reason must be given, for the journal")
	}
	if err == nil && len(*reason) > maxReason {
		err = badRequest("the reason has %d bytes; at most %d are kept", len(*reason), maxReason)
	}
	return id, err
}

// unconfirmed says what is wrong with a confirmation.
func unconfirmed(id keystore.VCenterID, err error) error {
	switch {
	case errors.Is(err, keystore.ErrConfirm):
		return &admin.Error{Code: admin.CodeRefused, Message: err.Error(), Hint: fmt.Sprintf("nothing was released; look again: keyreeve inventory show %s", id)}
	case errors.Is(err, keystore.ErrReport): // not assigned
		return unknownVCenter(id, keystore.ErrNotFound)
	}
	return err
}

// InventoryStatus adds up what the store knows of all vCenters.
func InventoryStatus(ctx context.Context, store *keystore.Store) (st admin.InventoryStatus, err error) {
	all, err := store.Inventories(ctx)
	for _, v := range all {
		st.VCenters++
		st.Keys += v.Keys
		st.Waiting += v.Waiting
		st.Missing += v.Missing
		st.Destroyed += v.Destroyed
		switch complete := second(v.Complete); {
		case complete.IsZero():
			st.Never++
		case st.Oldest.IsZero() || complete.Before(st.Oldest):
			st.Oldest = complete
		}
	}
	return st, err
}

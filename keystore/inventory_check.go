package keystore

// useWalk is the key whose pages Check is walking over: they follow each other.
type useWalk struct {
	key   UID
	vc    VCenterID
	page  int
	total uint64
	found uint64
}

// inventory is I13 and the counting for I14, for one record.
func (c *checker) inventory(id, plain []byte) {
	if len(id) == 2+len(VCenterID{}) && id[1] == vcenterRecord {
		v, err := decodeVCenter(VCenterID(id[2:]), plain)
		if err != nil {
			c.violated(13, "%s: %v", recordName(familyRecord, id), err)
		}
		c.vcenters[v.ID] = v.Keys
		return
	}
	key, vc, page, ok := splitUseID(id)
	p, err := decodeUses(plain)
	if !ok || err != nil {
		c.violated(13, "%s: %v", recordName(familyRecord, id), err)
		return
	}
	if page == 0 {
		c.endUses()
		c.used[vc]++
		c.uses = useWalk{key: key, vc: vc, total: p.total}
	} else if c.uses.page++; key != c.uses.key || vc != c.uses.vc || page != c.uses.page {
		c.violated(13, "page %d of the uses of key %s in vCenter %s has none before it", page, key, vc)
		c.uses = useWalk{key: key, vc: vc, page: page}
	}
	c.uses.found += uint64(len(p.uses))
}

func (c *checker) endUses() {
	if u := &c.uses; u.found != u.total {
		c.violated(13, "key %s has %d uses in vCenter %s, and counts %d", u.key, u.found, u.vc, u.total)
	}
	c.uses = useWalk{}
}

func (c *checker) inventories() {
	c.endUses()
	for vc, n := range c.used {
		if _, known := c.vcenters[vc]; !known {
			c.violated(13, "%d keys are used by vCenter %s, which nobody has assigned", n, vc)
		}
	}
	for vc, n := range c.vcenters {
		if c.used[vc] != n {
			c.violated(14, "vCenter %s uses %d keys, and counts %d", vc, c.used[vc], n)
		}
	}
}

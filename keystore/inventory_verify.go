package keystore

import "slices"

// maxLost is how many of the keys that are missing a vCenter's record lists.
const maxLost = 100

// verify counts the named keys that the store does not have, or has destroyed.
// They are guarded by now, so no Destroy can slip between this and accept.
func (t *taking) verify() error {
	return t.see(func(tx *Tx) error {
		v := &t.v
		v.Missing, v.Destroyed, v.Foreign, v.Lost = uint64(len(t.strange)), 0, 0, nil
		lost := slices.Clone(t.strange)
		for key, n := range t.named {
			level := tx.used
			o, err := tx.stored(key)
			switch {
			case err != nil:
				return err
			case o == nil && n.ours:
				v.Missing++
				lost = append(lost, key.String())
			case o == nil:
			case o.State.destroyed():
				v.Destroyed++
				lost = append(lost, key.String())
			case !v.owns(o.Group):
				v.Foreign++
			}
			tx.release(level)
		}
		slices.Sort(lost)
		v.Lost = lost[:min(len(lost), maxLost)]
		return nil
	})
}

// alarm says in the log what has become worse since the last report.
func (t *taking) alarm(before, now *vcenter) {
	log := t.store.cfg.Logger.With("vcenter", now.ID.String(), "name", now.Name)
	if now.Missing > 0 && now.Missing != before.Missing {
		log.Error("keystore: machines use keys that this store does not have; bring them back from a backup before a host restarts", "keys", now.Missing, "some", some(now.Lost))
	}
	if now.Destroyed > 0 && now.Destroyed != before.Destroyed {
		log.Error("keystore: machines use keys that were destroyed; bring them back: keyreeve key recover", "keys", now.Destroyed, "some", some(now.Lost))
	}
	if now.Foreign > 0 && now.Foreign != before.Foreign {
		log.Warn("keystore: the inventory names keys of groups that are not this vCenter's; they count as in use", "keys", now.Foreign)
	}
}

func some(keys []string) []string { return keys[:min(len(keys), 5)] }

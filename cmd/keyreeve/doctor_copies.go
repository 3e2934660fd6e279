package main

import "time"

func checkBackup(p *patient) []finding {
	const old = 7 * 24 * time.Hour
	b := p.latestBackup
	do := "make one: keyreeve backup create"
	switch {
	case b == nil:
		return nil // nobody to ask
	case b.problem != "":
		return one(fail("see the server's log", "the last backup failed: %s", b.problem))
	case b.verified.IsZero():
		return one(fail(do, "there is no backup that was found good"))
	case p.now.Sub(b.verified) > old:
		return one(warn(do, "the last good backup is of %s", date(b.verified)))
	case b.behind:
		return one(warn(do, "there are keys that are newer than the last good backup, of %s", date(b.verified)))
	}
	return one(ok("the last good one is of %s", date(b.verified)))
}

// checkExports looks at the copies of the journal elsewhere: they are what shows
// that somebody has changed the one here.
func checkExports(p *patient) []finding {
	const late = 15 * time.Minute
	if p.status == nil || len(p.status.Journal.Exports) == 0 {
		return nil
	}
	var found []finding
	for _, e := range p.status.Journal.Exports {
		if e.Behind > 0 && p.now.Sub(e.CaughtUp) > late {
			found = append(found, fail("see why it takes nothing; the server's log has the reason, and the rest follows by itself",
				"%s: %d entries are on this machine only; it had all on %s", e.To, e.Behind, date(e.CaughtUp)))
			continue
		}
		found = append(found, ok("%s: it keeps up", e.To))
	}
	return found
}

// checkInventories looks at what agents say of the keys in use.
func checkInventories(p *patient) []finding {
	const old = time.Hour
	if p.status == nil || p.status.Inventory.VCenters == 0 {
		return nil
	}
	i, found := p.status.Inventory, []finding(nil)
	if i.Missing > 0 {
		found = append(found, fail("keyreeve inventory list says of which vCenter; look for a backup that has them before those machines restart",
			"%d keys in use are not in this store", i.Missing))
	}
	if i.Destroyed > 0 {
		found = append(found, fail("keyreeve inventory show says which; bring them back with keyreeve key recover before the grace period ends",
			"%d keys in use are destroyed", i.Destroyed))
	}
	if i.Waiting > 0 {
		found = append(found, warn("look at them with keyreeve inventory show, then keyreeve inventory confirm", "%d keys are not named any more, and wait to be confirmed", i.Waiting))
	}
	if i.Never > 0 {
		found = append(found, warn("see that their agents run; until then nothing keeps their keys from being destroyed", "vCenters without a complete report: %d", i.Never))
	}
	if !i.Oldest.IsZero() && p.now.Sub(i.Oldest) > old {
		found = append(found, warn("see that the agent runs and sees every machine and host: keyreeve inventory list", "the oldest of the last complete reports is of %s", date(i.Oldest)))
	}
	if found == nil {
		found = one(ok("%d keys are in use, by %d vCenters", i.Keys, i.VCenters))
	}
	return found
}

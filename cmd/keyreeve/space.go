package main

import (
	"log/slog"

	"github.com/keyreeve/keyreeve/internal/config"
	"github.com/keyreeve/keyreeve/internal/durable"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/keystore"
)

func (v *vault) storeConfig(a *app, how opening, key *secret.Bytes) keystore.Config {
	space := &space{folder: v.folder, logger: how.logger}
	c := keystore.Config{
		Backend: v.backend, Journal: v.journal, RootKey: key, StoreID: v.id, Now: a.now,
		GracePeriod: how.config.GracePeriod, PurgeAtOnce: how.config.GracePeriod == 0,
		IndexedAttributes: how.config.IndexedAttributes,
		Logger:            how.logger,
		FreeSpace:         space.free, MinFree: how.config.MinFree,
	}
	if how.registry != nil {
		c.Metrics = keystore.NewMetrics(how.registry)
	}
	return c
}

const (
	reserveSize = 16 << 20
	// nearlyFull is the free space at which the reserve is given up: what is
	// left to write then is a Revoke or a Destroy.
	nearlyFull = 4 << 20
)

// space watches the disk of a data folder. Others may fill it, so a file of
// reserveSize is held there, and given up when nothing else is left. The store
// calls free from one goroutine.
type space struct {
	folder folder
	logger *slog.Logger
}

func (s *space) free() (uint64, error) {
	free, err := freeSpace(string(s.folder))
	if err != nil || free > nearlyFull {
		return free, err
	}
	released, err := durable.ReleaseReserve(durable.OS, s.folder.reserve())
	if err != nil || !released {
		return free, err
	}
	s.logger.Error("disk full: the reserve is given up so that keys can still be revoked and destroyed; free space now",
		"data", s.folder, "free", free)
	return freeSpace(string(s.folder))
}

// ensureReserve holds space back, where there is enough, and says where there is
// not even enough to make keys.
func (v *vault) ensureReserve(c config.Config, logger *slog.Logger) {
	free, err := freeSpace(string(v.folder))
	if err == nil && free < c.MinFree {
		logger.Error("disk full: less than min_free is left, so no key is made or changed but by Revoke and Destroy; free space now",
			"data", v.folder, "free", free, "min_free", c.MinFree)
	}
	if err == nil && free > c.MinFree+2*reserveSize {
		err = durable.EnsureReserve(durable.OS, v.folder.reserve(), reserveSize)
	}
	if err != nil {
		logger.Warn("no space could be held back for a full disk", "data", v.folder, "err", err)
	}
}

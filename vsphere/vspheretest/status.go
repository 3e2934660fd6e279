package vspheretest

import (
	"context"
	"crypto/x509"
	"sync"
	"time"

	"github.com/vmware/govmomi/vim25/types"
)

// connectedText is what vCenter writes of a server that answers.
const connectedText = "Connected"

// probe is one round of vCenter's status check of one server: a bare
// handshake, and then a connection with two Discover Versions.
func (v *VCenter) probe(ctx context.Context, t target) types.CryptoManagerKmipServerStatus {
	s := types.CryptoManagerKmipServerStatus{
		Name: t.name, Status: types.ManagedEntityStatusRed,
		ClientTrustServer: types.NewBool(false), ServerTrustClient: types.NewBool(false),
	}
	leaf, err := v.fetchCertificate(ctx, t)
	if err != nil {
		s.ConnectionStatus = "Not connected: " + describe(err)
		return s
	}
	now := v.options.Now()
	s.CertInfo = certificateInfo(leaf, now)
	if err := verify(t.trusted, []*x509.Certificate{leaf}, now); err != nil {
		s.ConnectionStatus = "Not connected: " + describe(err)
		return s
	}
	*s.ClientTrustServer = true
	err = v.talk(ctx, t, func(ctx context.Context, c Connection) error { return c.DiscoverVersions(ctx) })
	if err != nil {
		s.ConnectionStatus = "Not connected: " + describe(err)
		return s
	}
	*s.ServerTrustClient = true
	s.Status, s.ConnectionStatus = types.ManagedEntityStatusGreen, connectedText
	return s
}

// clusterStatus probes all servers of a provider at once.
func (v *VCenter) clusterStatus(ctx context.Context, id string) (types.CryptoManagerKmipClusterStatus, bool) {
	targets, known := v.targets(id)
	defer clearTargets(targets)
	out := types.CryptoManagerKmipClusterStatus{ClusterId: types.KeyProviderId{Id: id}, OverallStatus: types.ManagedEntityStatusRed}
	out.Servers = make([]types.CryptoManagerKmipServerStatus, len(targets))
	var wg sync.WaitGroup
	for i, t := range targets {
		wg.Go(func() { out.Servers[i] = v.probe(ctx, t) })
	}
	wg.Wait()
	green := 0
	for _, s := range out.Servers {
		if s.Status == types.ManagedEntityStatusGreen {
			green++
		}
	}
	switch {
	case green > 0 && green == len(out.Servers):
		out.OverallStatus = types.ManagedEntityStatusGreen
	case green > 0:
		out.OverallStatus = types.ManagedEntityStatusYellow
	}
	v.providers.with(id, func(c *provider) {
		out.ManagementType = c.management
		if c.identity != nil {
			out.ClientCertInfo = certificateInfo(c.identity.Leaf, v.options.Now())
		}
	})
	return out, known
}

// poll probes every provider again and again, and tells of a server that went
// from green to another colour.
func (v *VCenter) poll() {
	defer v.working.Done()
	tick := time.NewTicker(v.options.PollEvery)
	defer tick.Stop()
	was := map[string]types.ManagedEntityStatus{}
	for {
		select {
		case <-v.ctx.Done():
			return
		case <-tick.C:
		}
		for _, id := range v.providerIDs() {
			status, _ := v.clusterStatus(v.ctx, id)
			for _, s := range status.Servers {
				key := id + "\x00" + s.Name
				if was[key] == types.ManagedEntityStatusGreen && s.Status != types.ManagedEntityStatusGreen {
					v.event(v.own(), eventUnreachable, "key server "+s.Name+" of provider "+id+": "+s.ConnectionStatus)
				}
				was[key] = s.Status
			}
		}
	}
}

func (v *VCenter) providerIDs() (ids []string) {
	v.providers.mu.Lock()
	defer v.providers.mu.Unlock()
	for _, c := range v.providers.list {
		ids = append(ids, c.id)
	}
	return ids
}

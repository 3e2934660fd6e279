package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/keyreeve/keyreeve/vsphere/provider"
	"github.com/keyreeve/keyreeve/vsphere/recovery"
)

// What the settings say of a cluster's default holds; what only the lost vCenter
// had is taken over.
func TestSettingsHoldOverTheLostDefaults(t *testing.T) {
	entity := func(name string) types.ManagedObjectReference {
		return types.ManagedObjectReference{Type: "ClusterComputeResource", Value: name}
	}
	want := []provider.EntityDefault{{Entity: entity("c1"), Path: "/DC0/host/C1", Provider: "new"}}
	was := []provider.EntityDefault{{Entity: entity("c1"), Path: "/DC0/host/C1", Provider: "old"}, {Entity: entity("c2"), Path: "/DC0/host/C2", Provider: "old"}}
	if diff := cmp.Diff([]provider.EntityDefault{want[0], was[1]}, besides(want, was)); diff != "" {
		t.Error(diff)
	}
}

// Only users and proxies that the settings do not give are told of.
func TestWhatTheSettingsDoNotGive(t *testing.T) {
	had := []recovery.Provider{
		{Name: "a", Servers: []recovery.Server{{Name: "one", User: "reader", ProxyAddress: "proxy", ProxyPort: 8080}, {Name: "two", User: "reader"}, {Name: "three"}}},
		{Name: "gone", Servers: []recovery.Server{{Name: "one", User: "reader"}}},
	}
	want := []provider.Provider{{Name: "a", Servers: []provider.Server{{Name: "one", User: "reader", ProxyAddress: "proxy", ProxyPort: 8081}}}}
	if diff := cmp.Diff([]string{
		"server one of key provider a had the proxy proxy:8080, which the settings do not give it",
		"server two of key provider a had the user reader, which the settings do not give it",
	}, otherwise(had, want)); diff != "" {
		t.Error(diff)
	}
}

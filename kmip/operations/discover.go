package operations

import "github.com/keyreeve/keyreeve/kmip"

func prepareDiscoverVersions(o *Operations, c *Call) error {
	if err := c.request.discover.Decode(c.Payload, c.Version); err != nil {
		return err
	}
	return o.healthy()
}

// applyDiscoverVersions answers with the versions that both sides have, ours
// all if the client lists none, best first (section 4.26). The client's list
// says what it can, not the order of the answer.
func applyDiscoverVersions(_ *Operations, _ *Tx, c *Call) error {
	asked := c.request.discover.Versions
	answer := kmip.DiscoverVersionsResponse{Versions: kmip.Versions()}
	if len(asked) > 0 {
		both := answer.Versions[:0]
		for _, v := range answer.Versions {
			if contains(asked, v) {
				both = append(both, v)
			}
		}
		answer.Versions = both
	}
	answer.Encode(c.W, c.Version)
	return nil
}

func contains(list []kmip.Version, v kmip.Version) bool {
	for _, one := range list {
		if one == v {
			return true
		}
	}
	return false
}

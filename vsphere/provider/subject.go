package provider

import (
	"errors"
	"fmt"

	"github.com/vmware/govmomi/vim25/types"

	"github.com/keyreeve/keyreeve/certs"
)

// Subject makes what [ClientTrust] calls its Request out of a subject as RFC 4514
// writes it; "" makes none. The API has one field each for a few attributes, and
// none for others.
func Subject(text string) (*types.CryptoManagerKmipCertSignRequest, error) {
	if text == "" {
		return nil, nil
	}
	dn, err := certs.ParseDN(text)
	if err != nil {
		return nil, err
	}
	r := &types.CryptoManagerKmipCertSignRequest{}
	fields := map[string]*string{
		"CN": &r.CommonName, "O": &r.Organization, "OU": &r.OrganizationUnit, "L": &r.Locality, "ST": &r.State, "C": &r.Country, "EMAILADDRESS": &r.Email,
	}
	for name, value := range dn.All() {
		field := fields[name]
		switch {
		case field == nil:
			return nil, fmt.Errorf("subject %s: vCenter takes CN, O, OU, L, ST, C and EMAILADDRESS, and no %s", dn, name)
		case *field != "":
			return nil, fmt.Errorf("subject %s: vCenter takes one %s", dn, name)
		}
		*field = value
	}
	if r.CommonName == "" {
		return nil, errors.New("subject: want a CN")
	}
	return r, nil
}

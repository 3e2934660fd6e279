package operations

import (
	"fmt"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// serverInformation is the tag of a line in Server Information: the first of
// the range for extensions (section 9.1.3.1).
const serverInformation ttlv.Tag = 0x540001

// extension is what Query tells of that tag (section 2.1.9).
var extension = kmip.ExtensionInformation{Name: []byte("KEYREEVE INFORMATION"), Tag: int32(serverInformation), Type: int32(ttlv.TextString)}

// healthy asks whether keys can be read.
func (o *Operations) healthy() error {
	if o.config.Healthy == nil {
		return nil
	}
	if err := o.config.Healthy(); err != nil {
		return fmt.Errorf("keys cannot be read: %w", err)
	}
	return nil
}

// newQueryAnswer makes the answer to all functions. What a version does not
// have, Encode leaves out.
func (o *Operations) newQueryAnswer() kmip.QueryResponse {
	a := kmip.QueryResponse{
		VendorIdentification: []byte(o.config.VendorIdentification),
		Capabilities: []kmip.CapabilityInformation{{
			Streaming:          kmip.No,
			Asynchronous:       kmip.Yes,
			Attestation:        kmip.No,
			BatchUndo:          kmip.Yes,
			BatchContinue:      kmip.Yes,
			UnwrapMode:         kmip14.UnwrapModeNotProcessed,
			DestroyAction:      kmip14.DestroyActionUnspecified,
			ShreddingAlgorithm: kmip14.ShreddingAlgorithmUnspecified,
			RNGMode:            kmip14.RNGModeUnspecified,
		}},
		RegistrationMethods: []kmip14.ClientRegistrationMethod{
			kmip14.ClientRegistrationMethodServerPreGenerated,
			kmip14.ClientRegistrationMethodClientGenerated,
		},
	}
	for _, row := range o.rows {
		if row != nil {
			a.Operations = append(a.Operations, row.Operation)
		}
	}
	for i := range objectTypes {
		a.ObjectTypes = append(a.ObjectTypes, objectTypes[i].objectType)
	}
	for _, name := range o.config.Profiles {
		a.Profiles = append(a.Profiles, kmip.ProfileInformation{Name: name})
	}
	if lines := o.config.ServerInformation; len(lines) > 0 {
		var w ttlv.Writer
		m := w.Begin(kmip14.TagServerInformation)
		for _, line := range lines {
			w.TextString(serverInformation, line)
		}
		w.End(m)
		a.ServerInformation, _ = ttlv.Parse(w.Bytes())
	}
	return a
}

func prepareQuery(o *Operations, c *Call) error {
	if err := c.request.query.Decode(c.Payload, c.Version); err != nil {
		return err
	}
	return o.healthy()
}

// applyQuery answers the functions that were asked for, each once (section
// 4.25). Application namespaces, attestation types and validations there are
// none of.
func applyQuery(o *Operations, _ *Tx, c *Call) error {
	var answer kmip.QueryResponse
	for _, function := range c.request.query.Functions {
		switch function {
		case kmip14.QueryFunctionQueryOperations:
			answer.Operations = o.query.Operations
		case kmip14.QueryFunctionQueryObjects:
			answer.ObjectTypes = o.query.ObjectTypes
		case kmip14.QueryFunctionQueryServerInformation:
			answer.VendorIdentification = o.query.VendorIdentification
			answer.ServerInformation = o.query.ServerInformation
		case kmip14.QueryFunctionQueryExtensionList:
			if len(answer.Extensions) == 0 {
				answer.Extensions = []kmip.ExtensionInformation{{Name: extension.Name}}
			}
		case kmip14.QueryFunctionQueryExtensionMap: // the list, and more
			answer.Extensions = []kmip.ExtensionInformation{extension}
		case kmip14.QueryFunctionQueryRNGs:
			answer.RNGs = []kmip.RNGParameters{generatorIn(c.Version)}
		case kmip14.QueryFunctionQueryProfiles:
			answer.Profiles = o.query.Profiles
		case kmip14.QueryFunctionQueryCapabilities:
			answer.Capabilities = o.query.Capabilities
		case kmip14.QueryFunctionQueryClientRegistrationMethods:
			answer.RegistrationMethods = o.query.RegistrationMethods
		}
	}
	answer.Encode(c.W, c.Version)
	return nil
}

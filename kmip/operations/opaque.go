package operations

import (
	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// registerOpaqueObject takes an Opaque Object in (section 2.2.8). The server
// does not know what it is: it has neither an algorithm nor a State, and its
// Opaque Data Type is one that the client made up.
func registerOpaqueObject(c *Call) error {
	object := c.request.register.Object
	items, _ := object.Items()
	kind, hasKind := items.Take(kmip14.TagOpaqueDataType)
	data, hasData := items.Take(kmip14.TagOpaqueDataValue)
	switch {
	case !hasKind:
		return missingData("the Opaque Data Type is missing")
	case !hasData:
		return missingData("the Opaque Data Value is missing")
	case kind.Type() != ttlv.Enumeration || data.Type() != ttlv.ByteString || !items.Done():
		return invalidField("an Opaque Object holds an Opaque Data Type, an Opaque Data Value and nothing else")
	}
	c.draft.give("Digest", digest(data, kmip14.KeyFormatTypeOpaque))
	c.key.Item(object)
	c.draft.object.Value, _ = ttlv.Parse(c.key.Bytes())
	return nil
}

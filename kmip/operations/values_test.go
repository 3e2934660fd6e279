package operations_test

import (
	"fmt"
	"strings"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// aes are the attributes of an AES key, followed by more.
func aes(bits int32, more ...kmip.Attribute) []kmip.Attribute {
	return append([]kmip.Attribute{
		kmip.EnumerationAttribute("Cryptographic Algorithm", kmip14.CryptographicAlgorithmAES),
		kmip.IntegerAttribute("Cryptographic Length", bits),
		kmip.IntegerAttribute("Cryptographic Usage Mask", 12),
	}, more...)
}

func template(list []kmip.Attribute) kmip.TemplateAttribute {
	return kmip.TemplateAttribute{Attributes: list}
}

func createRequest(list []kmip.Attribute) *kmip.CreateRequest {
	return &kmip.CreateRequest{ObjectType: kmip14.ObjectTypeSymmetricKey, Template: template(list)}
}

// symmetricKey is a Symmetric Key as Register takes it.
func symmetricKey(format kmip14.KeyFormatType, material []byte, alg kmip14.CryptographicAlgorithm, length int32, more ...func(w *ttlv.Writer)) ttlv.Item {
	return object(kmip14.TagSymmetricKey, func(w *ttlv.Writer) {
		block := w.Begin(kmip14.TagKeyBlock)
		w.Enumeration(kmip14.TagKeyFormatType, uint32(format))
		if material != nil {
			kv := w.Begin(kmip14.TagKeyValue)
			if format == kmip14.KeyFormatTypeTransparentSymmetricKey {
				m := w.Begin(kmip14.TagKeyMaterial)
				w.ByteString(kmip14.TagKey, material)
				w.End(m)
			} else {
				w.ByteString(kmip14.TagKeyMaterial, material)
			}
			for _, f := range more {
				f(w)
			}
			w.End(kv)
		}
		if alg != 0 {
			w.Enumeration(kmip14.TagCryptographicAlgorithm, uint32(alg))
		}
		if length != 0 {
			w.Integer(kmip14.TagCryptographicLength, length)
		}
		w.End(block)
	})
}

func object(tag ttlv.Tag, inside func(w *ttlv.Writer)) ttlv.Item {
	var w ttlv.Writer
	m := w.Begin(tag)
	inside(&w)
	w.End(m)
	it, err := ttlv.Parse(w.Bytes())
	if err != nil {
		panic(err)
	}
	return it
}

func registerRequest(object ttlv.Item, list ...kmip.Attribute) *kmip.RegisterRequest {
	return &kmip.RegisterRequest{ObjectType: kmip14.ObjectTypeSymmetricKey, Template: template(list), Object: object}
}

func mask() kmip.Attribute { return kmip.IntegerAttribute("Cryptographic Usage Mask", 12) }

// show is a value in words.
func show(it ttlv.Item) string {
	switch it.Type() {
	case ttlv.Structure:
		var fields []string
		items, _ := it.Items()
		for {
			f, ok := items.Next()
			if !ok {
				return "{" + strings.Join(fields, " ") + "}"
			}
			fields = append(fields, show(f))
		}
	case ttlv.Integer:
		n, _ := it.Integer()
		return fmt.Sprint(n)
	case ttlv.LongInteger:
		n, _ := it.LongInteger()
		return fmt.Sprint(n)
	case ttlv.Enumeration:
		n, _ := it.Enumeration()
		return fmt.Sprint(n)
	case ttlv.Boolean:
		b, _ := it.Boolean()
		return fmt.Sprint(b)
	case ttlv.DateTime:
		n, _ := it.DateTime()
		return fmt.Sprint(n)
	case ttlv.Interval:
		n, _ := it.Interval()
		return fmt.Sprint(n)
	case ttlv.TextString:
		return string(it.Value())
	}
	return fmt.Sprintf("%x", it.Value())
}

func usageLimits(total int64) kmip.Attribute {
	return kmip.Attribute{Name: []byte("Usage Limits"), Value: object(kmip14.TagAttributeValue, func(w *ttlv.Writer) {
		w.LongInteger(kmip14.TagUsageLimitsTotal, total)
		w.Enumeration(kmip14.TagUsageLimitsUnit, uint32(kmip14.UsageLimitsUnitByte))
	})}
}

func generator(kind kmip14.RNGAlgorithm) kmip.Attribute {
	return kmip.Attribute{Name: []byte("Random Number Generator"),
		Value: object(kmip14.TagAttributeValue, func(w *ttlv.Writer) { w.Enumeration(kmip14.TagRNGAlgorithm, uint32(kind)) })}
}

func application(namespace, data string) kmip.Attribute {
	return kmip.Attribute{Name: []byte("Application Specific Information"), Value: object(kmip14.TagAttributeValue, func(w *ttlv.Writer) {
		w.TextString(kmip14.TagApplicationNamespace, namespace)
		w.TextString(kmip14.TagApplicationData, data)
	})}
}

func cryptographicParameters() kmip.Attribute {
	return kmip.Attribute{Name: []byte("Cryptographic Parameters"), Value: object(kmip14.TagAttributeValue, func(w *ttlv.Writer) {
		w.Enumeration(kmip14.TagBlockCipherMode, uint32(kmip14.BlockCipherModeCBC))
		w.Enumeration(kmip14.TagPaddingMethod, uint32(kmip14.PaddingMethodPKCS5))
		w.Enumeration(kmip14.TagHashingAlgorithm, uint32(kmip14.HashingAlgorithmSHA_1))
	})}
}

package keystore

import "github.com/keyreeve/keyreeve/kmip/ttlv"

// DecodeRecord decodes an object's record strictly, as Check does, and returns
// its encoding.
func DecodeRecord(plain []byte) (again []byte, err error) {
	var o Object
	if err := strict(&o, plain); err != nil {
		return nil, err
	}
	o.Attributes()
	var w ttlv.Writer
	o.encode(&w, o.Value)
	return w.Bytes(), nil
}

// EncodeRecord returns an object's record.
func EncodeRecord(o *Object) []byte {
	var w ttlv.Writer
	o.encode(&w, o.Value)
	return w.Bytes()
}

// DecodeLoosely decodes as a Get does, attributes too.
func DecodeLoosely(plain []byte) error {
	var o Object
	err := o.decode(plain, nil)
	o.Attributes()
	_, _ = decodeHead(plain)
	_, _, _ = decodeTombstone(plain)
	_, _ = decodeMeta(plain)
	return err
}

// Queued is how many messages wait for the writer.
func (s *Store) Queued() int { return len(s.queue) }

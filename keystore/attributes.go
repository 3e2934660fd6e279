package keystore

import "github.com/keyreeve/keyreeve/kmip/ttlv"

// attributeList is an object's attributes. What came from a record is decoded
// when somebody asks: a Get does not.
type attributeList struct {
	raw     []byte // the record's Attribute structures, one after the other
	names   *names
	decoded bool
	list    []Attribute
}

// load decodes raw once.
func (l *attributeList) load() []Attribute {
	if l.decoded {
		return l.list
	}
	l.list = l.list[:0]
	r := ttlv.NewReader(l.raw)
	for {
		it, ok := r.Next()
		if !ok {
			break
		}
		if a, err := decodeAttribute(it, l.names); err == nil { // Check says if one is not
			l.list = append(l.list, a)
		}
	}
	l.decoded = true
	return l.list
}

// Attributes returns the attributes in stored order. The slice is the
// object's own: use SetAttributes to change it.
func (o *Object) Attributes() []Attribute { return o.attributes.load() }

// Attribute returns the instance of the attribute with that index.
func (o *Object) Attribute(name string, index int32) (Attribute, bool) {
	for _, a := range o.attributes.load() {
		if a.Index == index && a.Name == name {
			return a, true
		}
	}
	return Attribute{}, false
}

// SetAttributes replaces all attributes; the slice is copied. The values must
// stay valid until Create or Put has returned.
func (o *Object) SetAttributes(list []Attribute) {
	o.attributes.list = append(o.attributes.list[:0], list...)
	o.attributes.decoded = true
}

// AddAttribute appends an instance with the next free index, which it returns.
func (o *Object) AddAttribute(name string, value ttlv.Item) (index int32) {
	list := o.attributes.load()
	for _, a := range list {
		if a.Name == name && a.Index >= index {
			index = a.Index + 1
		}
	}
	o.attributes.list = append(list, Attribute{Name: name, Index: index, Value: value})
	return index
}

// ReplaceAttribute changes the value of an instance, and tells whether there is one.
func (o *Object) ReplaceAttribute(name string, index int32, value ttlv.Item) bool {
	list := o.attributes.load()
	for i := range list {
		if list[i].Name == name && list[i].Index == index {
			list[i].Value = value
			return true
		}
	}
	return false
}

// RemoveAttribute removes an instance, and tells whether there was one. The
// indices of the others stay (specification section 4.16).
func (o *Object) RemoveAttribute(name string, index int32) bool {
	list := o.attributes.load()
	for i := range list {
		if list[i].Name == name && list[i].Index == index {
			o.attributes.list = append(list[:i], list[i+1:]...)
			return true
		}
	}
	return false
}

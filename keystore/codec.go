package keystore

import (
	"fmt"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// errRecord is wrapped when what a record holds is not what encode writes. The
// seal has been checked by then, so it was a bug that wrote it.
var errRecord = fmt.Errorf("%w: a record's content is not as written", ErrCorrupt)

// maxRecord bounds what is stored: room for the largest object that a message
// may carry, and a bound for what undo and journal have to hold.
const maxRecord = 16 << 20

// names turns bytes into strings without allocating when they were seen
// before: groups, users, clients and attribute names are few.
type names struct{ seen map[string]string }

const maxNames = 512

func (n *names) intern(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if n == nil {
		return string(b)
	}
	if s, ok := n.seen[string(b)]; ok {
		return s
	}
	if n.seen == nil || len(n.seen) >= maxNames {
		n.seen = make(map[string]string)
	}
	s := string(b)
	n.seen[s] = s
	return s
}

// dates lists the dates with their tags, in stored order.
func (o *Object) dates() [10]struct {
	tag  ttlv.Tag
	date *Date
} {
	return [...]struct {
		tag  ttlv.Tag
		date *Date
	}{
		{tagInitialDate, &o.InitialDate},
		{tagActivationDate, &o.ActivationDate},
		{tagProcessStartDate, &o.ProcessStartDate},
		{tagProtectStopDate, &o.ProtectStopDate},
		{tagDeactivationDate, &o.DeactivationDate},
		{tagDestroyDate, &o.DestroyDate},
		{tagCompromiseOccurrenceDate, &o.CompromiseOccurrenceDate},
		{tagCompromiseDate, &o.CompromiseDate},
		{tagArchiveDate, &o.ArchiveDate},
		{tagLastChangeDate, &o.LastChangeDate},
	}
}

// encode appends the object's record with that Value. What is zero is left out.
func (o *Object) encode(w *ttlv.Writer, value ttlv.Item) {
	record := w.Begin(tagRecord)
	w.Enumeration(tagObjectType, uint32(o.Type))
	w.Enumeration(tagState, uint32(o.State))
	w.TextString(tagGroup, o.Group)
	text(w, tagUser, o.User)
	text(w, tagClient, o.Client)
	if o.CryptographicAlgorithm != 0 {
		w.Enumeration(tagCryptographicAlgorithm, o.CryptographicAlgorithm)
	}
	if o.CryptographicLength != 0 {
		w.Integer(tagCryptographicLength, o.CryptographicLength)
	}
	if o.HasUsageMask {
		w.Integer(tagCryptographicUsageMask, o.CryptographicUsageMask)
	}
	if o.LeaseTime != 0 {
		w.Interval(tagLeaseTime, o.LeaseTime)
	}
	if o.Fresh {
		w.Boolean(tagFresh, true)
	}
	for _, d := range o.dates() {
		if d.date.Set {
			w.DateTime(d.tag, d.date.Unix)
		}
	}
	if o.RevocationReason != 0 {
		w.Enumeration(tagRevocationReasonCode, o.RevocationReason)
	}
	text(w, tagRevocationMessage, o.RevocationMessage)
	o.attributes.encode(w)
	if !value.IsZero() {
		mark := w.Begin(tagValue)
		w.Item(value)
		w.End(mark)
	}
	w.End(record)
}

func text(w *ttlv.Writer, tag ttlv.Tag, s string) {
	if s != "" {
		w.TextString(tag, s)
	}
}

func (l *attributeList) encode(w *ttlv.Writer) {
	if !l.decoded && len(l.raw) > 0 {
		mark := w.Begin(tagAttributes)
		w.Raw(l.raw)
		w.End(mark)
		return
	}
	if len(l.list) == 0 {
		return
	}
	all := w.Begin(tagAttributes)
	for _, a := range l.list {
		one := w.Begin(tagAttribute)
		w.TextString(tagAttributeName, a.Name)
		w.Integer(tagAttributeIndex, a.Index)
		w.ItemAs(tagAttributeValue, a.Value)
		w.End(one)
	}
	w.End(all)
}

// decode sets all of o's fields but UniqueIdentifier and Version from a
// record. It keeps views of plain, and n's strings.
func (o *Object) decode(plain []byte, n *names) error {
	record, err := ttlv.Parse(plain)
	if err != nil || record.Tag() != tagRecord || len(record.Raw()) != len(plain) {
		return errRecord
	}
	r, err := record.Items()
	if err != nil {
		return errRecord
	}
	o.attributes.names = n
	for !r.Done() {
		it, ok := r.Next()
		if !ok {
			return errRecord
		}
		if err := o.decodeField(it, n); err != nil {
			return fmt.Errorf("%w: %w", errRecord, err)
		}
	}
	return nil
}

func (o *Object) decodeField(it ttlv.Item, n *names) (err error) {
	switch it.Tag() {
	case tagObjectType:
		var v uint32
		v, err = it.Enumeration()
		o.Type = ObjectType(v)
	case tagState:
		var v uint32
		v, err = it.Enumeration()
		o.State = State(v)
	case tagGroup:
		o.Group, err = decodeText(it, n)
	case tagUser:
		o.User, err = decodeText(it, n)
	case tagClient:
		o.Client, err = decodeText(it, n)
	case tagCryptographicAlgorithm:
		o.CryptographicAlgorithm, err = it.Enumeration()
	case tagCryptographicLength:
		o.CryptographicLength, err = it.Integer()
	case tagCryptographicUsageMask:
		o.HasUsageMask = true
		o.CryptographicUsageMask, err = it.Integer()
	case tagLeaseTime:
		o.LeaseTime, err = it.Interval()
	case tagFresh:
		o.Fresh, err = it.Boolean()
	case tagRevocationReasonCode:
		o.RevocationReason, err = it.Enumeration()
	case tagRevocationMessage:
		o.RevocationMessage, err = decodeText(it, nil)
	case tagAttributes:
		o.attributes.raw, err = it.Value(), structure(it)
	case tagValue:
		if err = structure(it); err == nil {
			o.Value, err = ttlv.Parse(it.Value())
		}
	default:
		return o.decodeDate(it)
	}
	return err
}

func (o *Object) decodeDate(it ttlv.Item) (err error) {
	var d *Date
	switch it.Tag() {
	case tagInitialDate:
		d = &o.InitialDate
	case tagActivationDate:
		d = &o.ActivationDate
	case tagProcessStartDate:
		d = &o.ProcessStartDate
	case tagProtectStopDate:
		d = &o.ProtectStopDate
	case tagDeactivationDate:
		d = &o.DeactivationDate
	case tagDestroyDate:
		d = &o.DestroyDate
	case tagCompromiseOccurrenceDate:
		d = &o.CompromiseOccurrenceDate
	case tagCompromiseDate:
		d = &o.CompromiseDate
	case tagArchiveDate:
		d = &o.ArchiveDate
	case tagLastChangeDate:
		d = &o.LastChangeDate
	default:
		return fmt.Errorf("unknown field %06x", uint32(it.Tag()))
	}
	d.Set = true
	d.Unix, err = it.DateTime()
	return err
}

func structure(it ttlv.Item) error {
	_, err := it.Items()
	return err
}

func decodeText(it ttlv.Item, n *names) (string, error) {
	b, err := it.Text()
	if err != nil {
		return "", err
	}
	return n.intern(b), nil
}

func decodeAttribute(it ttlv.Item, n *names) (a Attribute, err error) {
	r, err := it.Items()
	if err != nil || it.Tag() != tagAttribute {
		return a, errRecord
	}
	name, ok1 := r.Take(tagAttributeName)
	index, ok2 := r.Take(tagAttributeIndex)
	value, ok3 := r.Take(tagAttributeValue)
	if !ok1 || !ok2 || !ok3 || !r.Done() {
		return a, errRecord
	}
	if a.Name, err = decodeText(name, n); err != nil {
		return a, err
	}
	a.Index, err = index.Integer()
	a.Value = value
	return a, err
}

// reset clears o for the next use; the attribute list keeps its memory.
func (o *Object) reset() {
	list := o.attributes.list
	clear(list)
	*o = Object{attributes: attributeList{list: list[:0]}}
}

package keystore

import (
	"encoding/binary"
	"fmt"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// Inventory records, among those of KindInventory:
//
//	v ‖ vCenter:16                    the vCenter: its agent, its last report
//	u ‖ key:16 ‖ vCenter:16 ‖ page:2  who uses the key there
//
// A key is in use exactly while it has a page 0. The key comes first so that
// Destroy finds all of them in one step, however many machines there are.
const (
	vcenterRecord = 'v'
	useRecord     = 'u'
	usePrefix     = 1 + 1 + len(UID{}) // kind, 'u' and key
	usesPerPage   = 50                 // so that what Destroy opens stays small
)

// vcenter is a vCenter's record.
type vcenter struct {
	VCenterInfo
	instance UID
	retired  []UID // installations of the agent before that one
	digest   [32]byte
	epoch    uint64 // complete reports taken
	run      uint64 // the epoch with which the last unbroken row of them began
	since    int64  // when the window of releases began
	base     uint64 // keys in use then
	freed    uint64 // released since
	version  uint64
}

func vcenterID(id VCenterID) []byte {
	return append([]byte{byte(KindInventory), vcenterRecord}, id[:]...)
}

func useID(key UID, vc VCenterID, page int) []byte {
	id := append(append([]byte{byte(KindInventory), useRecord}, key[:]...), vc[:]...)
	return binary.BigEndian.AppendUint16(id, uint16(page))
}

// splitUseID takes a useID apart; ok is false if it is none.
func splitUseID(id []byte) (key UID, vc VCenterID, page int, ok bool) {
	if len(id) != usePrefix+len(vc)+2 || id[0] != byte(KindInventory) || id[1] != useRecord {
		return key, vc, 0, false
	}
	copy(key[:], id[2:])
	copy(vc[:], id[usePrefix:])
	return key, vc, int(binary.BigEndian.Uint16(id[usePrefix+len(vc):])), true
}

func (v *vcenter) numbers() [11]struct {
	tag   ttlv.Tag
	value *uint64
} {
	return [...]struct {
		tag   ttlv.Tag
		value *uint64
	}{
		{tagReportNumber, &v.Number}, {tagReportEntries, &v.Entries}, {tagUsedKeys, &v.Keys}, {tagWaitingKeys, &v.Waiting},
		{tagMissingKeys, &v.Missing}, {tagDestroyedKeys, &v.Destroyed}, {tagForeignKeys, &v.Foreign}, {tagEpoch, &v.epoch},
		{tagRun, &v.run}, {tagBase, &v.base}, {tagFreed, &v.freed},
	}
}

func (v *vcenter) times() [5]struct {
	tag   ttlv.Tag
	value *int64
} {
	return [...]struct {
		tag   ttlv.Tag
		value *int64
	}{
		{tagAssigned, &v.Assigned}, {tagReportTime, &v.Time}, {tagReceived, &v.Received}, {tagComplete, &v.Complete}, {tagSince, &v.since},
	}
}

func (v *vcenter) lists() [4]struct {
	tag  ttlv.Tag
	list *[]string
} {
	return [...]struct {
		tag  ttlv.Tag
		list *[]string
	}{{tagGroup, &v.Groups}, {tagPartial, &v.Reasons}, {tagProvider, &v.Providers}, {tagLostKey, &v.Lost}}
}

func (v *vcenter) encode(w *ttlv.Writer) {
	all := w.Begin(tagVCenter)
	text(w, tagUseName, v.Name)
	text(w, tagAgent, v.Agent)
	w.Boolean(tagRemoving, v.Removing)
	for _, n := range v.numbers() {
		w.LongInteger(n.tag, int64(*n.value))
	}
	for _, t := range v.times() {
		w.DateTime(t.tag, *t.value)
	}
	for _, l := range v.lists() {
		for _, s := range *l.list {
			w.TextString(l.tag, s)
		}
	}
	w.ByteString(tagInstance, v.instance[:])
	w.ByteString(tagDigest, v.digest[:])
	for _, u := range v.retired {
		w.ByteString(tagRetired, u[:])
	}
	w.End(all)
}

func decodeVCenter(id VCenterID, plain []byte) (v vcenter, err error) {
	v.ID = id
	it, err := ttlv.Parse(plain)
	if err != nil || it.Tag() != tagVCenter {
		return v, errRecord
	}
	r, err := it.Items()
	if err != nil {
		return v, errRecord
	}
	for !r.Done() {
		it, ok := r.Next()
		if !ok {
			return v, errRecord
		}
		if err := v.decodeField(it); err != nil {
			return v, fmt.Errorf("%w: %w", errRecord, err)
		}
	}
	return v, nil
}

func (v *vcenter) decodeField(it ttlv.Item) (err error) {
	tag := it.Tag()
	for _, n := range v.numbers() {
		if n.tag == tag {
			i, err := it.LongInteger()
			*n.value = uint64(i)
			return err
		}
	}
	for _, t := range v.times() {
		if t.tag == tag {
			*t.value, err = it.DateTime()
			return err
		}
	}
	for _, l := range v.lists() {
		if l.tag == tag {
			s, err := decodeText(it, nil)
			*l.list = append(*l.list, s)
			return err
		}
	}
	switch tag {
	case tagUseName:
		v.Name, err = decodeText(it, nil)
	case tagAgent:
		v.Agent, err = decodeText(it, nil)
	case tagRemoving:
		v.Removing, err = it.Boolean()
	case tagInstance:
		return decodeArray(it, v.instance[:])
	case tagDigest:
		return decodeArray(it, v.digest[:])
	case tagRetired:
		v.retired = append(v.retired, UID{})
		return decodeArray(it, v.retired[len(v.retired)-1][:])
	default:
		return fmt.Errorf("unknown field %06x", uint32(tag))
	}
	return err
}

func decodeArray(it ttlv.Item, to []byte) error {
	b, err := it.Bytes()
	if err == nil && copy(to, b) != len(to) || len(b) > len(to) {
		err = errRecord
	}
	return err
}

// usePage is one page of a key's uses. Only page 0 has what is said of all.
type usePage struct {
	absent uint64 // the epoch of the first complete report that did not name the key; 0: the last one did
	total  uint64
	uses   []KeyUse
}

func pagesOf(uses int) int { return max(1, (uses+usesPerPage-1)/usesPerPage) }

// encodeUses appends a page of the uses.
func encodeUses(w *ttlv.Writer, uses []KeyUse, page int, absent uint64) {
	all := w.Begin(tagUses)
	if page == 0 {
		w.LongInteger(tagAbsent, int64(absent))
		w.LongInteger(tagTotal, int64(len(uses)))
	}
	for _, u := range uses[page*usesPerPage : min(len(uses), (page+1)*usesPerPage)] {
		u.encode(w)
	}
	w.End(all)
}

func (u *KeyUse) encode(w *ttlv.Writer) {
	one := w.Begin(tagUse)
	w.Enumeration(tagUseKind, uint32(u.Kind))
	for _, f := range u.texts() {
		text(w, f.tag, *f.value)
	}
	w.End(one)
}

func (u *KeyUse) texts() [5]struct {
	tag   ttlv.Tag
	value *string
} {
	return [...]struct {
		tag   ttlv.Tag
		value *string
	}{{tagUseName, &u.Name}, {tagUseDisk, &u.Disk}, {tagUseUUID, &u.UUID}, {tagUseBIOS, &u.BIOS}, {tagProvider, &u.Provider}}
}

func decodeUses(plain []byte) (p usePage, err error) {
	it, err := ttlv.Parse(plain)
	if err != nil || it.Tag() != tagUses {
		return p, errRecord
	}
	r, err := it.Items()
	if err != nil {
		return p, errRecord
	}
	for !r.Done() {
		it, ok := r.Next()
		if !ok {
			return p, errRecord
		}
		if err := p.decodeField(it); err != nil {
			return p, fmt.Errorf("%w: %w", errRecord, err)
		}
	}
	return p, nil
}

func (p *usePage) decodeField(it ttlv.Item) error {
	switch it.Tag() {
	case tagAbsent:
		n, err := it.LongInteger()
		p.absent = uint64(n)
		return err
	case tagTotal:
		n, err := it.LongInteger()
		p.total = uint64(n)
		return err
	case tagUse:
		u, err := decodeUse(it)
		p.uses = append(p.uses, u)
		return err
	}
	return fmt.Errorf("unknown field %06x", uint32(it.Tag()))
}

func decodeUse(it ttlv.Item) (u KeyUse, err error) {
	r, err := it.Items()
	if err != nil {
		return u, err
	}
	kind, _ := r.Take(tagUseKind)
	k, err := kind.Enumeration()
	if err != nil {
		return u, err
	}
	u.Kind = UseKind(k)
	for _, f := range u.texts() {
		if it, ok := r.Take(f.tag); ok {
			if *f.value, err = decodeText(it, nil); err != nil {
				return u, err
			}
		}
	}
	if !r.Done() {
		return u, errRecord
	}
	return u, nil
}

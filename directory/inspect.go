package directory

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"strings"

	"sallyport/store"
)

// errRecord is what is wrong with a record of this package.
var errRecord = errors.New("the record is not what was written")

// Inspection looks at every record of one revision. What is wrong with a record may
// only deny somebody, and would be seen by nobody else.
type Inspection struct {
	users, groups map[[idSize]byte]bool
	names         int               // of users
	counts        map[string]string // as stored
	members       map[[idSize]byte]edges
	suspended     [][idSize]byte
	counted       map[[idSize]byte]int // members of each group as its record says
	seed          maphash.Seed
}

// edges are the members of one group: as they are stored, and as their mirror is.
type edges struct {
	direct, mirror       int
	directSum, mirrorSum uint64 // of the hashes of the members
}

// NewInspection returns an inspection that has seen no record.
func NewInspection() *Inspection {
	return &Inspection{users: map[[idSize]byte]bool{}, groups: map[[idSize]byte]bool{}, counts: map[string]string{},
		members: map[[idSize]byte]edges{}, counted: map[[idSize]byte]int{}, seed: maphash.MakeSeed()}
}

// inspectors are what looks at the records below each prefix.
var inspectors = map[string]func(i *Inspection, rest, value []byte) error{
	userKeys:      (*Inspection).user,
	groupKeys:     (*Inspection).group,
	memberKeys:    (*Inspection).member,
	memberOfKeys:  (*Inspection).memberOf,
	nameKeys:      func(i *Inspection, _, value []byte) error { i.names++; return isID(value) },
	externalKeys:  func(_ *Inspection, rest, value []byte) error { return sharedID(rest, value) },
	mailKeys:      func(_ *Inspection, rest, value []byte) error { return sharedID(rest, value) },
	displayKeys:   func(_ *Inspection, rest, value []byte) error { return sharedID(rest, value) },
	groupNames:    func(_ *Inspection, _, value []byte) error { return isID(value) },
	groupExts:     func(_ *Inspection, _, value []byte) error { return isID(value) },
	suspendedKeys: (*Inspection).suspension,
	absentKeys: func(_ *Inspection, rest, value []byte) error {
		a := Absent{}
		if json.Unmarshal(value, &a) != nil || a.ID != hex.EncodeToString(rest) || isID([]byte(a.ID)) != nil {
			return errRecord
		}
		return nil
	},
	endedKeys: func(_ *Inspection, rest, _ []byte) error {
		if len(rest) <= 8 {
			return errRecord
		}
		return nil
	},
	historyKeys: func(_ *Inspection, rest, value []byte) error {
		if historyKeys+string(rest) == string(historyHeadKey) {
			if json.Unmarshal(value, &historyHead{}) != nil {
				return errRecord
			}
			return nil
		}
		if _, err := decodePastChange(value); err != nil || len(rest) != 8 {
			return errRecord
		}
		return nil
	},
	recordKeys: func(_ *Inspection, rest, value []byte) error {
		_, err := decodeRecord(store.Entry{Key: append([]byte(recordKeys), rest...), Value: value})
		return err
	},
	unrecordedKeys: func(_ *Inspection, rest, value []byte) error {
		_, _, err := decodeUnrecorded(store.Entry{Key: append([]byte(unrecordedKeys), rest...), Value: value})
		return err
	},
	"newest/": func(_ *Inspection, _, value []byte) error {
		if json.Unmarshal(value, &newest{}) != nil {
			return errRecord
		}
		return nil
	},
}

// Record looks at one record. It reports whether the record belongs to this package,
// and what is wrong with it.
func (i *Inspection) Record(e store.Entry) (ours bool, err error) {
	slash := bytes.IndexByte(e.Key, '/') + 1
	prefix, rest := string(e.Key[:slash]), e.Key[slash:]
	if what := string(rest); prefix == countKeys && (what == "users" || what == "groups") {
		i.counts[what] = string(e.Value)
		return true, nil
	}
	look, ours := inspectors[prefix]
	if !ours {
		return false, nil
	}
	return true, look(i, rest, e.Value)
}

func (i *Inspection) user(rest, value []byte) error {
	u := User{}
	if len(rest) != idSize || decodeUser(value, &u) != nil || u.ID != hex.EncodeToString(rest) || u.UserName == "" {
		return errRecord
	}
	i.users[[idSize]byte(rest)] = true
	return nil
}

func (i *Inspection) group(rest, value []byte) error {
	g := Group{}
	if len(rest) != idSize || json.Unmarshal(value, &g) != nil || g.ID != hex.EncodeToString(rest) {
		return errRecord
	}
	i.groups[[idSize]byte(rest)] = true
	i.counted[[idSize]byte(rest)] = g.Members
	return nil
}

func (i *Inspection) member(rest, value []byte) error {
	if len(rest) != 2*idSize || len(value) > 0 && string(value) != isGroup {
		return errRecord
	}
	e := i.members[[idSize]byte(rest)]
	e.direct++
	e.directSum += maphash.Bytes(i.seed, rest[idSize:])
	i.members[[idSize]byte(rest)] = e
	return nil
}

func (i *Inspection) memberOf(rest, value []byte) error {
	if len(rest) != 2*idSize || len(value) > 0 && string(value) != isGroup {
		return errRecord
	}
	group := [idSize]byte(rest[idSize:])
	e := i.members[group]
	e.mirror++
	e.mirrorSum += maphash.Bytes(i.seed, rest[:idSize])
	i.members[group] = e
	return nil
}

func (i *Inspection) suspension(rest, value []byte) error {
	if len(rest) != idSize || json.Unmarshal(value, &Suspension{}) != nil {
		return errRecord
	}
	i.suspended = append(i.suspended, [idSize]byte(rest))
	return nil
}

// Finish returns what does not fit together, after the last record.
func (i *Inspection) Finish() (faults []error) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	for what, n := range map[string]int{"users": len(i.users), "groups": len(i.groups)} {
		if stored := i.counts[what]; stored != fmt.Sprint(n) && (stored != "" || n > 0) {
			fault("%s%s is %q, and there are %d", countKeys, what, stored, n)
		}
	}
	if i.names != len(i.users) {
		fault("there are %d users and %d names of users", len(i.users), i.names)
	}
	for _, id := range i.suspended {
		if !i.users[id] {
			fault("a suspension is of user %x, who does not exist", id)
		}
	}
	for id, e := range i.members {
		switch {
		case !i.groups[id]:
			fault("%d memberships are in group %x, which does not exist", e.direct, id)
		case e.direct != e.mirror || e.directSum != e.mirrorSum:
			fault("of group %x, %d members and %d memberships are stored, or not the same", id, e.direct, e.mirror)
		}
	}
	for id, n := range i.counted {
		if e := i.members[id]; e.direct != n {
			fault("group %x says that it has %d members, and %d are stored", id, n, e.direct)
		}
	}
	return faults
}

// isID returns nil for the text of an id of ours.
func isID(value []byte) error {
	if _, err := hex.DecodeString(string(value)); err != nil || len(value) != 2*idSize {
		return errRecord
	}
	return nil
}

// sharedID returns nil for a record of an index whose keys end with the id in the value.
func sharedID(rest, value []byte) error {
	if !strings.HasSuffix(string(rest), "\x00"+string(value)) {
		return errRecord
	}
	return isID(value)
}

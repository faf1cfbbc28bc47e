package directory

import (
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"
	"time"
)

// A record of the history at history/REVISION is
//
//	format  1 byte
//	time    8 bytes, nanoseconds since 1970
//	cause   kind, name and id, each behind its length
//	former  what each changed key held before the change
//
// and each of the last is
//
//	head    1 byte: the prefix of the key, what the key held, and whether the group is that of the one before
//	ids     16 bytes each: user, group, member and group; without a group that is the one before
//	delta   behind its length: makes the former value from the new one; only if there was a value
//
// A break, by [PutBreak], has a format of its own, and is
//
//	format  1 byte
//	time    8 bytes
//	known   8 bytes: until when what came before is known
const (
	historyFormat = 1
	breakFormat   = 2
)

// historyPrefixes are the prefixes of the keys whose changes the history has. Their
// positions are stored.
var historyPrefixes = [...]string{userKeys, groupKeys, memberOfKeys, suspendedKeys}

const (
	headPrefix = 0b00011 // position in historyPrefixes
	headState  = 0b01100
	headSame   = 0b10000 // the group is that of the former before

	headStateShift = 2
)

const memberOfPosition = 2

// Cause is who made a change of the directory.
type Cause struct {
	Kind string `json:"kind,omitempty"` // token, or the kind of an actor such as operator; "" if it was not said
	Name string `json:"name,omitempty"` // of the token or the actor
	ID   string `json:"id,omitempty"`   // of the token
}

// maxCause bounds each text of a cause in the history, in bytes.
const maxCause = 256

func (c Cause) bounded() Cause {
	for _, text := range []*string{&c.Kind, &c.Name, &c.ID} {
		if len(*text) > maxCause {
			*text = strings.ToValidUTF8((*text)[:maxCause], "")
		}
	}
	return c
}

// former is what a key held before a change.
type former struct {
	position  int // of the prefix in historyPrefixes
	id, group [idSize]byte
	state     valueState
	delta     []byte // from the value that the change left
}

// formerOf returns the former without its value for a key, if the history has such keys.
func formerOf(key []byte) (f former, ok bool) {
	for position, prefix := range historyPrefixes {
		rest, ok := strings.CutPrefix(string(key), prefix)
		switch {
		case !ok:
			continue
		case position == memberOfPosition && len(rest) == 2*idSize:
			return former{position: position, id: [idSize]byte([]byte(rest)), group: [idSize]byte([]byte(rest[idSize:]))}, true
		case position != memberOfPosition && len(rest) == idSize:
			return former{position: position, id: [idSize]byte([]byte(rest))}, true
		}
	}
	return former{}, false
}

// key is the inverse of formerOf.
func (f *former) key() string {
	if f.position == memberOfPosition {
		return historyPrefixes[f.position] + string(f.id[:]) + string(f.group[:])
	}
	return historyPrefixes[f.position] + string(f.id[:])
}

// memberID and groupID return the ids of a membership, as text.
func (f *former) memberID() string { return hex.EncodeToString(f.id[:]) }
func (f *former) groupID() string  { return hex.EncodeToString(f.group[:]) }

// compareFormers orders by prefix, then by group, then by id.
func compareFormers(a, b former) int {
	if a.position != b.position {
		return a.position - b.position
	}
	if n := slices.Compare(a.group[:], b.group[:]); n != 0 {
		return n
	}
	return slices.Compare(a.id[:], b.id[:])
}

// pastChange is one decoded record of the history.
type pastChange struct {
	revision uint64
	time     time.Time
	cause    Cause
	formers  []former

	isBreak bool
	known   time.Time // of a break
}

// encode returns the record. The formers must be sorted.
func (c *pastChange) encode() []byte {
	to := []byte{historyFormat}
	to = binary.BigEndian.AppendUint64(to, uint64(c.time.UnixNano()))
	for _, text := range []string{c.cause.Kind, c.cause.Name, c.cause.ID} {
		to = appendText(to, []byte(text))
	}
	for i := range c.formers {
		f := &c.formers[i]
		head := byte(f.position) | byte(f.state)<<headStateShift //nolint:gosec // a position is less than 4
		same := f.position == memberOfPosition && i > 0 && c.formers[i-1].position == memberOfPosition && c.formers[i-1].group == f.group
		if same {
			head |= headSame
		}
		to = append(append(to, head), f.id[:]...)
		if f.position == memberOfPosition && !same {
			to = append(to, f.group[:]...)
		}
		if f.state == whole {
			to = appendText(to, f.delta)
		}
	}
	return to
}

// encodeBreak returns the record of a break.
func encodeBreak(at, known time.Time) []byte {
	to := binary.BigEndian.AppendUint64([]byte{breakFormat}, uint64(at.UnixNano()))
	return binary.BigEndian.AppendUint64(to, uint64(known.UnixNano()))
}

// cutTime returns the time at the beginning of data, which has at least 8 bytes, and what follows.
func cutTime(data []byte) (t time.Time, rest []byte) {
	return time.Unix(0, int64(binary.BigEndian.Uint64(data))).UTC(), data[8:] //nolint:gosec // the inverse of encode
}

// decodePastTime returns the time and the cause in a record, and the rest of it.
func decodePastTime(record []byte) (c pastChange, rest []byte, ok bool) {
	switch {
	case len(record) == 17 && record[0] == breakFormat:
		c.isBreak = true
		c.time, rest = cutTime(record[1:])
		c.known, rest = cutTime(rest)
		return c, rest, true
	case len(record) < 9 || record[0] != historyFormat:
		return c, nil, false
	}
	c.time, rest = cutTime(record[1:])
	for _, into := range []*string{&c.cause.Kind, &c.cause.Name, &c.cause.ID} {
		var text []byte
		if text, rest, ok = cutText(rest); !ok {
			return c, nil, false
		}
		*into = string(text)
	}
	return c, rest, true
}

// decodePastChange is the inverse of encode.
func decodePastChange(record []byte) (c pastChange, err error) {
	c, rest, ok := decodePastTime(record)
	for ok && len(rest) > 0 {
		var f former
		if f, rest, ok = cutFormer(rest, c.formers); ok {
			c.formers = append(c.formers, f)
		}
	}
	if !ok {
		return c, errRecord
	}
	return c, nil
}

// cutFormer returns the first former in data, which comes after those before, and what
// follows.
func cutFormer(data []byte, before []former) (f former, rest []byte, ok bool) {
	if len(data) < 1+idSize {
		return f, nil, false
	}
	head := data[0]
	f.position, f.state = int(head&headPrefix), valueState(head&headState>>headStateShift)
	if head&^(headPrefix|headState|headSame) != 0 || f.state > unknown {
		return f, nil, false
	}
	f.id, rest = [idSize]byte(data[1:]), data[1+idSize:]
	switch isMember := f.position == memberOfPosition; {
	case head&headSame != 0:
		if !isMember || len(before) == 0 || before[len(before)-1].position != memberOfPosition {
			return f, nil, false
		}
		f.group = before[len(before)-1].group
	case isMember:
		if len(rest) < idSize {
			return f, nil, false
		}
		f.group, rest = [idSize]byte(rest), rest[idSize:]
	}
	if f.state == whole {
		f.delta, rest, ok = cutText(rest)
		return f, rest, ok
	}
	return f, rest, true
}

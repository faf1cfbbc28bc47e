package directory

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// A delta says how to make one text from another: it alternates between a text that is
// inserted, behind its length, and a piece of the other text, as length and offset. All
// numbers are varints. The empty delta makes the empty text.

// deltaBlock is the shortest piece that is looked for, in bytes.
const deltaBlock = 8

// newDelta returns the delta that makes text from base.
func newDelta(base, text []byte) (delta []byte) {
	blocks := blocksOf(base)
	inserted := 0 // where the text begins that no piece covers
	for i := 0; i+deltaBlock <= len(text); {
		at, ok := blocks[[deltaBlock]byte(text[i:])]
		if !ok {
			i++
			continue
		}
		start, from := i, at
		for start > inserted && from > 0 && text[start-1] == base[from-1] {
			start, from = start-1, from-1
		}
		length := commonPrefix(text[start:], base[from:])
		delta = appendText(delta, text[inserted:start])
		delta = binary.AppendUvarint(delta, uint64(length)) //nolint:gosec // not negative
		delta = binary.AppendUvarint(delta, uint64(from))   //nolint:gosec // not negative
		i = start + length
		inserted = i
	}
	if inserted < len(text) {
		delta = appendText(delta, text[inserted:])
	}
	return delta
}

// blocksOf returns where each block of base is, the first of equal ones.
func blocksOf(base []byte) map[[deltaBlock]byte]int {
	blocks := make(map[[deltaBlock]byte]int, len(base)/deltaBlock)
	for i := 0; i+deltaBlock <= len(base); i += deltaBlock {
		block := [deltaBlock]byte(base[i:])
		if _, ok := blocks[block]; !ok {
			blocks[block] = i
		}
	}
	return blocks
}

func commonPrefix(a, b []byte) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// appendText appends text behind its length.
func appendText(to, text []byte) []byte {
	return append(binary.AppendUvarint(to, uint64(len(text))), text...)
}

// maxUndone bounds the length of a text that a delta makes: more than the longest record.
const maxUndone = 64 << 20

// applyDelta returns the text that delta makes from base. ok is false if delta cannot be
// one of base.
func applyDelta(base, delta []byte) (text []byte, ok bool) {
	text = []byte{}
	for len(delta) > 0 {
		var inserted []byte
		if inserted, delta, ok = cutText(delta); !ok {
			return nil, false
		}
		text = append(text, inserted...)
		if len(delta) == 0 {
			break
		}
		length, n := binary.Uvarint(delta)
		if n <= 0 {
			return nil, false
		}
		from, m := binary.Uvarint(delta[n:])
		if m <= 0 || from > uint64(len(base)) || length > uint64(len(base))-from || uint64(len(text))+length > maxUndone {
			return nil, false
		}
		text = append(text, base[from:from+length]...)
		delta = delta[n+m:]
	}
	return text, true
}

// cutText is the inverse of appendText. It also returns what follows.
func cutText(data []byte) (text, rest []byte, ok bool) {
	length, n := binary.Uvarint(data)
	if n <= 0 || length > uint64(len(data)-n) { //nolint:gosec // n is at most the length
		return nil, nil, false
	}
	end := n + int(length) //nolint:gosec // it is at most len(data)
	return data[n:end], data[end:], true
}

// sameValue reports whether two values are equal.
func sameValue(a, b value) bool { return a.state == b.state && bytes.Equal(a.bytes, b.bytes) }

// value is what a key holds.
type value struct {
	state valueState
	bytes []byte // of a whole value
}

type valueState byte

const (
	absent  valueState = iota // no record has the key
	whole                     // the bytes are known
	unknown                   // the record was damaged
)

func wholeValue(b []byte) value { return value{whole, slices.Clip(b)} }

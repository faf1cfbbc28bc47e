package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math"
)

// head is what the chain needs of a line. Its slices are parts of the line.
type head struct {
	seq    uint64
	prev   []byte
	hash   []byte
	fields []byte // what the hash covers
}

// The parts of a line that [link.append] writes around what the chain needs.
const (
	seqMark  = `{"seq":`
	prevMark = `,"prev":"`
	endMark  = `"}`
	hashSize = 2 * sha256.Size // in hexadecimal
)

// parseHead reads the number, which begins a line, and the two hashes, which end it. It accepts only what link.append
// writes: nothing can be put behind the hash, which does not cover it.
func parseHead(text []byte) (h head, ok bool) {
	rest, ok := bytes.CutSuffix(text, []byte(endMark))
	if !ok {
		return h, false
	}
	if rest, h.hash, ok = cutHash(rest, hashMark); !ok {
		return h, false
	}
	h.fields = rest
	rest, ok = bytes.CutSuffix(rest, []byte(`"`))
	if !ok {
		return h, false
	}
	if before, ok := bytes.CutSuffix(rest, []byte(prevMark)); ok { // the first line of a record has none
		rest = before
	} else if rest, h.prev, ok = cutHash(rest, prevMark); !ok {
		return h, false
	}
	rest, ok = bytes.CutPrefix(rest, []byte(seqMark))
	if !ok {
		return h, false
	}
	h.seq, ok = parseNumber(rest)
	return h, ok
}

// cutHash cuts a hash and the mark before it from the end of text.
func cutHash(text []byte, mark string) (before, hash []byte, ok bool) {
	if len(text) < hashSize {
		return nil, nil, false
	}
	hash = text[len(text)-hashSize:]
	for _, c := range hash {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return nil, nil, false
		}
	}
	before, ok = bytes.CutSuffix(text[:len(text)-hashSize], []byte(mark))
	return before, hash, ok
}

// parseNumber reads a positive number that a comma follows.
func parseNumber(text []byte) (n uint64, ok bool) {
	for i, c := range text {
		switch {
		case c == ',':
			return n, i > 0
		case c < '0' || c > '9' || i == 0 && c == '0' || n > (math.MaxUint64-9)/10:
			return 0, false
		}
		n = 10*n + uint64(c-'0')
	}
	return 0, false
}

// checkLine reads the head of a line and compares the line with its hash. It returns what is wrong with it, or "".
func checkLine(text []byte) (h head, problem string) {
	h, ok := parseHead(text)
	if !ok {
		return h, formProblem(text)
	}
	sum := sha256.Sum256(h.fields)
	var hash [hashSize]byte
	hex.Encode(hash[:], sum[:])
	if !bytes.Equal(hash[:], h.hash) {
		return h, "was changed: its hash does not match"
	}
	return h, ""
}

// formProblem says what is wrong with a line that does not have the form of one.
func formProblem(text []byte) string {
	if !bytes.Contains(text, []byte(hashMark)) {
		return "has no hash"
	}
	var any json.RawMessage
	if err := json.Unmarshal(text, &any); err != nil {
		return "is not JSON: " + err.Error()
	}
	return "was changed: it is not in the form in which lines are written"
}

// kindEnd is where the kind of an event ends in its line, at the latest: before it are the number and the time.
const kindEnd = 128

// isKind reports whether a line is of a kind. Text in a line cannot be taken for it, since its quotation marks are escaped.
func isKind(line []byte, kind Kind) bool {
	return bytes.Contains(line[:min(len(line), kindEnd)], []byte(`,"kind":"`+kind+`"`))
}

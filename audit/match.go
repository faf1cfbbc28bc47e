package audit

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// matcher finds texts by the algorithm of Wu and Manber: the last four bytes of a window say how far it may move, since no
// text has them further to its end. Bytes are compared with bit 5 set, which makes letters of ASCII the same in both cases.
type matcher struct {
	kinds    map[string]bool
	patterns [][]byte // of one length, folded
	size     int      // that length; 0: there are no texts
	shifts   [1 << shiftBits]uint8
}

const (
	shiftBits  = 13
	blockSize  = 4   // bytes that a shift is chosen by
	maxPattern = 200 // bytes of a text that are compared; a shift is a byte
	foldBit    = 0x20
)

func newMatcher(s Search) (*matcher, error) {
	m := &matcher{kinds: map[string]bool{}}
	for _, kind := range s.Kinds {
		m.kinds[string(kind)] = true
	}
	for _, t := range s.Texts {
		for _, value := range []string{t.Value, strings.ToLower(t.Value), strings.ToUpper(t.Value)} {
			pattern := t.pattern(value)
			if len(pattern) < blockSize {
				return nil, fmt.Errorf("the text %q is too short to be looked for without its key", t.Value)
			}
			if !slices.ContainsFunc(m.patterns, func(p []byte) bool { return bytes.Equal(p, pattern) }) {
				m.patterns = append(m.patterns, pattern)
			}
		}
	}
	m.size = maxPattern
	for _, p := range m.patterns {
		m.size = min(m.size, len(p))
	}
	if len(m.patterns) == 0 {
		m.size = 0
		return m, nil
	}
	for i := range m.shifts {
		m.shifts[i] = uint8(m.size - blockSize + 1) //nolint:gosec // at most maxPattern
	}
	for i, p := range m.patterns {
		p = p[len(p)-m.size:] // its end is what is special about it
		m.patterns[i] = p
		for end := blockSize; end <= m.size; end++ {
			shift := &m.shifts[blockHash(binary.LittleEndian.Uint32(p[end-blockSize:]))]
			*shift = min(*shift, uint8(m.size-end)) //nolint:gosec // at most maxPattern
		}
	}
	return m, nil
}

// pattern returns how a value is written in a line, folded.
func (t Text) pattern(value string) []byte {
	text := encodeText(value)
	if t.Key == "" {
		text = text[1 : len(text)-1]
	} else {
		text = append(append(encodeText(t.Key), ':'), text...)
	}
	for i := range text {
		text[i] |= foldBit
	}
	return text
}

// blockHash returns where the shift of a folded block is.
func blockHash(block uint32) uint32 {
	return block * 0x9E3779B1 >> (32 - shiftBits)
}

// eachMatch calls take with where a line begins that has a text. take returns where the next line begins.
func (m *matcher) eachMatch(text []byte, take func(begin int) (next int)) {
	if m.size == 0 {
		return
	}
	for end := m.size; end <= len(text); {
		block := binary.LittleEndian.Uint32(text[end-blockSize:]) | 0x20202020
		if shift := m.shifts[blockHash(block)]; shift > 0 {
			end += int(shift)
			continue
		}
		if !m.has(text[end-m.size : end]) {
			end++
			continue
		}
		end = take(bytes.LastIndexByte(text[:end], '\n')+1) + m.size
	}
}

// has reports whether a window is one of the patterns.
func (m *matcher) has(window []byte) bool {
	return slices.ContainsFunc(m.patterns, func(p []byte) bool {
		for i, c := range window {
			if c|foldBit != p[i] {
				return false
			}
		}
		return true
	})
}

// eachOf calls take with where each line begins that is of one of the kinds, or has a text.
func (m *matcher) eachOf(text []byte, take func(begin int) (next int)) {
	for begin := 0; begin < len(text); {
		length := bytes.IndexByte(text[begin:], '\n')
		line := text[begin : begin+length]
		wanted := m.kinds[kindOf(line)]
		if !wanted {
			m.eachMatch(line, func(int) int { wanted = true; return len(line) })
		}
		if wanted {
			take(begin)
		}
		begin += length + 1
	}
}

// kindOf returns the kind of the event of a line. Text in a line cannot be taken for it, since its quotation marks are
// escaped.
func kindOf(line []byte) string {
	_, after, ok := bytes.Cut(line[:min(len(line), kindEnd)], []byte(`,"kind":"`))
	if !ok {
		return ""
	}
	kind, _, _ := bytes.Cut(after, []byte(`"`))
	return string(kind)
}

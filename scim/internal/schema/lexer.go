package schema

import (
	"encoding/json"
	"strings"
)

const (
	maxFilter      = 16_384 // characters
	maxFilterDepth = 32     // of parentheses, not and value filters
)

// lexer cuts a filter or path into words, strings and the signs ( ) [ ].
type lexer struct {
	text string
	at   int
}

// token is one piece: sign, quoted string (kind '"'), or word (kind 'w'); kind 0 is the end.
type token struct {
	kind byte
	text string // of a string: decoded
}

func (l *lexer) next() (token, error) {
	for l.at < len(l.text) && l.text[l.at] == ' ' {
		l.at++
	}
	if l.at == len(l.text) {
		return token{}, nil
	}
	switch c := l.text[l.at]; c {
	case '(', ')', '[', ']':
		l.at++
		return token{c, string(c)}, nil
	case '"':
		return l.quoted()
	}
	start := l.at
	for l.at < len(l.text) && !strings.ContainsRune(` ()[]"`, rune(l.text[l.at])) {
		l.at++
	}
	return token{'w', l.text[start:l.at]}, nil
}

// quoted reads a JSON string (RFC 7644 §3.4.2.2 takes JSON's escapes).
func (l *lexer) quoted() (token, error) {
	end := l.at + 1
	for end < len(l.text) && l.text[end] != '"' {
		if l.text[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(l.text) {
		return token{}, invalid("invalidFilter", "A string in the filter has no closing quote.")
	}
	var s string
	if err := json.Unmarshal([]byte(l.text[l.at:end+1]), &s); err != nil {
		return token{}, invalid("invalidFilter", "A string in the filter is not a JSON string.")
	}
	l.at = end + 1
	return token{'"', s}, nil
}

// peek looks at the next piece without taking it.
func (l *lexer) peek() (token, error) {
	at := l.at
	t, err := l.next()
	l.at = at
	return t, err
}

package schema

import (
	"encoding/json"
	"strings"
)

// lexer splits a filter or a path into tokens.
type lexer struct {
	text   string
	offset int // where the next token begins, or the space before it
	start  int // where the last token began
}

// token is a word, a quoted string, one of the signs ( ) [ ], or the end.
type token struct {
	kind byte   // tokenWord, tokenString, tokenEnd or the sign itself
	text string // a string is decoded
}

const (
	tokenEnd    = 0
	tokenWord   = 'w'
	tokenString = '"'
)

// isWord reports whether the token is the word, ignoring case.
func (t token) isWord(word string) bool {
	return t.kind == tokenWord && strings.EqualFold(t.text, word)
}

// next returns the next token and moves behind it.
func (l *lexer) next() (token, error) {
	for l.offset < len(l.text) && l.text[l.offset] == ' ' {
		l.offset++
	}
	l.start = l.offset
	if l.offset == len(l.text) {
		return token{}, nil
	}
	switch c := l.text[l.offset]; c {
	case '(', ')', '[', ']':
		l.offset++
		return token{c, string(c)}, nil
	case '"':
		return l.quoted()
	}
	for l.offset < len(l.text) && !strings.ContainsRune(` ()[]"`, rune(l.text[l.offset])) {
		l.offset++
	}
	return token{tokenWord, l.text[l.start:l.offset]}, nil
}

// quoted reads a string, which has the escapes of JSON (RFC 7644 §3.4.2.2).
func (l *lexer) quoted() (token, error) {
	end := l.offset + 1
	for end < len(l.text) && l.text[end] != '"' {
		if l.text[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(l.text) {
		return token{}, l.invalid("invalidFilter", "A string in the filter has no closing quote.")
	}
	var s string
	if err := json.Unmarshal([]byte(l.text[l.offset:end+1]), &s); err != nil {
		return token{}, l.invalid("invalidFilter", "A string in the filter is not a JSON string.")
	}
	l.offset = end + 1
	return token{tokenString, s}, nil
}

// peek returns the next token and does not move.
func (l *lexer) peek() (token, error) {
	offset := l.offset
	t, err := l.next()
	l.offset = offset
	return t, err
}

// invalid returns an [Error] whose detail says where the last token began.
func (l *lexer) invalid(scimType, format string, args ...any) error {
	err := invalid(scimType, format, args...)
	if len(l.text) > 0 {
		err.at(l.text[:l.start])
	}
	return err
}

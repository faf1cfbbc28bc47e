// Package plainjson reads JSON objects as encoding/json writes them, in a fraction of the time that encoding/json takes:
// objects without white space, whose strings have no escapes. It fails on every other text, which encoding/json then
// reads.
//
// What must hold: of a text on which it does not fail, it reads exactly what encoding/json reads.
package plainjson

import (
	"bytes"
	"encoding/json"
	"time"
	"unicode/utf8"
)

// Reader reads the members of one object, in order: [Reader.Next] the name of a member, and then one of the other methods
// its value. Once it has failed, Next returns false and values are zero.
type Reader struct {
	text   []byte
	at     int  // where what is not read yet begins
	opener byte // what stands before the next member
	failed bool
}

// New returns a Reader of an object.
func New(object []byte) Reader { return Reader{text: object, opener: '{'} }

// Next returns the name of the next member. It returns false at the end.
func (r *Reader) Next() (name []byte, ok bool) {
	if r.opener == ',' && r.peek() == '}' || !r.skip(r.opener) {
		return nil, false
	}
	r.opener = ','
	name = r.Text()
	return name, r.skip(':')
}

// End reports whether the whole object was read, and nothing follows it.
func (r *Reader) End() bool {
	return !r.failed && r.opener == ',' && r.at == len(r.text)-1 && r.peek() == '}'
}

// Fail has the Reader fail: the caller does not know a name.
func (r *Reader) Fail() { r.at, r.failed = len(r.text), true }

// peek returns the next byte; 0 if there is none.
func (r *Reader) peek() byte {
	if r.at < len(r.text) {
		return r.text[r.at]
	}
	return 0
}

// skip reads the byte c, which is not 0.
func (r *Reader) skip(c byte) bool {
	if r.peek() != c {
		r.Fail()
		return false
	}
	r.at++
	return true
}

// Text returns a string, without its quotes, as a part of the object.
func (r *Reader) Text() []byte {
	if !r.skip('"') {
		return nil
	}
	ascii := true
	for i, c := range r.text[r.at:] {
		switch {
		case c == '"':
			text := r.text[r.at : r.at+i]
			if r.at += i + 1; ascii || utf8.Valid(text) {
				return text
			}
			r.Fail()
			return nil
		case c == '\\' || c < ' ':
			r.Fail()
			return nil
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	r.Fail()
	return nil
}

// Texts returns an array of strings, which is not empty.
func (r *Reader) Texts() (texts []string) {
	for opener := byte('['); r.skip(opener); opener = ',' {
		texts = append(texts, string(r.Text()))
		if r.peek() == ']' {
			r.at++
			return texts
		}
	}
	return nil
}

// Uint returns a number without sign and fraction.
func (r *Reader) Uint() (n uint64) {
	const maxDigits = 19 // any number of so many digits fits
	begin := r.at
	for c := r.peek(); '0' <= c && c <= '9'; c = r.peek() {
		n = n*10 + uint64(c-'0')
		r.at++
	}
	if digits := r.at - begin; digits == 0 || digits > maxDigits || digits > 1 && r.text[begin] == '0' {
		r.Fail()
		return 0
	}
	return n
}

// Bool returns true or false.
func (r *Reader) Bool() bool {
	switch rest := r.text[r.at:]; {
	case bytes.HasPrefix(rest, []byte("true")):
		r.at += len("true")
		return true
	case bytes.HasPrefix(rest, []byte("false")):
		r.at += len("false")
		return false
	}
	r.Fail()
	return false
}

// Time returns a time.
func (r *Reader) Time() (t time.Time) {
	if t, n := utc(r.text[r.at:]); n > 0 {
		r.at += n
		return t
	}
	begin := r.at
	if r.Text(); r.failed || t.UnmarshalJSON(r.text[begin:r.at]) != nil {
		r.Fail()
		return time.Time{}
	}
	return t
}

// utc returns the time that text begins with, and its length with its quotes, if it is written as those in UTC are. It
// returns 0 for every other, and for one that does not exist.
func utc(text []byte) (t time.Time, n int) {
	const form = `"0000-00-00T00:00:00`
	if len(text) < len(form) {
		return t, 0
	}
	for i := range len(form) {
		if c := text[i]; form[i] == '0' && !isDigit(c) || form[i] != '0' && form[i] != c {
			return t, 0
		}
	}
	nanoseconds, n := fraction(text[len(form):])
	if n += len(form); !bytes.HasPrefix(text[n:], []byte(`Z"`)) {
		return t, 0
	}
	year, month, day := 100*twoDigits(text[1:])+twoDigits(text[3:]), twoDigits(text[6:]), twoDigits(text[9:])
	hour, minute, second := twoDigits(text[12:]), twoDigits(text[15:]), twoDigits(text[18:])
	t = time.Date(year, time.Month(month), day, hour, minute, second, nanoseconds, time.UTC)
	if month < 1 || month > 12 || day < 1 || day > 28 && t.Day() != day || hour > 23 || minute > 59 || second > 59 {
		return time.Time{}, 0
	}
	return t, n + len(`Z"`)
}

// fraction returns the nanoseconds that text begins with, as the fraction of a second, and the length of the fraction.
// Both are 0 if there is none, or none of at most nine digits.
func fraction(text []byte) (nanoseconds, n int) {
	const maxDigits = 9
	if len(text) == 0 || text[0] != '.' {
		return 0, 0
	}
	for n = 1; n < len(text) && isDigit(text[n]); n++ {
		if n > maxDigits {
			return 0, 0
		}
		nanoseconds = nanoseconds*10 + int(text[n]-'0')
	}
	if n == 1 {
		return 0, 0
	}
	for range maxDigits + 1 - n {
		nanoseconds *= 10
	}
	return nanoseconds, n
}

// twoDigits returns the number of two digits that text begins with.
func twoDigits(text []byte) int { return int(text[0]-'0')*10 + int(text[1]-'0') }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// Object returns an object as it is written, as a part of the object that the Reader reads.
func (r *Reader) Object() []byte {
	if n := objectLength(r.text[r.at:]); n > 0 {
		if object := r.text[r.at : r.at+n]; json.Valid(object) {
			r.at += n
			return object
		}
	}
	r.Fail()
	return nil
}

// objectLength returns the length of the object that text begins with; 0 if it begins with none that ends.
func objectLength(text []byte) int {
	if len(text) == 0 || text[0] != '{' {
		return 0
	}
	depth, inString := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			inString = !inString
		case !inString && c == '{':
			depth++
		case !inString && c == '}':
			if depth--; depth == 0 {
				return i + 1
			}
		case inString && c == '\\':
			i++
		}
	}
	return 0
}

package scim

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"sallyport/store"
)

var errRecord = errors.New("the record is not what was written")

// Inspect looks at one record of the store. It reports whether the record belongs to this package, and what is wrong
// with it. A damaged token only denies somebody, and would be seen by nobody else.
func Inspect(e store.Entry) (ours bool, err error) {
	prefix, rest, _ := strings.Cut(string(e.Key), "/")
	var ok bool
	switch prefix += "/"; {
	case string(e.Key) == logCountKey:
		_, err := strconv.ParseUint(string(e.Value), 10, 63)
		ok = err == nil
	case prefix == tokenKeys:
		var t Token
		id, form := idIn(e.Key, tokenKeys)
		ok = form && json.Unmarshal(e.Value, &t) == nil && t.ID == id
	case prefix == holdKeys:
		var h Hold
		id, form := idIn(e.Key, holdKeys)
		ok = form && json.Unmarshal(e.Value, &h) == nil && h.ID == id
	case prefix == deactivationKeys:
		ok = len(rest) == 8+2*idSize
	case prefix == logKeys:
		ok = len(rest) == 8 && json.Unmarshal(e.Value, &LogEntry{}) == nil
	case prefix == secretKeys:
		ok = rest != "" && len(e.Value) == secretSize
	default:
		return false, nil
	}
	if !ok {
		return true, errRecord
	}
	return true, nil
}

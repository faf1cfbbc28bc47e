package session

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"

	"sallyport/store"
)

var errRecord = errors.New("the record is not what was written")

// Inspect looks at one record of the store. It reports whether the record belongs to this package, and what is wrong
// with it. Such a record only denies somebody, and would be seen by nobody else.
func Inspect(e store.Entry) (ours bool, err error) {
	key := string(e.Key)
	if !strings.HasPrefix(key, prefixAll) && !strings.HasPrefix(key, prefixSigning) {
		return false, nil
	}
	if !readable(key, e.Value) {
		return true, errRecord
	}
	return true, nil
}

func readable(key string, value []byte) bool {
	switch {
	case strings.HasPrefix(key, prefixSession):
		var r record
		return decodeRecord(value, &r) == nil && key == string(recordKey(r.User, r.ID))
	case strings.HasPrefix(key, prefixToken):
		_, _, ok := parseTokenKey(prefixToken, []byte(key))
		return ok && json.Unmarshal(value, &tokenRecord{}) == nil
	case strings.HasPrefix(key, prefixTicket):
		_, _, ok := parseTokenKey(prefixTicket, []byte(key))
		return ok && json.Unmarshal(value, &ticketRecord{}) == nil
	case strings.HasPrefix(key, prefixLogout):
		return isDigest(strings.TrimPrefix(key, prefixLogout)) && json.Unmarshal(value, &logoutRecord{}) == nil
	case strings.HasPrefix(key, prefixForm):
		user, form, ok := strings.Cut(strings.TrimPrefix(key, prefixForm), "/")
		return ok && user != "" && isDigest(form) && json.Unmarshal(value, &formRecord{}) == nil
	case strings.HasPrefix(key, prefixIDToken):
		_, err := base64.RawURLEncoding.DecodeString(string(value)) // sealed
		return isSessionID(strings.TrimPrefix(key, prefixIDToken)) && err == nil && len(value) > 0
	case key == keySealing:
		return len(value) == sealingKeyLength
	}
	_, ok := decodeSigningKey(key, value)
	return strings.HasPrefix(key, prefixSigning) && ok
}

// isDigest reports whether text has the form of a digest.
func isDigest(text string) bool {
	bits, err := hex.DecodeString(text)
	return err == nil && len(bits) == len(digest{})
}

// isSessionID reports whether text has the form of a session's id.
func isSessionID(text string) bool {
	bits, err := hex.DecodeString(text)
	return err == nil && len(bits) == 16
}

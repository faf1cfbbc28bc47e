package directory

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// The keys of the store. Ids stand in keys as their 16 bytes.
//
//	user/ID              a user          group/ID            a group
//	member/GROUP MEMBER  an edge         memberof/USER GROUP its mirror
//	name/FOLDED          userName → ID   gname/FOLDED        displayName → ID
//	ext/EXTERNAL\0ID     externalId      gext/EXTERNAL       externalId → ID
//	mail/FOLDED\0ID      e-mail address    dname/FOLDED\0ID   a user's displayName
//	count/users|groups   how many        record/REVISION
//	suspended/USER       an operator's word against a user
//
// Package scim keeps token/, held/, left/, exchange/, secret/ and count/exchanges.
const (
	userKeys     = "user/"
	groupKeys    = "group/"
	memberKeys   = "member/"
	memberOfKeys = "memberof/"
	nameKeys     = "name/"
	externalKeys = "ext/"
	mailKeys     = "mail/"
	displayKeys  = "dname/"
	groupNames   = "gname/"
	groupExts    = "gext/"
	countKeys    = "count/"
	recordKeys   = "record/"

	suspendedKeys = "suspended/"
)

const idSize = 16

// maxAttribute bounds the values that stand in keys, in bytes.
const maxAttribute = 4096

func newID() string {
	id := make([]byte, idSize)
	rand.Read(id) // never fails
	return hex.EncodeToString(id)
}

// idKey is prefix with the ids as bytes; an id that is not one of ours has no key.
func idKey(prefix string, ids ...string) ([]byte, error) {
	key := make([]byte, 0, len(prefix)+idSize*len(ids))
	key = append(key, prefix...)
	for _, id := range ids {
		if len(id) != 2*idSize || strings.ToLower(id) != id {
			return nil, ErrNotFound
		}
		var err error
		if key, err = hex.AppendDecode(key, []byte(id)); err != nil {
			return nil, ErrNotFound
		}
	}
	return key, nil
}

// idIn is the n-th id in a key after prefix.
func idIn(key []byte, prefix string, n int) (string, bool) {
	rest, ok := bytes.CutPrefix(key, []byte(prefix))
	if !ok || len(rest) < idSize*(n+1) {
		return "", false
	}
	return hex.EncodeToString(rest[idSize*n : idSize*(n+1)]), true
}

func textKey(prefix, text string) []byte { return append([]byte(prefix), text...) }

// sharedKey is a key of an index whose values many may have.
func sharedKey(prefix, value, id string) []byte {
	return append(append([]byte(prefix), value...), "\x00"+id...)
}

func recordKey(revision uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte(recordKeys), revision)
}

// Fold makes names that differ only in case, width or composition equal (RFC 7643 §2.2, RFC 8265 §3.3 in spirit).
func Fold(s string) string {
	if ascii(s) {
		return strings.ToLower(s)
	}
	return norm.NFKC.String(cases.Fold().String(norm.NFKC.String(s)))
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// Indexed says whether those who have this value are found by an index of it.
func Indexed(value string) bool { return bounded("", value) == nil }

// bounded refuses values that cannot stand in a key.
func bounded(attribute, value string) error {
	if len(value) > maxAttribute || len(Fold(value)) > maxAttribute { // folded, one rune may be eighteen
		return &ErrUnkeepable{attribute, fmt.Sprintf("is too long; at most %d bytes can be kept", maxAttribute)}
	}
	if strings.ContainsRune(value, 0) {
		return &ErrUnkeepable{attribute, "holds a NUL character"}
	}
	return nil
}

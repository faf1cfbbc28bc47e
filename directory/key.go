package directory

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"sallyport/store"
)

// The keys of this package in the store. Keys contain ids as their 16 bytes.
//
//	user/ID              a user          group/ID            a group
//	member/GROUP MEMBER  an edge         memberof/USER GROUP its mirror
//	name/FOLDED          userName → ID   gname/FOLDED        displayName → ID
//	ext/EXTERNAL\0ID     externalId      gext/EXTERNAL       externalId → ID
//	mail/FOLDED\0ID      e-mail address    dname/FOLDED\0ID   a user's displayName
//	count/users|groups   how many        record/REVISION
//	suspended/USER       an operator's suspension of a user
//	absent/USER          the suspension of a user who is deleted, by names
//	ended/TIME KEY       when the user with a value of the join attribute ended
//	history/REVISION     what the keys held that a change changed
//	history/head         what is true of all of these records
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

	unrecordedKeys = "unrecorded/" // NAME/REVISION
	newestKey      = "newest/record"

	suspendedKeys = "suspended/"
	absentKeys    = "absent/"
	endedKeys     = "ended/"
	historyKeys   = "history/"
)

const idSize = 16

// maxAttribute is the greatest length of a value in a key, in bytes: with what is before and after it in a key, every engine
// can store it.
const maxAttribute = store.MaxKey - 100

// newID returns an id that was never used: the milliseconds since 1970 in 48 bits, and 80 random bits. The ids of what is
// created one after the other are neighbors in the store, so that a commit of many writes fewer pages.
func newID(now time.Time) string {
	id := make([]byte, idSize)
	rand.Read(id) // never fails
	random := binary.BigEndian.Uint16(id[6:])
	binary.BigEndian.PutUint64(id, uint64(now.UnixMilli())<<16|uint64(random)) //nolint:gosec // no time is before 1970
	return hex.EncodeToString(id)
}

// idKey returns prefix followed by the bytes of the ids, or ErrNotFound if one is
// not an id of ours.
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

// idIn returns the n-th id after prefix in a key.
func idIn(key []byte, prefix string, n int) (string, bool) {
	rest, ok := bytes.CutPrefix(key, []byte(prefix))
	if !ok || len(rest) < idSize*(n+1) {
		return "", false
	}
	return hex.EncodeToString(rest[idSize*n : idSize*(n+1)]), true
}

func textKey(prefix, text string) []byte { return append([]byte(prefix), text...) }

// sharedKey returns a key of an index in which several users may have a value.
func sharedKey(prefix, value, id string) []byte {
	return append(append([]byte(prefix), value...), "\x00"+id...)
}

func recordKey(revision uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte(recordKeys), revision)
}

// Fold returns the same text for names that differ only in case, width or composition (RFC 7643 §2.2; compare RFC 8265
// §3.3).
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

// Indexed reports whether value fits into the key of an index.
func Indexed(value string) bool { return bounded("", value) == nil }

// boundedChange is bounded for a value that replaces another. What is stored already stays, or whoever has it could not be
// deactivated.
func boundedChange(attribute, old, value string) error {
	if value == old {
		return nil
	}
	return bounded(attribute, value)
}

// bounded returns a *InvalidError for a value that fits into no key.
func bounded(attribute, value string) error {
	if len(value) > maxAttribute || len(Fold(value)) > maxAttribute { // folding may turn one rune into eighteen
		return &InvalidError{attribute, fmt.Sprintf("is too long; at most %d bytes can be stored", maxAttribute)}
	}
	if strings.ContainsRune(value, 0) {
		return &InvalidError{attribute, "contains a NUL character"}
	}
	return nil
}

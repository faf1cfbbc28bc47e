package scim

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"sallyport/store"
)

// The keys of the store that belong to this package. Existing databases hold them, so they must not change.
//
//	token/ID         a provisioning token; the ID is its 16 bytes
//	held/USER        a held deactivation; the user's ID is its 16 bytes
//	left/TIME USER   a deactivation that the limit counts: nanoseconds in 8 bytes, then the ID as text
//	exchange/NUMBER  an entry of the provisioning log, numbered from 0 in 8 bytes
//	count/exchanges  how many entries were ever written
//	secret/PURPOSE   a random key
const (
	tokenKeys        = "token/"
	holdKeys         = "held/"
	deactivationKeys = "left/"
	logKeys          = "exchange/"
	logCountKey      = "count/exchanges"
	secretKeys       = "secret/"
)

const idSize = 16 // bytes of an ID

// idKey returns prefix followed by the bytes of id; ok is false if id is none of ours.
func idKey(prefix, id string) (key []byte, ok bool) {
	if len(id) != 2*idSize || strings.ToLower(id) != id {
		return nil, false
	}
	key, err := hex.AppendDecode([]byte(prefix), []byte(id))
	return key, err == nil
}

// idIn returns the ID in a key of prefix; ok is false for other keys.
func idIn(key []byte, prefix string) (id string, ok bool) {
	rest, ok := bytes.CutPrefix(key, []byte(prefix))
	return hex.EncodeToString(rest), ok && len(rest) == idSize
}

// deactivationKey returns the key of a user's deactivation at a time, or of the first one then if user is "".
func deactivationKey(at time.Time, user string) []byte {
	return append(binary.BigEndian.AppendUint64([]byte(deactivationKeys), uint64(at.UnixNano())), user...)
}

// deactivationTime returns the time in the key of a deactivation.
func deactivationTime(key []byte) time.Time {
	return time.Unix(0, int64(binary.BigEndian.Uint64(key[len(deactivationKeys):]))).UTC()
}

func logKey(n uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte(logKeys), n)
}

// readRecord decodes the record of id below prefix; ok is false if there is none.
func readRecord[T any](r store.Reader, prefix, id string) (record T, ok bool, err error) {
	key, ok := idKey(prefix, id)
	if !ok {
		return record, false, nil
	}
	value, err := r.Get(key)
	if errors.Is(err, store.ErrNotFound) {
		return record, false, nil
	}
	if err != nil {
		return record, false, err
	}
	err = json.Unmarshal(value, &record)
	return record, err == nil, err
}

// writeRecord replaces the record of id below prefix.
func writeRecord(w store.Writer, prefix, id string, record any) error {
	key, ok := idKey(prefix, id)
	if !ok {
		return fmt.Errorf("writing a record below %s: %q is not an ID", prefix, id)
	}
	value, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("encoding a record below %s: %w", prefix, err)
	}
	return w.Put(key, value)
}

// deleteRecord removes the record of id below prefix, if there is one.
func deleteRecord(w store.Writer, prefix, id string) error {
	key, ok := idKey(prefix, id)
	if !ok {
		return nil
	}
	return w.Delete(key)
}

// records yields every record below prefix, in the order of IDs.
func records[T any](r store.Reader, prefix string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for e, err := range r.Scan([]byte(prefix), nil) {
			var record T
			if err == nil {
				err = json.Unmarshal(e.Value, &record)
			}
			if !yield(record, err) {
				return
			}
		}
	}
}

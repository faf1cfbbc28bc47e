package session

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sallyport/store"
)

// Keys, each under one prefix of ours:
//
//	session/of/<user>/<id>           a record
//	session/grant/<id>/<digest>      what a token opens
//	session/ticket/<id>/<digest>     what a ticket may be redeemed for
//	session/key                      the sealing key
const (
	prefixAll    = "session/"
	prefixOf     = "session/of/"
	prefixGrant  = "session/grant/"
	prefixTicket = "session/ticket/"
	keySealing   = "session/key"
)

// record is a session as stored. One that has ended stays, with its reason, until its lifetime is over: a cookie
// still about is then told that it ended.
type record struct {
	Session
	Reason Reason    `json:"reason,omitempty"` // why it ended; "" while it lives
	Ended  time.Time `json:"ended,omitzero"`
}

// grantRecord is what the store remembers of a token.
type grantRecord struct {
	Host string    `json:"host"`
	Made time.Time `json:"made"`
}

// ticketRecord is what the store remembers of a ticket.
type ticketRecord struct {
	Host    string    `json:"host"`
	Bind    string    `json:"bind"`
	Expires time.Time `json:"expires"`
}

func recordKey(user, id string) []byte { return []byte(prefixOf + user + "/" + id) }

func tokenKey(prefix, id string, d digest) []byte {
	return []byte(prefix + id + "/" + hex.EncodeToString(d[:]))
}

// parseTokenKey undoes tokenKey.
func parseTokenKey(prefix string, key []byte) (id string, d digest, ok bool) {
	id, text, ok := strings.Cut(strings.TrimPrefix(string(key), prefix), "/")
	bits, err := hex.DecodeString(text)
	if !ok || err != nil || len(bits) != len(d) {
		return "", d, false
	}
	return id, digest(bits), true
}

func putRecord(w store.Writer, r record) error { return put(w, recordKey(r.User, r.ID), r) }

func put(w store.Writer, key []byte, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return w.Put(key, text)
}

// readRecord reads one session's record: ErrNone if there is none.
func readRecord(r store.Reader, user, id string) (record, error) {
	var one record
	err := read(r, recordKey(user, id), &one)
	if errors.Is(err, store.ErrNotFound) {
		return one, ErrNone
	}
	return one, err
}

func read(r store.Reader, key []byte, value any) error {
	text, err := r.Get(key)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, value); err != nil {
		return fmt.Errorf("%s: %w: %w", key, store.ErrDamaged, err)
	}
	return nil
}

// recordsOf reads every record of a user, oldest first. A damaged one is nobody's session: it is left out.
func recordsOf(r store.Reader, user string) ([]record, error) {
	var all []record
	for e, err := range r.Scan([]byte(prefixOf+user+"/"), nil) {
		var one record
		switch {
		case errors.Is(err, store.ErrDamaged):
			continue
		case err != nil:
			return nil, err
		case json.Unmarshal(e.Value, &one) != nil:
			continue
		}
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b record) int { return a.Began.Compare(b.Began) })
	return all, nil
}

// forget deletes a session and every token and ticket of it.
func forget(w store.Writer, user, id string) error {
	for _, prefix := range []string{prefixGrant, prefixTicket} {
		if err := deleteAll(w, prefix+id+"/"); err != nil {
			return err
		}
	}
	return w.Delete(recordKey(user, id))
}

// deleteAll deletes every key with prefix, damaged or not.
func deleteAll(w store.Writer, prefix string) error {
	var keys [][]byte
	for e, err := range w.Scan([]byte(prefix), nil) {
		if err != nil && !errors.Is(err, store.ErrDamaged) {
			return err
		}
		keys = append(keys, slices.Clone(e.Key))
	}
	for _, key := range keys {
		if err := w.Delete(key); err != nil {
			return err
		}
	}
	return nil
}

// Clear forgets every session, token, ticket and the sealing key. Whoever puts an older copy of the store in
// place calls it on the copy before serving from it, so that no session ended since comes back to life.
func Clear(w store.Writer) error { return deleteAll(w, prefixAll) }

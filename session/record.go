package session

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"sallyport/store"
)

// The keys of this package in the store:
//
//	session/of/<user>/<id>           a session
//	session/grant/<id>/<digest>      the host that a token is for
//	session/ticket/<id>/<digest>     what a ticket may be redeemed for
//	session/hint/<id>                the sealed ID token of a session that has not ended
//	session/logout/<digest of jti>   a logout token that was used
//	session/form/<user>/<digest>     a form that was sent after the sign-in
//	session/key                      the sealing key
//	signing/<id>                     a private key that assertions are signed with
const (
	prefixAll     = "session/"
	prefixSession = "session/of/"
	prefixToken   = "session/grant/"
	prefixTicket  = "session/ticket/"
	prefixLogout  = "session/logout/"
	prefixForm    = "session/form/"
	keySealing    = "session/key"
	prefixSigning = "signing/"
)

// record is a session as stored. One that has ended is kept with its reason until its lifetime is over, so that a
// browser that still has the cookie is told that its session ended.
type record struct {
	Session
	Reason Reason    `json:"reason,omitempty"` // why it ended; "" while it lives
	Ended  time.Time `json:"ended,omitzero"`
}

// tokenRecord is what the store keeps of a token.
type tokenRecord struct {
	Host string    `json:"host"`
	Made time.Time `json:"made"`
}

// ticketRecord is what the store keeps of a ticket.
type ticketRecord struct {
	Host    string    `json:"host"`
	Bind    string    `json:"bind"`
	Expires time.Time `json:"expires"`
}

func recordKey(user, id string) []byte { return []byte(prefixSession + user + "/" + id) }

// isAt reports whether key is the key of the record. Unlike recordKey, it allocates nothing.
func (r *record) isAt(key []byte) bool {
	rest, ok := bytes.CutPrefix(key, []byte(prefixSession))
	user := len(rest) - len(r.ID) - 1 // where it ends
	return ok && user == len(r.User) && string(rest[:user]) == r.User && rest[user] == '/' && string(rest[user+1:]) == r.ID
}

// idInKey returns the session's id in the key of its record.
func idInKey(key []byte) string {
	_, id, _ := bytes.Cut(bytes.TrimPrefix(key, []byte(prefixSession)), []byte("/"))
	return string(id)
}

// tokenKey returns the key of a token or ticket, by its prefix.
func tokenKey(prefix, id string, d digest) []byte {
	return []byte(prefix + id + "/" + hex.EncodeToString(d[:]))
}

// parseTokenKey is the inverse of tokenKey.
func parseTokenKey(prefix string, key []byte) (id []byte, d digest, ok bool) {
	id, text, ok := bytes.Cut(bytes.TrimPrefix(key, []byte(prefix)), []byte("/"))
	if !ok || len(text) != hex.EncodedLen(len(d)) {
		return nil, d, false
	}
	if _, err := hex.Decode(d[:], text); err != nil {
		return nil, digest{}, false
	}
	return id, d, true
}

// putRecord writes the record of a session. One that has ended keeps no ID token, unless its user signed out.
func putRecord(w store.Writer, r record) error {
	if r.Reason != "" && r.Reason != ReasonLogout {
		if err := w.Delete(idTokenKey(r.ID)); err != nil {
			return err
		}
	}
	return putJSON(w, recordKey(r.User, r.ID), r)
}

func putJSON(w store.Writer, key []byte, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return w.Put(key, text)
}

// readRecord reads one session's record, or returns ErrNone.
func readRecord(r store.Reader, user, id string) (record, error) {
	var stored record
	err := readJSON(r, recordKey(user, id), &stored)
	if errors.Is(err, store.ErrNotFound) {
		return stored, ErrNone
	}
	return stored, err
}

func readJSON(r store.Reader, key []byte, value any) error {
	text, err := r.Get(key)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, value); err != nil {
		return fmt.Errorf("%s: %w: %w", key, store.ErrDamaged, err)
	}
	return nil
}

// recordsOf reads every record of a user, oldest first. It leaves damaged ones out: they are no sessions.
func recordsOf(r store.Reader, user string) ([]record, error) {
	var all []record
	for e, err := range r.Scan([]byte(prefixSession+user+"/"), nil) {
		var stored record
		switch {
		case errors.Is(err, store.ErrDamaged):
			continue
		case err != nil:
			return nil, err
		case decodeRecord(e.Value, &stored) != nil:
			continue
		}
		all = append(all, stored)
	}
	slices.SortFunc(all, func(a, b record) int { return a.Began.Compare(b.Began) })
	return all, nil
}

// deleteSession deletes a session with all its tokens, tickets and its ID token.
func deleteSession(w store.Writer, user, id string) error {
	for _, prefix := range []string{prefixToken, prefixTicket} {
		if err := store.DeleteAll(w, []byte(prefix+id+"/")); err != nil {
			return err
		}
	}
	if err := w.Delete(idTokenKey(id)); err != nil {
		return err
	}
	return w.Delete(recordKey(user, id))
}

// Clear deletes every session, token, ticket and key. Call it on an older copy of the store before serving from the
// copy: otherwise sessions that ended since the copy was made would be live again, and whoever has the copy could sign
// with the keys in it.
func Clear(w store.Writer) error {
	return errors.Join(store.DeleteAll(w, []byte(prefixAll)), store.DeleteAll(w, []byte(prefixSigning)))
}

package scim

import (
	"encoding/json"
	"errors"

	"sallyport/store"
)

// UseTokensOf gives an older copy of a store the tokens of a later store in place of its own: one that was revoked since the
// copy was made must not be valid again, and one that was made since is what the identity provider has. A token whose record
// is damaged is left out.
func UseTokensOf(later store.Reader, w store.Writer) error {
	if err := store.DeleteAll(w, []byte(tokenKeys)); err != nil {
		return err
	}
	return store.CopyAll(w, later, []byte(tokenKeys))
}

// DeleteTokens deletes the tokens of a copy of a store for which is reports true, and those that cannot be read.
func DeleteTokens(w store.Writer, is func(Token) bool) error {
	var ids []string
	for e, err := range w.Scan([]byte(tokenKeys), nil) {
		if err != nil && !errors.Is(err, store.ErrDamaged) {
			return err
		}
		var t Token
		id, ok := idIn(e.Key, tokenKeys)
		if ok && (err != nil || json.Unmarshal(e.Value, &t) != nil || t.ID != id || is(t)) {
			ids = append(ids, id)
		}
	}
	for _, id := range ids {
		if err := deleteRecord(w, tokenKeys, id); err != nil {
			return err
		}
	}
	return nil
}

// ReadTokens returns the tokens in a store that can be read.
func ReadTokens(r store.Reader) (tokens []Token, err error) {
	for t, err := range records[Token](r, tokenKeys) {
		switch {
		case err == nil:
			tokens = append(tokens, t)
		case !errors.Is(err, store.ErrDamaged):
			return nil, err
		}
	}
	return tokens, nil
}

package directory

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"time"

	"sallyport/store"
)

// Tx reads the store and, within Update, changes it. It reads what it has written.
type Tx struct {
	r    store.Reader
	w    store.Writer // nil within View
	now  time.Time
	join string // the attribute that callers are joined by

	replica string // that makes the change

	cause Cause

	leavers map[string][]string // members that the change removes, by group
	deleted []string            // users that the change deletes
}

// By says in the history who makes the change.
func (tx *Tx) By(c Cause) { tx.cause = c }

// Now returns the time of the change, in UTC.
func (tx *Tx) Now() time.Time { return tx.now }

// Writer returns the transaction of the store, for records that other packages commit together with a change of the
// directory. A package may write only its own keys. Writer returns nil within View.
func (tx *Tx) Writer() store.Writer { return tx.w }

// Revision returns the store's revision; within Update, the one being made.
func (tx *Tx) Revision() uint64 { return uint64(tx.r.Revision()) }

// User returns the user with our id.
func (tx *Tx) User(id string) (User, error) {
	u := User{}
	value, err := tx.get(userKeys, id)
	if err != nil {
		return u, err
	}
	return u, decodeUser(value, &u)
}

// get returns the record of id, or ErrNotFound.
func (tx *Tx) get(prefix, id string) ([]byte, error) {
	key, err := idKey(prefix, id)
	if err != nil {
		return nil, err
	}
	value, err := tx.r.Get(key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, ErrNotFound
	}
	return value, err
}

// read decodes the record of id, or returns ErrNotFound.
func (tx *Tx) read(prefix, id string, into any) error {
	value, err := tx.get(prefix, id)
	if err != nil {
		return err
	}
	return json.Unmarshal(value, into)
}

// UserByName returns the user with this userName, ignoring case.
func (tx *Tx) UserByName(userName string) (User, error) {
	id, err := tx.pointer(nameKeys, Fold(userName))
	if err != nil {
		return User{}, err
	}
	return tx.User(id)
}

// pointer returns the id that an index has for text, or ErrNotFound.
func (tx *Tx) pointer(prefix, text string) (string, error) {
	if bounded("", text) != nil {
		return "", ErrNotFound
	}
	id, err := tx.r.Get(textKey(prefix, text))
	if errors.Is(err, store.ErrNotFound) {
		return "", ErrNotFound
	}
	return string(id), err
}

// UsersByExternalID returns every user with exactly this externalId.
func (tx *Tx) UsersByExternalID(external string) ([]User, error) {
	return tx.usersSharing(externalKeys, external)
}

// UsersByEmail returns every user with this e-mail address, ignoring case.
func (tx *Tx) UsersByEmail(address string) ([]User, error) {
	return tx.usersSharing(mailKeys, Fold(address))
}

// UserIDsBy returns the ids of the users with a value of an attribute: id, userName, externalId, emails or displayName. Case
// counts only in id and externalId. It reads an index, and no user.
func (tx *Tx) UserIDsBy(attribute, value string) ([]string, error) {
	switch attribute {
	case "id":
		return existing(value, tx.exists(userKeys, value))
	case "userName":
		return existing(tx.pointer(nameKeys, Fold(value)))
	case "externalId":
		return tx.idsSharing(externalKeys, value)
	case "emails":
		return tx.idsSharing(mailKeys, Fold(value))
	case "displayName":
		return tx.idsSharing(displayKeys, Fold(value))
	}
	return nil, fmt.Errorf("no index has the attribute %q", attribute)
}

// existing returns the id that was found, if one was.
func existing(id string, err error) ([]string, error) {
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return []string{id}, err
}

// exists returns ErrNotFound if there is no record of id.
func (tx *Tx) exists(prefix, id string) error {
	_, err := tx.get(prefix, id)
	return err
}

func (tx *Tx) idsSharing(prefix, value string) (ids []string, err error) {
	if bounded("", value) != nil {
		return nil, nil
	}
	for e, err := range tx.r.Scan(sharedKey(prefix, value, ""), nil) {
		if err != nil {
			return nil, err
		}
		ids = append(ids, string(e.Value))
	}
	return ids, nil
}

func (tx *Tx) usersSharing(prefix, value string) (users []User, err error) {
	ids, err := tx.idsSharing(prefix, value)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		u, err := tx.User(id)
		if err != nil {
			return nil, err
		}
		users = append(users, u)
	}
	return users, nil
}

// Users yields every user in the order of our ids, beginning with from ("" for
// all).
func (tx *Tx) Users(from string) iter.Seq2[User, error] { return scan(tx, userKeys, from, decodeUser) }

// Groups yields every group in the order of our ids, beginning with from.
func (tx *Tx) Groups(from string) iter.Seq2[Group, error] {
	return scan(tx, groupKeys, from, func(record []byte, g *Group) error { return json.Unmarshal(record, g) })
}

// UserIDs yields the ids of the users without reading the users.
func (tx *Tx) UserIDs(from string) iter.Seq2[string, error] { return tx.ids(userKeys, from) }

// GroupIDs yields the ids of the groups without reading the groups.
func (tx *Tx) GroupIDs(from string) iter.Seq2[string, error] { return tx.ids(groupKeys, from) }

func (tx *Tx) ids(prefix, from string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		start, _ := idKey(prefix, from)
		for e, err := range tx.r.Scan([]byte(prefix), start) {
			id, _ := idIn(e.Key, prefix, 0)
			if !yield(id, err) {
				return
			}
		}
	}
}

func scan[T any](tx *Tx, prefix, from string, decode func([]byte, *T) error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		start, _ := idKey(prefix, from) // nil, for the first, if from is not an id
		for e, err := range tx.r.Scan([]byte(prefix), start) {
			var decoded T
			if err == nil {
				err = decode(e.Value, &decoded)
			}
			if !yield(decoded, err) {
				return
			}
		}
	}
}

// UserCount returns how many users there are.
func (tx *Tx) UserCount() (int, error) { return tx.count("users") }

// GroupCount returns how many groups there are.
func (tx *Tx) GroupCount() (int, error) { return tx.count("groups") }

func (tx *Tx) count(what string) (int, error) {
	value, err := tx.r.Get(textKey(countKeys, what))
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(value))
}

func (tx *Tx) addCount(what string, n int) error {
	before, err := tx.count(what)
	if err != nil {
		return err
	}
	return tx.w.Put(textKey(countKeys, what), strconv.AppendInt(nil, int64(before+n), 10))
}

// PutUser creates the user if its ID is empty, or else replaces it. It sets ID,
// Epoch, DeactivatedAt, Version, Created, Modified and the derived fields in u, and
// does not write a user that has not changed. It returns a *[ConflictError] if another
// user has the userName.
func (tx *Tx) PutUser(u *User) error {
	old := User{}
	if u.ID != "" {
		var err error
		if old, err = tx.User(u.ID); err != nil {
			return err
		}
	}
	if err := errors.Join(boundedChange("userName", old.UserName, u.UserName), boundedChange("externalId", old.ExternalID, u.ExternalID)); err != nil {
		return err
	}
	u.Version, u.Created, u.Modified, u.Epoch, u.DeactivatedAt = old.Version, old.Created, old.Modified, old.Epoch, old.DeactivatedAt
	u.derive()
	if old.ID != "" {
		if same, err := sameRecord(&old, u); err != nil || same {
			return err
		}
	}
	if old.Active && !u.Active {
		store.Urgent(tx.w)
		u.Epoch, u.DeactivatedAt = u.Epoch+1, tx.now
	}
	was := joinKey(tx.join, &old)
	rejoined := was != joinKey(tx.join, u)
	if rejoined && was != "" && u.Epoch == old.Epoch { // somebody else may sign in as this user from now on
		u.Epoch++
	}
	if old.Active && !u.Active || rejoined {
		if err := tx.endUser(&old); err != nil {
			return err
		}
	}
	return tx.writeUser(&old, u)
}

// sameRecord reports whether a and b are stored as the same bytes.
func sameRecord(a, b any) (bool, error) {
	before, err := json.Marshal(a)
	if err != nil {
		return false, fmt.Errorf("encoding a record: %w", err)
	}
	after, err := json.Marshal(b)
	if err != nil {
		return false, fmt.Errorf("encoding a record: %w", err)
	}
	return bytes.Equal(before, after), nil
}

func (tx *Tx) writeUser(old, u *User) error {
	if err := tx.claim("userName", nameKeys, u.UserName, old.ID); err != nil {
		return err
	}
	if old.ID == "" {
		u.ID, u.Created = newID(tx.now), tx.now
		if err := tx.addCount("users", 1); err != nil {
			return err
		}
	}
	u.Version, u.Modified = u.Version+1, tx.now
	if err := tx.suspendAgain(old, u); err != nil {
		return err
	}
	return errors.Join(
		tx.move(nameKeys, Fold(old.UserName), Fold(u.UserName), u.ID),
		tx.moveShared(externalKeys, listOf(old.ExternalID), listOf(u.ExternalID), u.ID),
		tx.moveShared(mailKeys, folded(old.Emails...), folded(u.Emails...), u.ID),
		tx.moveShared(displayKeys, folded(old.DisplayName), folded(u.DisplayName), u.ID),
		tx.write(userKeys, u.ID, u))
}

// claim returns a *ConflictError if another user or group has the name.
func (tx *Tx) claim(attribute, prefix, value, id string) error {
	holder, err := tx.pointer(prefix, Fold(value))
	switch {
	case errors.Is(err, ErrNotFound), err == nil && holder == id:
		return nil
	case err != nil:
		return err
	}
	return &ConflictError{attribute, value}
}

// move replaces the index entry of the value old by that of new. Either may be "".
func (tx *Tx) move(prefix, old, new, id string) error {
	if old == new && old != "" {
		return nil
	}
	if old != "" {
		if err := tx.w.Delete(textKey(prefix, old)); err != nil {
			return err
		}
	}
	if new == "" {
		return nil
	}
	return tx.w.Put(textKey(prefix, new), []byte(id))
}

// moveShared is move for an index in which several users may have a value, and for
// several values.
func (tx *Tx) moveShared(prefix string, old, new []string, id string) error {
	for _, value := range old {
		if !slices.Contains(new, value) {
			if err := tx.w.Delete(sharedKey(prefix, value, id)); err != nil {
				return err
			}
		}
	}
	for _, value := range new {
		if !slices.Contains(old, value) {
			if err := tx.w.Put(sharedKey(prefix, value, id), []byte(id)); err != nil {
				return err
			}
		}
	}
	return nil
}

// listOf returns a list of value, or nil if it is empty.
func listOf(value string) []string {
	if value == "" {
		return nil
	}
	return []string{value}
}

// folded returns the texts as an index has them, without those that fit into no key.
func folded(texts ...string) (list []string) {
	for _, text := range texts {
		if text != "" && Indexed(text) {
			list = append(list, Fold(text))
		}
	}
	return list
}

func (tx *Tx) write(prefix, id string, v any) error {
	key, err := idKey(prefix, id)
	if err != nil {
		return err
	}
	value, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding a record: %w", err)
	}
	return tx.w.Put(key, value)
}

func (tx *Tx) remove(prefix string, ids ...string) error {
	key, err := idKey(prefix, ids...)
	if err != nil {
		return err
	}
	return tx.w.Delete(key)
}

// DeleteUser removes the user and their memberships. That they ended is remembered, and
// so is that they are suspended.
func (tx *Tx) DeleteUser(id string) error {
	u, err := tx.User(id)
	if err != nil {
		return err
	}
	store.Urgent(tx.w)
	tx.deleted = append(tx.deleted, id)
	if err := errors.Join(tx.leaveAll(id), tx.keepSuspension(&u), tx.endUser(&u)); err != nil {
		return err
	}
	return errors.Join(tx.move(nameKeys, Fold(u.UserName), "", id), tx.moveShared(externalKeys, listOf(u.ExternalID), nil, id),
		tx.moveShared(mailKeys, folded(u.Emails...), nil, id), tx.moveShared(displayKeys, folded(u.DisplayName), nil, id),
		tx.addCount("users", -1), tx.remove(userKeys, id))
}

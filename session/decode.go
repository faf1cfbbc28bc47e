package session

import (
	"encoding/json"

	"sallyport/store/plainjson"
)

// decodeRecord decodes a session as stored.
func decodeRecord(text []byte, r *record) error {
	if r.readPlain(text) {
		return nil
	}
	*r = record{}
	return json.Unmarshal(text, r)
}

// readPlain reads a record as putRecord writes nearly all of them, which makes a start with many sessions several times
// faster. It reports false if encoding/json has to read it.
func (r *record) readPlain(text []byte) bool {
	object, texts := plainjson.New(text), texts{}
	for name, ok := object.Next(); ok; name, ok = object.Next() {
		if to := r.textNamed(name); to != nil {
			if !texts.add(to, object.Text()) {
				return false
			}
			continue
		}
		switch string(name) {
		case "id":
			r.ID = string(object.Text()) // alone, since memory keeps it longer than the record
		case "reason":
			r.Reason = Reason(object.Text())
		case "epoch":
			r.Epoch = object.Uint()
		case "proven":
			r.Proven = object.Bool()
		case "began":
			r.Began = object.Time()
		case "authenticated":
			r.Authenticated = object.Time()
		case "used":
			r.Used = object.Time()
		case "expires":
			r.Expires = object.Time()
		case "ended":
			r.Ended = object.Time()
		case "amr":
			r.AMR = object.Texts()
		case "acrs":
			r.Contexts = object.Texts()
		default:
			return false
		}
	}
	texts.set()
	return object.End()
}

// hostOf returns the host in a token as stored.
func hostOf(text []byte) (host string, err error) {
	object := plainjson.New(text)
	for name, ok := object.Next(); ok; name, ok = object.Next() {
		switch string(name) {
		case "host":
			host = string(object.Text())
		case "made":
			object.Time()
		default:
			object.Fail()
		}
	}
	if object.End() {
		return host, nil
	}
	var t tokenRecord
	err = json.Unmarshal(text, &t)
	return t.Host, err
}

// textNamed returns the field that is stored by a name and is one of the texts of a record; nil if there is none.
func (r *record) textNamed(name []byte) *string {
	switch string(name) {
	case "user":
		return &r.User
	case "user_name":
		return &r.UserName
	case "subject":
		return &r.Subject
	case "provider_session":
		return &r.ProviderSession
	case "address":
		return &r.Address
	case "agent":
		return &r.Agent
	case "acr":
		return &r.ACR
	case "basis":
		return &r.Basis
	case "break_glass":
		return &r.BreakGlass
	}
	return nil
}

// texts are the texts of one record, which share one allocation.
type texts struct {
	joined [512]byte
	length int // of what is joined
	parts  [9]part
	count  int // of parts
}

// part is one of the texts: it ends at end.
type part struct {
	to  *string
	end int
}

// add adds a text. It reports false if there is no space for it.
func (t *texts) add(to *string, text []byte) bool {
	if t.count == len(t.parts) || t.length+len(text) > len(t.joined) {
		return false
	}
	t.length += copy(t.joined[t.length:], text)
	t.parts[t.count] = part{to, t.length}
	t.count++
	return true
}

// set sets every text.
func (t *texts) set() {
	joined, begin := string(t.joined[:t.length]), 0
	for _, p := range t.parts[:t.count] {
		*p.to, begin = joined[begin:p.end], p.end
	}
}

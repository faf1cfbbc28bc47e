package upstream

import (
	"net/http"
	"slices"
)

// Bounds of what a connection remembers of the heads of its responses.
const maxNames, maxNameBytes = 32, 64

// headNames are the status line and the names of fields that responses on a connection had, which are the same in most
// responses of a target: they need not be copied from each.
type headNames struct {
	status string
	fields []fieldName // by the place where they stood
}

type fieldName struct{ sent, canonical string }

// statusText returns the text of a status line without the version.
func (n *headNames) statusText(sent []byte) string {
	if n.status == string(sent) {
		return n.status
	}
	text := string(sent)
	if len(text) <= maxNameBytes {
		n.status = text
	}
	return text
}

// canonical returns the canonical form of the name of a field, which stands in the given place of a header.
func (n *headNames) canonical(place int, sent []byte) string {
	if place < len(n.fields) && n.fields[place].sent == string(sent) {
		return n.fields[place].canonical
	}
	if i := slices.IndexFunc(n.fields, func(f fieldName) bool { return f.sent == string(sent) }); i >= 0 {
		return n.fields[i].canonical
	}
	text := string(sent)
	name := fieldName{text, http.CanonicalHeaderKey(text)}
	switch {
	case len(text) > maxNameBytes:
	case place < len(n.fields):
		n.fields[place] = name
	case place < maxNames:
		n.fields = append(n.fields, name)
	}
	return name.canonical
}

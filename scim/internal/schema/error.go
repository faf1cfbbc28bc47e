package schema

import (
	"fmt"
	"regexp"
	"sync"
	"unicode/utf8"
)

// Error says why a request is rejected with status 400 (RFC 7644 §3.12).
type Error struct {
	Type   string // scimType, such as invalidFilter
	Detail string // written for the administrator who reads it in the identity provider's provisioning log
	Shape  string // the detail without what the client sent
}

func (e *Error) Error() string { return e.Detail }

// at adds to the detail where in a filter or path the fault is: behind before.
func (e *Error) at(before string) {
	e.Detail += fmt.Sprintf(" (At character %d.)", utf8.RuneCountInString(before)+1)
}

// formatVerbs matches the verbs that fmt replaces with values.
var formatVerbs = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`%[.0-9]*[a-z]`) })

func invalid(scimType, format string, args ...any) *Error {
	return &Error{scimType, fmt.Sprintf(format, args...), formatVerbs().ReplaceAllString(format, "…")}
}

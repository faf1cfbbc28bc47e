package schema

import (
	"fmt"
	"regexp"
)

// Error says why a request is rejected with status 400 (RFC 7644 §3.12).
type Error struct {
	Type   string // scimType
	Detail string // written for the administrator who reads it in the identity provider's provisioning log
	Shape  string // the detail without what the client sent
}

func (e *Error) Error() string { return e.Detail }

// formatVerbs matches the verbs that fmt replaces with values.
var formatVerbs = regexp.MustCompile(`%[.0-9]*[a-z]`)

func invalid(scimType, format string, args ...any) error {
	return &Error{scimType, fmt.Sprintf(format, args...), formatVerbs.ReplaceAllString(format, "…")}
}

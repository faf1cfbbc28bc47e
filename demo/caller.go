package demo

import (
	"net/http"
	"strings"
)

// caller is the caller of a request according to Sallyport's identity headers. An
// upstream may trust them because Sallyport removes all such headers from requests,
// and because nobody else can reach the upstream. Where others might, the upstream
// must verify the assertion (see assertion.go).
type caller struct {
	UserName, Email, Name string
	Groups                []string
}

func callerOf(r *http.Request) caller {
	return caller{
		UserName: r.Header.Get("X-Forwarded-User"),
		Email:    r.Header.Get("X-Forwarded-Email"),
		Name:     r.Header.Get("X-Forwarded-Name"),
		Groups:   splitGroups(r.Header.Get("X-Forwarded-Groups")),
	}
}

func splitGroups(list string) []string {
	return strings.FieldsFunc(list, func(c rune) bool { return c == ',' })
}

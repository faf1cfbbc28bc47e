package demo

import (
	"net/http"
	"strings"
)

// caller is who a request comes from, as Sallyport says in its identity
// headers. An upstream may believe them because Sallyport removes every such
// header that a caller sent, and because nobody else can reach the upstream;
// where that second half is in doubt, it checks the assertion (see assertion.go).
type caller struct {
	UserName, Email, Name string
	Groups                []string
}

func callerOf(r *http.Request) caller {
	return caller{
		UserName: r.Header.Get("X-Forwarded-User"),
		Email:    r.Header.Get("X-Forwarded-Email"),
		Name:     r.Header.Get("X-Forwarded-Preferred-Username"),
		Groups:   splitGroups(r.Header.Get("X-Forwarded-Groups")),
	}
}

func splitGroups(list string) []string {
	return strings.FieldsFunc(list, func(c rune) bool { return c == ',' })
}

package proxy

import (
	"net/http"
	"strings"

	"sallyport/proxy/internal/header"
)

// canonical returns h with canonical names.
func (h IdentityHeaders) canonical() IdentityHeaders {
	return IdentityHeaders{User: http.CanonicalHeaderKey(h.User), Email: http.CanonicalHeaderKey(h.Email),
		Name: http.CanonicalHeaderKey(h.Name), Groups: http.CanonicalHeaderKey(h.Groups), Assertion: http.CanonicalHeaderKey(h.Assertion)}
}

// identityNames returns the names of the usual identity headers and of those of the settings. An upstream may trust the
// usual ones even if others are configured, so no client may bring either, and no upstream may send them to a client.
func identityNames(identity IdentityHeaders) (names []string) {
	for _, h := range []IdentityHeaders{Defaults().IdentityHeaders, identity} {
		for _, name := range h.all() {
			names = append(names, name)
		}
	}
	return names
}

// managedNames returns the names of headers that no client may bring.
func managedNames(identity IdentityHeaders) header.Names {
	return header.Managed(identityNames(identity)...)
}

// setIdentity sets the headers that tell the upstream who the caller is.
func (rt *routing) setIdentity(h http.Header, r *route, c *caller) {
	set := func(name, value string) {
		if name != "" && value != "" {
			h[name] = []string{value}
		}
	}
	if c.app() != "" {
		set(rt.headers.User, header.Value(appName(c.app())))
		return
	}
	set(rt.headers.User, userHeader(c.user.UserName))
	set(rt.headers.Email, header.Value(c.user.Email))
	set(rt.headers.Name, header.Value(c.user.DisplayName))
	if rt.headers.Groups != "" {
		set(rt.headers.Groups, groupList(r.groupsOf(c)))
	}
}

// userHeader returns the header value of a userName. It never equals that of an application.
func userHeader(userName string) string {
	if rest, ok := strings.CutPrefix(userName, appPrefix); ok {
		return header.Value(strings.TrimSuffix(appPrefix, ":")) + "%3A" + header.Value(rest)
	}
	return header.Value(userName)
}

// groupList joins groups by commas. Commas inside a group are encoded.
func groupList(groups []string) string {
	list := make([]string, len(groups))
	for i, g := range groups {
		list[i] = header.ListValue(g)
	}
	return strings.Join(list, ",")
}

package proxy

import (
	"fmt"
	"net/http"

	"sallyport/proxy/internal/header"
	"sallyport/proxy/internal/identity"
)

// identityHeaders returns the identity headers of every route, in the order of the file, and before them those of the
// routes that name none themselves.
func (s Settings) identityHeaders() []identity.Headers {
	all := []identity.Headers{s.IdentityHeaders.On(identity.Default())}
	for _, r := range s.Routes {
		all = append(all, r.IdentityHeaders.On(all[0]))
	}
	return all
}

// checkIdentity reports identity headers that cannot be used, and names of groups that cannot be sent.
func (s Settings) checkIdentity(fault func(path, problem string)) {
	all := s.identityHeaders()
	s.IdentityHeaders.Check(all[0], func(key, problem string) { fault(join("identity_headers", key), problem) })
	for i, r := range s.Routes {
		path, h := fmt.Sprintf("routes[%d].identity_headers", i), all[1+i]
		r.IdentityHeaders.Check(h, func(key, problem string) { fault(join(path, key), problem) })
		if h.GroupNames && (h.Groups != "" || h.Assertion != "") {
			identity.GroupNames(r.rules(s), func(problem string) { fault(join(path, "group_names"), problem) })
		}
	}
}

// warnOfGroupLists reports routes whose list of groups can be longer than many servers accept in a header.
func (s Settings) warnOfGroupLists(warn func(path, other, problem string)) {
	all := s.identityHeaders()
	for i, r := range s.Routes {
		if n := identity.ListBytes(r.rules(s)); n > identity.MaxGroupBytes && all[1+i].Groups != "" && !all[1+i].GroupNames {
			warn(fmt.Sprintf("routes[%d].policy", i), "", fmt.Sprintf("whoever is in every group that the policies of route %s name is sent with %d bytes of groups in %s, and many servers reject a header over %d. "+
				"Name fewer groups, or write identity_headers: {groups: \"\"} if the application does not read them", r.Name, n, all[1+i].Groups, identity.MaxGroupBytes))
		}
	}
}

// managedNames returns the names of headers that no client may bring, on any route.
func (s Settings) managedNames() header.Names {
	return header.Managed(identity.Names(s.identityHeaders()...)...)
}

// setIdentity sets the headers that tell the upstream who the caller is.
func (r *route) setIdentity(h http.Header, c *caller) {
	if c.app() != "" {
		r.headers.Set(h, identity.Caller{App: c.app()})
		return
	}
	r.headers.Set(h, identity.Caller{UserName: c.user.UserName, Email: c.user.Email, Name: c.user.DisplayName, Groups: r.groupsOf(c)})
}

// rejectUnset denies a check with an identity header that the route does not set: the front proxy would not overwrite it,
// and forwards what the client sent.
func (req *request) rejectUnset(h http.Header) *denial {
	if req.authClient == nil {
		return nil
	}
	for key := range h {
		if req.route.unset[header.CGI(key)] {
			return deny(badRequest, "check with "+key+", which the route does not set")
		}
	}
	return nil
}

package proxy

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"sallyport/policy"
)

// aboutMethod returns what a known caller is told whom the rules deny the method of req alone; nil for any other denial.
// It names only methods that the rules allow this caller, so it tells nobody about rules that do not match them.
func (p *Proxy) aboutMethod(req *request, reason Reason) *meaning {
	if req.caller == nil || reason != noRule && reason != ruleDeny {
		return nil
	}
	methods := p.allowedMethods(req)
	list := strings.Join(methods, ", ")
	switch {
	case len(methods) == 0 || slices.Contains(methods, req.method): // the latter if a rule has begun to match just now
		return nil
	case isReading(methods):
		return &meaning{http.StatusForbidden, "You may not change this",
			fmt.Sprintf("You may read (%s) this page; what you asked for was %s.", list, req.method)}
	}
	return &meaning{http.StatusForbidden, "You may not do that here",
		fmt.Sprintf("You may use the methods %s here; what you asked for was %s.", list, req.method)}
}

// allowedMethods returns the methods with which the rules allow the caller of req, by every reading of its path.
func (p *Proxy) allowedMethods(req *request) []string {
	now := time.Now()
	user, denied := p.checkUser(req.caller, now)
	if denied != nil {
		return nil
	}
	var q policy.Request
	p.setPolicyRequest(&q, req, req.caller, user, now)
	methods := req.route.policy.AllowedMethods(&q)
	also := func(rules *policy.Policy, paths []string) {
		for _, q.Path = range paths {
			others := rules.AllowedMethods(&q)
			methods = slices.DeleteFunc(methods, func(method string) bool { return !slices.Contains(others, method) })
		}
	}
	also(req.route.policy, req.readings.exact)
	also(req.route.folded, req.readings.folded)
	return methods
}

// isReading reports whether methods only read (RFC 9110 §9.2.1).
func isReading(methods []string) bool {
	return !slices.ContainsFunc(methods, func(method string) bool {
		return method != http.MethodGet && method != http.MethodHead && method != http.MethodOptions
	})
}

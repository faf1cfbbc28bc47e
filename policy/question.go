package policy

import "math/bits"

// question is a request that a policy decides, with the rules that it may match.
type question struct {
	policy *Policy
	req    *Request
	rules  []uint64 // those that may match, as far as their paths do
	found  found    // sets in which those are that the path matches, and those without paths
	open   reading  // the parts about the caller that read any of it are yet to be asked
	values *values  // of the request, for conditions; nil before the first one
}

// ask finds the rules that the request may match. What is found of the caller is kept for later requests if keep is set.
func (p *Policy) ask(req *Request, keep bool) (q question) {
	q = question{policy: p, req: req}
	if len(p.rules) == 0 {
		return q
	}
	method, free := p.index.method(req.Method), &p.index.anyPath
	q.rules, q.open = method.rules, readsAnything
	if p.memory != nil {
		m := p.memory.of(p, req, method, keep)
		q.rules, q.open, free = m.rules, m.caller.open, &m.free
	}
	q.found.add(free)
	p.index.paths.find(req.Path, &q.found)
	return q
}

// verdict decides by the rules in force and, if reports is set, by those in report mode too. The first rule that denies
// outweighs all that allow, of which the first one decides.
func (q *question) verdict(reports bool) Verdict {
	none := len(q.policy.rules)
	denies, allows, asksLogin := none, none, none
	for i := range q.found.n {
		denies = q.firstDeny(q.found.few[i].deny, denies, reports)
	}
	for _, s := range q.found.more {
		denies = q.firstDeny(s.deny, denies, reports)
	}
	if denies < none {
		return Verdict{Rule: q.policy.rules[denies].name, Reason: RuleDeny}
	}
	for i := range q.found.n {
		allows = q.firstAllow(q.found.few[i].allow, allows, &asksLogin, reports)
	}
	for _, s := range q.found.more {
		allows = q.firstAllow(s.allow, allows, &asksLogin, reports)
	}
	switch {
	case allows < none:
		r := &q.policy.rules[allows]
		return Verdict{Allow: true, Rule: r.name, Reason: RuleAllow, Until: Earlier(r.until(q.req), q.policy.denyChange(q.req, reports))}
	case asksLogin < none:
		r := &q.policy.rules[asksLogin]
		return Verdict{Rule: r.name, Reason: r.loginReason(q.req), Login: r.login}
	}
	return Verdict{Reason: NoRule}
}

// firstDeny returns the first rule of a set that matches, or best if none before that one does.
func (q *question) firstDeny(set ruleSet, best int, reports bool) int {
	for _, word := range set {
		for left := word.bits & q.rules[word.at]; left != 0; left &= left - 1 {
			n := word.at*64 + bits.TrailingZeros64(left)
			if n >= best {
				return best
			}
			if r := &q.policy.rules[n]; (reports || !r.report) && q.matches(r) {
				return n
			}
		}
	}
	return best
}

// firstAllow is [question.firstDeny] for rules that allow. It sets asksLogin to the rule of which the caller should be told,
// if only the login is missing of some.
func (q *question) firstAllow(set ruleSet, best int, asksLogin *int, reports bool) int {
	for _, word := range set {
		for left := word.bits & q.rules[word.at]; left != 0; left &= left - 1 {
			n := word.at*64 + bits.TrailingZeros64(left)
			if n >= best {
				return best
			}
			r := &q.policy.rules[n]
			switch {
			case r.report && !reports || !q.matches(r):
			case r.login.met(q.req):
				return n
			case q.asksLess(n, *asksLogin):
				*asksLogin = n
			}
		}
	}
	return best
}

// asksLess reports whether the caller should be told what rule n demands of the login, and not what rule other demands.
func (q *question) asksLess(n, other int) bool {
	if other == len(q.policy.rules) {
		return true
	}
	a, b := &q.policy.rules[n], &q.policy.rules[other]
	return a.demandsLess(q.req, b) || n < other && !b.demandsLess(q.req, a)
}

// matches reports whether everything of a rule matches that the index and what is known of the caller leave open, but
// for the login.
func (q *question) matches(r *rule) bool {
	if !r.end.IsZero() && !q.req.Time.Before(r.end) || r.grant != "" && !r.granted(q.req) {
		return false
	}
	for i := range r.callers {
		if part := &r.callers[i]; part.reads&q.open != 0 && !part.matches(q.req) {
			return false
		}
	}
	for _, matches := range r.asked {
		if !matches(q.req) {
			return false
		}
	}
	if r.when == nil {
		return true
	}
	if q.values == nil {
		q.values = valuesOf(q.req)
	}
	return r.when.holds(q.values)
}

// close ends the question, which must not be asked again.
func (q *question) close() {
	if q.values != nil {
		q.values.release()
	}
}

package policy

import "slices"

// maxMethods is how many methods [Policy.AllowedMethods] tries.
const maxMethods = 32

// AllowedMethods returns the methods with which the rules in force allow req, of the usual methods and of those that
// allow rules name. The caller of req could find them out by trying, so they tell nobody about rules that do
// not match them.
//
// It decides once for each method, which is work for a denial that somebody reads and not for each request.
func (p *Policy) AllowedMethods(req *Request) (allowed []string) {
	try := *req
	for _, method := range p.methods[:min(len(p.methods), maxMethods)] {
		try.Method = method
		q := p.ask(&try, false)
		if q.verdict(false).Allow {
			allowed = append(allowed, method)
		}
		q.close()
	}
	return allowed
}

// addMethods notes the methods with which a rule in force may allow requests: the usual ones first, in their order, then
// the others in the order of the rules.
func (p *Policy) addMethods(named []string) {
	if p.methods == nil {
		p.methods = slices.Clone(usualMethods)
	}
	for _, method := range named {
		if method != anyMethod && !slices.Contains(p.methods, method) {
			p.methods = append(p.methods, method)
		}
	}
}

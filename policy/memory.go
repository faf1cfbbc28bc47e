package policy

import (
	"cmp"
	"hash/maphash"
	"math/bits"
	"reflect"
	"sync/atomic"
)

// memory keeps which rules are about a caller, for the callers of late. It is bounded.
//
// A caller is known by all fields of a request that parts about the caller read. Slices and documents are compared by
// where they are: they never change, and what is kept refers to them, so that no other ones can take their place. A
// record of the directory that has changed is another record, of which nothing is kept yet.
type memory struct {
	seed  maphash.Seed
	slots []atomic.Pointer[remembered] // a power of two
	mask  uint64                       // of a hash, for its slot
	limit int64
	size  atomic.Int64  // of what is kept, in bytes
	hand  atomic.Uint64 // the slot that is emptied next, when there is too much
}

// remembered are the rules that may match the requests of one caller by one method.
type remembered struct {
	caller callerKey
	rules  []uint64
	free   ruleSets // among them, those without paths, up to the first that always matches
}

// callerKey is who makes a request, and the method.
type callerKey struct {
	method                        uint64
	open                          reading // what is not part of the key, and may differ between requests
	anonymous                     bool
	app, id, userName, externalID string
	groupIDs, groupNames, roles   []string
	attributes                    Attributes
}

// The bounds of what is kept: maxMemory in all, and memoryForName for each name of a caller in the rules, of which there
// must be some for it to be worth while.
const (
	fewNames      = 8
	memoryForName = 8 << 10
	minMemory     = 128 << 10
	maxMemory     = 16 << 20
	callerBytes   = 384 // of one caller, beside their rules
)

// newMemory returns the memory of a policy; nil if it has too few rules about callers.
func newMemory(rules []Rule) *memory {
	names := 0
	for _, r := range rules {
		m := r.match()
		names += len(m.Apps) + len(m.Users) + len(m.NotUsers) + len(m.Groups) + len(m.AllGroups) + len(m.UnlessGroups) + len(m.Roles) + len(m.Attributes)
		if m.When != "" {
			names++
		}
	}
	if names <= fewNames {
		return nil
	}
	return newMemoryOf(int64(min(max(names*memoryForName, minMemory), maxMemory)), len(rules))
}

// newMemoryOf returns a memory of so many bytes, with at least twice as many slots as there can be callers of a policy with
// so many rules, or else callers would push each other out.
func newMemoryOf(limit int64, rules int) *memory {
	caller, slots := int64(callerBytes+rules/8), uint64(1)
	for bytes := caller; bytes <= 2*limit; bytes *= 2 {
		slots *= 2
	}
	return &memory{seed: maphash.MakeSeed(), limit: limit, slots: make([]atomic.Pointer[remembered], slots), mask: slots - 1}
}

// of returns what is remembered of the caller of a request and a method, or finds it out.
func (mem *memory) of(p *Policy, req *Request, method *methodRules, keep bool) *remembered {
	open := openOf(req)
	hash := maphash.String(mem.seed, cmp.Or(req.UserID, req.App, req.UserName)) + method.number*0x9e3779b97f4a7c15
	first, second := mem.slot(hash), mem.slot(hash>>32)
	if m := first.Load(); m != nil && m.caller.is(req, method.number, open) {
		return m
	}
	if m := second.Load(); m != nil && m.caller.is(req, method.number, open) {
		return m
	}
	m := p.remember(req, method, open)
	if keep {
		mem.keep(m, first, second)
	}
	return m
}

func (mem *memory) slot(hash uint64) *atomic.Pointer[remembered] {
	return &mem.slots[hash&mem.mask]
}

// openOf returns what is not remembered of the caller of a request.
func openOf(req *Request) (open reading) {
	if req.Grants != nil {
		open |= readsGrants
	}
	if req.App != "" {
		open |= readsRoles
	}
	if req.Attributes != nil && reflect.TypeOf(req.Attributes).Kind() != reflect.Pointer {
		open |= readsAttributes
	}
	return open
}

func keyOf(req *Request, method uint64, open reading) callerKey {
	k := callerKey{method: method, open: open, anonymous: req.Anonymous, app: req.App, id: req.UserID, userName: req.UserName, externalID: req.ExternalID,
		groupIDs: req.GroupIDs, groupNames: req.GroupNames}
	if open&readsRoles == 0 {
		k.roles = req.Roles
	}
	if open&readsAttributes == 0 {
		k.attributes = req.Attributes
	}
	return k
}

// is reports whether the key is that of a request.
func (k *callerKey) is(req *Request, method uint64, open reading) bool {
	return k.method == method && k.open == open && k.anonymous == req.Anonymous &&
		k.id == req.UserID && k.app == req.App && k.userName == req.UserName && k.externalID == req.ExternalID &&
		sameSlice(k.groupIDs, req.GroupIDs) && sameSlice(k.groupNames, req.GroupNames) &&
		(open&readsRoles != 0 || sameSlice(k.roles, req.Roles)) && (open&readsAttributes != 0 || k.attributes == req.Attributes)
}

// sameSlice reports whether a and b are one slice.
func sameSlice(a, b []string) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// keep puts m in one of two places: that of the same caller before, or else a free one, or else the second.
func (mem *memory) keep(m *remembered, first, second *atomic.Pointer[remembered]) {
	place := second
	if a, b := first.Load(), second.Load(); a.replacedBy(m) || a == nil && !b.replacedBy(m) {
		place = first
	}
	mem.replace(place, m)
	for mem.size.Load() > mem.limit {
		mem.replace(mem.slot(mem.hand.Add(1)), nil)
	}
}

func (mem *memory) replace(place *atomic.Pointer[remembered], m *remembered) {
	mem.size.Add(m.size() - place.Swap(m).size())
}

func (m *remembered) replacedBy(other *remembered) bool {
	return m != nil && m.caller.id == other.caller.id && m.caller.app == other.caller.app && m.caller.method == other.caller.method
}

// size returns about how many bytes are kept; the slices of the caller belong to others.
func (m *remembered) size() int64 {
	if m == nil {
		return 0
	}
	return int64(callerBytes + 16*(len(m.free.deny)+len(m.free.allow)) + 8*len(m.rules))
}

// remember finds the rules that may match the requests of a caller by a method.
func (p *Policy) remember(req *Request, method *methodRules, open reading) *remembered {
	m := &remembered{caller: keyOf(req, method.number, open), rules: make([]uint64, len(method.rules))}
	plain := *req
	plain.Grants = nil // with them, fewer rules may match
	p.index.callers.each(&plain, open, func(rules []int) {
		for _, n := range rules {
			if hasBit(method.rules, n) && !hasBit(m.rules, n) && p.rules[n].mayBeAbout(&plain, open) {
				setBit(m.rules, n)
			}
		}
	})
	m.free.deny = p.untilAlways(p.index.anyPath.deny, m)
	m.free.allow = p.untilAlways(p.index.anyPath.allow, m)
	return m
}

// mayBeAbout reports whether every part about the caller matches, or is open. The part that is indexed does.
func (r *rule) mayBeAbout(req *Request, open reading) bool {
	for i := range r.callers {
		if part := &r.callers[i]; !part.indexed && part.reads&open&^readsGrants == 0 && !part.matches(req) {
			return false
		}
	}
	return true
}

// untilAlways returns the rules of a set that may match, up to the first that matches every request of the caller: of
// rules without paths, no later one can decide.
func (p *Policy) untilAlways(set ruleSet, m *remembered) (may ruleSet) {
	for _, word := range set {
		all := word.bits & m.rules[word.at]
		for left := all; left != 0; left &= left - 1 {
			if n := bits.TrailingZeros64(left); p.rules[word.at*64+n].always(m.caller.open) {
				return append(may, ruleWord{word.at, all & (2<<n - 1)})
			}
		}
		if all != 0 {
			may = append(may, ruleWord{word.at, all})
		}
	}
	return may
}

// always reports whether the rule is in force and matches every request of a caller whom it may match.
func (r *rule) always(open reading) bool {
	for i := range r.callers {
		if r.callers[i].reads&open != 0 {
			return false
		}
	}
	return !r.report && len(r.asked) == 0 && r.when == nil && r.login == nil && r.end.IsZero() && r.grant == ""
}

package policy

// ruleIndex finds the rules that a request can match without asking each of them. Rules are named by their numbers, which
// are their places among the rules of the policy.
type ruleIndex struct {
	methods     map[string]*methodRules // of each method that a rule names, and of the usual ones
	otherMethod *methodRules            // of every other method
	anyPath     ruleSets                // the rules without paths
	paths       pathTree                // the others
	callers     callerIndex
}

// methodRules are the rules that a method matches.
type methodRules struct {
	number uint64 // of the method, in the index
	rules  []uint64
}

// ruleSet is a set of rules by their numbers: a bit each, without the words that have none.
type ruleSet []ruleWord

type ruleWord struct {
	at   int // of the word: its first bit is rule 64 * at
	bits uint64
}

// add adds a rule whose number is not smaller than those in the set.
func (s *ruleSet) add(n int) {
	if last := len(*s) - 1; last >= 0 && (*s)[last].at == n/64 {
		(*s)[last].bits |= 1 << (n % 64)
		return
	}
	*s = append(*s, ruleWord{n / 64, 1 << (n % 64)})
}

// ruleSets are rules that deny and rules that allow.
type ruleSets struct{ deny, allow ruleSet }

func (s *ruleSets) add(n int, allow bool) {
	if allow {
		s.allow.add(n)
	} else {
		s.deny.add(n)
	}
}

// build indexes rules, of which written has the text.
func (x *ruleIndex) build(rules []rule, written []Rule) {
	x.addMethods(rules, written)
	x.callers = newCallerIndex()
	for n := range rules {
		r, m := &rules[n], written[n].match()
		x.callers.add(n, r, m)
		if len(m.Paths) == 0 {
			x.anyPath.add(n, r.allow)
		}
		for _, path := range m.Paths {
			parse := parseDenyGlob
			if r.allow {
				parse = parseGlob
			}
			x.paths.add(parse(path), n, r.allow)
		}
	}
}

func (x *ruleIndex) addMethods(rules []rule, written []Rule) {
	words := (len(rules) + 63) / 64
	last := uint64(0)
	add := func() *methodRules { last++; return &methodRules{last, make([]uint64, words)} }
	x.methods, x.otherMethod = map[string]*methodRules{}, &methodRules{0, make([]uint64, words)}
	for _, method := range usualMethods {
		x.methods[method] = add()
	}
	for _, w := range written {
		for _, method := range w.match().Methods {
			if x.methods[method] == nil && method != anyMethod {
				x.methods[method] = add()
			}
		}
	}
	for n, w := range written {
		named := w.match().Methods
		switch {
		case len(named) == 0 && rules[n].allow:
			named = usualMethods
		case len(named) == 0 || named[0] == anyMethod:
			setBit(x.otherMethod.rules, n)
			for _, m := range x.methods {
				setBit(m.rules, n)
			}
			continue
		}
		for _, method := range named {
			setBit(x.methods[method].rules, n)
		}
	}
}

// method returns the rules that a method matches.
func (x *ruleIndex) method(name string) *methodRules {
	if m, ok := x.methods[name]; ok {
		return m
	}
	return x.otherMethod
}

func setBit(words []uint64, n int) { words[n/64] |= 1 << (n % 64) }

func hasBit(words []uint64, n int) bool { return words[n/64]&(1<<(n%64)) != 0 }

// pathTree finds rules by the paths that they name, segment by segment.
type pathTree struct{ root pathNode }

// pathNode is where patterns lead that have begun with the same segments.
type pathNode struct {
	segment string // the only one that leads on, and where it leads; "" if there is none, or more than one
	only    *pathNode
	next    map[string]*pathNode // where each segment leads, if there is more than one
	any     *pathNode            // where /* leads

	end   ruleSets // the rules for a path that ends here
	below ruleSets // the rules for a path that goes on
	slash ruleSets // and for one of which only a slash is left, beside those of below
}

func (t *pathTree) add(g glob, n int, allow bool) {
	node := &t.root
	for _, segment := range g.segments {
		node = node.grow(segment)
	}
	node.end.add(n, allow)
	switch {
	case g.below:
		node.below.add(n, allow)
	case g.slash:
		node.slash.add(n, allow)
	}
}

// grow returns where a segment of a pattern leads.
func (n *pathNode) grow(segment string) *pathNode {
	if segment == "/*" {
		if n.any == nil {
			n.any = &pathNode{}
		}
		return n.any
	}
	if next := n.follow(segment); next != nil {
		return next
	}
	next := &pathNode{}
	switch {
	case n.only == nil && n.next == nil:
		n.segment, n.only = segment, next
	case n.next == nil:
		n.next = map[string]*pathNode{n.segment: n.only, segment: next}
		n.segment, n.only = "", nil
	default:
		n.next[segment] = next
	}
	return next
}

// follow returns where a segment that is not /* leads; nil if nowhere.
func (n *pathNode) follow(segment string) *pathNode {
	if n.only != nil && n.segment == segment {
		return n.only
	}
	return n.next[segment]
}

// found are the sets of rules that a path leads to.
type found struct {
	few  [8]*ruleSets
	n    int // in few
	more []*ruleSets
}

func (f *found) add(s *ruleSets) {
	switch {
	case len(s.deny)+len(s.allow) == 0:
	case f.n < len(f.few):
		f.few[f.n] = s
		f.n++
	default:
		f.more = append(f.more, s)
	}
}

// find adds the sets of rules that a path leads to.
func (t *pathTree) find(path string, f *found) { t.root.find(path, f) }

// find adds the sets for a path of which rest is left at the node.
func (n *pathNode) find(rest string, f *found) {
	for rest != "" {
		f.add(&n.below)
		if rest == "/" {
			f.add(&n.slash)
		}
		var got string
		got, rest = cutSegment(rest)
		if n.any != nil && len(got) > 1 {
			n.any.find(rest, f)
		}
		if n = n.follow(got); n == nil {
			return
		}
	}
	f.add(&n.end)
}

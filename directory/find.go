package directory

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Query says which users are looked for.
type Query struct {
	Text  string           // each of its words is a part of a name of the user; "" for all users
	Keep  func(*User) bool // called once for each user with these names; nil keeps all
	From  int              // how many of the users are left out
	Limit int              // how many are returned at most
}

// Find returns users by parts of any of their names: userName, displayName, the parts of name, nickName, e-mail addresses,
// externalId and id; neither case nor accents count. Those come first of whom a name is the text, then those of whom one
// begins with it, then those of whom a word does; each by userName. total is how many users there are. A text of more than
// 32 different words finds nobody.
//
// It looks at every user in memory, and neither sorts nor copies more than it returns, so that it takes some milliseconds
// in a directory of 100,000. The first call takes longer: it folds every name.
func (d *Directory) Find(q Query) (found []*User, total int) {
	terms := newTerms(q.Text)
	best := newBest(q.From+q.Limit, func(a, b ranked[*User]) int {
		return cmp.Or(a.rank-b.rank, compareUsers(a.of, b.of))
	})
	idx := d.index.Load().users
	for i := range idx.shards {
		behind := unranked // users of this rank, and of higher ones, who follow in the shard come behind all that are returned
		idx.searchable(i).each(terms, func(u *User, rank int) {
			if q.Keep != nil && !q.Keep(u) {
				return
			}
			total++
			if rank < behind && !best.add(ranked[*User]{u, rank}) {
				behind = rank
			}
		})
	}
	for _, r := range best.from(q.From) {
		found = append(found, r.of)
	}
	return found, total
}

// compareUsers orders users by userName.
func compareUsers(a, b *User) int {
	if order := strings.Compare(a.UserName, b.UserName); order != 0 {
		return order
	}
	return strings.Compare(a.ID, b.ID)
}

// GroupQuery says which groups are looked for. Its fields are those of a [Query].
type GroupQuery struct {
	Text        string
	Keep        func(*Group) bool
	From, Limit int
}

// FindGroups returns groups by parts of displayName, externalId and id, as [Directory.Find] does users.
func (d *Directory) FindGroups(q GroupQuery) (found []Group, total int) {
	terms := newTerms(q.Text)
	best := newBest(q.From+q.Limit, func(a, b ranked[*Group]) int {
		return cmp.Or(a.rank-b.rank, strings.Compare(a.of.DisplayName, b.of.DisplayName), strings.Compare(a.of.ID, b.of.ID))
	})
	for _, g := range d.allGroups() {
		rank, ok := 0, true
		if len(terms.words) > 0 {
			rank, ok = terms.rankGroup(g)
		}
		if ok && (q.Keep == nil || q.Keep(g)) {
			best.add(ranked[*Group]{g, rank})
			total++
		}
	}
	for _, r := range best.from(q.From) {
		found = append(found, *r.of)
	}
	return found, total
}

// allGroups returns every group. Groups are replaced, never altered.
func (d *Directory) allGroups() []*Group {
	d.mu.RLock()
	defer d.mu.RUnlock()
	list := make([]*Group, 0, len(d.groups))
	for _, g := range d.groups {
		list = append(list, g)
	}
	return list
}

// GroupByID returns a group without its document, as memory has it.
func (d *Directory) GroupByID(id string) (Group, bool) {
	g, ok := d.group(id)
	if !ok {
		return Group{}, false
	}
	return *g, true
}

// IsIn reports whether the user is a direct member of a group, by our id.
func (u *User) IsIn(group string) bool {
	return slices.ContainsFunc(u.groups, func(g *Group) bool { return g.ID == group })
}

// Groups returns the groups that the user is a direct member of, in the order of GroupIDs, without their documents.
func (u *User) Groups() []Group {
	list := make([]Group, len(u.groups))
	for i, g := range u.groups {
		list[i] = *g
	}
	return list
}

// searchText returns the names of a group, as [Directory.FindGroups] compares them: each between two newlines.
func (g *Group) searchText() string {
	return "\n" + searched(g.DisplayName) + "\n" + searched(g.ExternalID) + "\n" + g.ID + "\n"
}

// searchShard is what searches read of the users of one shard: their names in one text, which is faster to read than the
// texts of many users.
type searchShard struct {
	version uint64  // of the shard
	users   []*User // by userName
	ends    []int   // of the names of each user in text
	text    string
}

// searchable returns what searches read of a shard. It is made anew after a change of the shard: whoever changes it counts
// the version after the change, and the version is read before the users, so that what is stale has a former version.
func (idx *userIndex) searchable(i int) *searchShard {
	s := &idx.shards[i]
	version := s.version.Load()
	if known := s.search.Load(); known != nil && known.version == version {
		return known
	}
	made := &searchShard{version: version}
	s.mu.RLock()
	for _, u := range s.users {
		made.users = append(made.users, u)
	}
	s.mu.RUnlock()
	slices.SortFunc(made.users, compareUsers)
	var text strings.Builder
	for _, u := range made.users {
		text.WriteString(u.searchText())
		made.ends = append(made.ends, text.Len())
	}
	made.text = text.String()
	s.search.Store(made)
	return made
}

// each calls f with the users whom terms fit, and how well.
func (s *searchShard) each(terms terms, f func(u *User, rank int)) {
	if terms.none {
		return
	}
	if len(terms.words) == 0 {
		for _, u := range s.users {
			f(u, 0)
		}
		return
	}
	for i, begin := 0, 0; ; i++ {
		at := strings.Index(s.text[begin:], terms.words[0])
		if at < 0 {
			return
		}
		for at += begin; s.ends[i] <= at; i++ {
			begin = s.ends[i]
		}
		if rank, ok := terms.rank(s.text[begin:s.ends[i]], at-begin); ok {
			f(s.users[i], rank)
		}
		begin = s.ends[i]
	}
}

// searchText returns the names of a user from memory, as [Directory.Find] compares them: each between two newlines. It is
// kept until the record of the user changes.
func (u *User) searchText() string {
	if u.attributes == nil {
		return u.makeSearchText()
	}
	if text := u.attributes.search.Load(); text != nil {
		return *text
	}
	text := u.makeSearchText()
	u.attributes.search.Store(&text)
	return text
}

func (u *User) makeSearchText() string {
	var text strings.Builder
	text.WriteByte('\n')
	add := func(name string) {
		if name = searched(name); name != "" && !strings.Contains(text.String(), "\n"+name+"\n") {
			text.WriteString(name)
			text.WriteByte('\n')
		}
	}
	for _, name := range []string{u.UserName, u.DisplayName, u.ExternalID, u.ID} {
		add(name)
	}
	for _, name := range u.Emails {
		add(name)
	}
	for attribute, value := range membersOf(u.Document) {
		switch string(attribute) {
		case `"nickName"`:
			add(textOf(value))
		case `"name"`:
			for _, part := range membersOf(value) {
				add(textOf(part))
			}
		}
	}
	return text.String()
}

// searched returns a name as it is compared in a search: folded, and without accents.
func searched(s string) string {
	s = Fold(s)
	if ascii(s) {
		return s
	}
	return norm.NFC.String(strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return r
	}, norm.NFD.String(s)))
}

// terms are what is looked for.
type terms struct {
	words []string // the longest first
	begin string   // a name that begins with all of them
	whole string   // a name that is all of them
	none  bool     // they are too many: nothing is found
}

// maxWords is how many different words are looked for at most: each of them is looked for in every name.
const maxWords = 32

func newTerms(text string) terms {
	words := strings.Fields(searched(text))
	begin := "\n" + strings.Join(words, " ")
	slices.SortFunc(words, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	words = slices.Compact(words)
	return terms{words, begin, begin + "\n", len(words) > maxWords}
}

// rank reports whether each word is a part of text, which has names between newlines and the first word at a place, and how
// well they fit: 0 if a name is the words, 1 if one begins with them, 2 if each word begins a word, else 3.
func (t terms) rank(text string, at int) (rank int, ok bool) {
	rank = startRank(text, t.words[0], at)
	for _, word := range t.words[1:] {
		at := strings.Index(text, word)
		if at < 0 {
			return 0, false
		}
		if rank < 3 {
			rank = max(rank, startRank(text, word, at))
		}
	}
	begins := len(t.words) == 1 && at > 0 && text[at-1] == '\n' || rank < 3 && strings.Contains(text, t.begin)
	switch {
	case !begins:
		return rank, true
	case strings.Contains(text, t.whole):
		return 0, true
	}
	return 1, true
}

func (t terms) rankGroup(g *Group) (rank int, ok bool) {
	at := strings.Index(g.search, t.words[0])
	if at < 0 || t.none {
		return 0, false
	}
	return t.rank(g.search, at)
}

// startRank returns 2 if word, which is in text from at on, begins a word there or later, else 3.
func startRank(text, word string, at int) int {
	for from := at; ; {
		before, _ := utf8.DecodeLastRuneInString(text[:from])
		if before == '\n' || !unicode.IsLetter(before) && !unicode.IsDigit(before) {
			return 2
		}
		next := strings.Index(text[from+1:], word)
		if next < 0 {
			return 3
		}
		from += 1 + next
	}
}

// unranked is higher than every rank.
const unranked = 4

// ranked is what a search found, and how well it fits: 0 is best.
type ranked[T any] struct {
	of   T
	rank int
}

// best keeps the first n of what is added, in an order, without sorting the rest.
type best[T any] struct {
	n       int
	compare func(a, b T) int
	list    []T // at most twice n; those at n and behind it may not be among the first
	last    *T  // what comes behind it is not among the first; nil if there are not n yet
}

func newBest[T any](n int, compare func(a, b T) int) *best[T] {
	return &best[T]{n: n, compare: compare}
}

// add adds an element. It reports false if that and all behind it are not among the first.
func (b *best[T]) add(element T) bool {
	if b.n <= 0 || b.last != nil && b.compare(element, *b.last) > 0 {
		return false
	}
	if b.list = append(b.list, element); len(b.list) >= 2*b.n {
		b.cut()
	}
	return true
}

// cut drops what is not among the first n.
func (b *best[T]) cut() {
	if len(b.list) >= b.n {
		moveFirst(b.list, b.n, b.compare)
		b.list = b.list[:b.n]
		last := b.list[b.n-1]
		b.last = &last
	}
}

// from returns the first n in order, without as many of them as skip.
func (b *best[T]) from(skip int) []T {
	if b.n <= 0 {
		return nil
	}
	b.cut()
	skip = min(skip, len(b.list))
	moveFirst(b.list, skip, b.compare)
	slices.SortFunc(b.list[skip:], b.compare)
	return b.list[skip:]
}

// moveFirst moves the first n of a list to its beginning, in no order but that the last of them is at n-1. It takes a time in
// proportion to the length of the list (quickselect, with pivots at random).
func moveFirst[T any](list []T, n int, compare func(a, b T) int) {
	low, high := 0, len(list)-1
	for n > 0 && low < high {
		pivot := list[low+rand.IntN(high-low+1)] //nolint:gosec // only the time depends on it
		i, j := low, high
		for i <= j {
			for compare(list[i], pivot) < 0 {
				i++
			}
			for compare(list[j], pivot) > 0 {
				j--
			}
			if i <= j {
				list[i], list[j] = list[j], list[i]
				i, j = i+1, j-1
			}
		}
		switch {
		case n-1 <= j:
			high = j
		case n-1 >= i:
			low = i
		default:
			return
		}
	}
}

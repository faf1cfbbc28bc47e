package postgres

import (
	"fmt"
	"strings"
	"sync"

	"sallyport/store"
)

// mark names a change. Two changes of one revision have different ids: the one is of a database that was restored, or
// promoted without the other.
type mark struct {
	revision store.Revision
	id       string
}

// history is which changes of the database this process knows.
type history struct {
	mu        sync.Mutex // guards the fields below
	pulled    mark       // the newest that was read, for those who watch
	viewed    mark       // the newest that View has read, if pulled is older
	committed mark       // the newest of this process
}

// pull says that every change up to m was read.
func (h *history) pull(m mark) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pulled = m
	if h.viewed.revision <= m.revision {
		h.viewed = mark{}
	}
}

// view says that somebody has read the records that m left.
func (h *history) view(m mark) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if m.revision >= h.viewed.revision && m != h.pulled {
		h.viewed = m
	}
}

// commit says that this process has made the change m, and that it is durable.
func (h *history) commit(m mark) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.committed = m
}

// newest returns the newest change that was read for those who watch.
func (h *history) newest() mark {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.pulled
}

// isDurable reports whether the change m is known to be durable.
func (h *history) isDurable(m mark) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return m == h.committed
}

// included returns a condition in SQL: the database has every change that this process knows. Memory may have the changes
// of a database that another took the place of; then the numbers of revisions say nothing.
func (h *history) included() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	conditions := []string{"true"}
	for _, m := range []mark{h.pulled, h.viewed} {
		if m.revision > 0 { // the empty store is in the history of every one
			conditions = append(conditions, fmt.Sprintf("(EXISTS (SELECT 1 FROM sallyport_changes WHERE revision = %[1]d AND id = '\\x%[2]x') OR EXISTS (SELECT 1 FROM sallyport_meta WHERE revision = %[1]d AND id = '\\x%[2]x'))", m.revision, m.id))
		}
	}
	return strings.Join(conditions, " AND ")
}

// includedSQL is the condition of included, with the arguments of [history.known] in place of $1 to $4.
const includedSQL = `(NOT EXISTS (SELECT 1 FROM (VALUES ($1::bigint, $2::bytea), ($3::bigint, $4::bytea)) AS known (revision, id) WHERE known.revision > 0
AND NOT EXISTS (SELECT 1 FROM sallyport_changes AS c WHERE c.revision = known.revision AND c.id = known.id)
AND NOT EXISTS (SELECT 1 FROM sallyport_meta AS m WHERE m.revision = known.revision AND m.id = known.id)))`

// known returns the arguments of includedSQL.
func (h *history) known() []any {
	h.mu.Lock()
	defer h.mu.Unlock()
	return []any{number(h.pulled.revision), []byte(h.pulled.id), number(h.viewed.revision), []byte(h.viewed.id)}
}

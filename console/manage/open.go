package manage

import (
	"fmt"
	"sync"
)

// How many pages one person may have kept up to date, and how many exports may be under way for them: others share the server,
// and what replicas ask each other.
const (
	maxStreams = 32
	maxExports = 1
)

// errTooManyStreams means that one person has as many pages kept up to date as may be.
var errTooManyStreams = fmt.Errorf("one person has more than %d pages open that are kept up to date: %w", maxStreams, ErrTooMany)

// open counts what goes on for long, for each person.
type open struct {
	mu    sync.Mutex // guards count
	count map[string]int
}

// begin reports whether a person may have one more, of at most so many. If so, end must be called when it has ended.
func (o *open) begin(user string, most int) (end func(), ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.count[user] >= most {
		return nil, false
	}
	if o.count == nil {
		o.count = map[string]int{}
	}
	o.count[user]++
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.count[user]--; o.count[user] == 0 {
			delete(o.count, user)
		}
	}, true
}

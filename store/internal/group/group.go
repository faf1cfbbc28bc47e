// Package group commits the updates of many callers together: one caller, the leader, commits every update that waits,
// and then makes the first of those that came meanwhile the next leader. Thus many writers share one commit, and a
// single writer waits for no other.
package group

import (
	"context"
	"sync"

	"sallyport/store"
)

// Update is one call of [Group.Update].
type Update struct {
	Ctx context.Context
	Fn  func(store.Writer) error

	Revision store.Revision
	Urgent   bool // see [store.Urgent]
	Finished bool
	Err      error

	signal chan struct{} // receives one value once the update is finished or has to lead
}

// Finish sets the results of updates; an error takes their revisions away.
func Finish(updates []*Update, err error) {
	for _, u := range updates {
		u.Finished = true
		if err != nil {
			u.Revision, u.Err = 0, err
		}
	}
}

// Group is updates that wait for a commit.
type Group struct {
	commit func([]*Update) // finishes each update; called by one leader at a time

	mu         sync.Mutex // guards the fields below
	queue      []*Update  // wait for the next commit
	committing bool
}

// New returns a group whose updates commit finishes.
func New(commit func([]*Update)) *Group { return &Group{commit: commit} }

// Update returns when a commit has finished the update by fn.
func (g *Group) Update(ctx context.Context, fn func(store.Writer) error) (store.Revision, error) {
	u := &Update{Ctx: ctx, Fn: fn, signal: make(chan struct{}, 1)}
	g.mu.Lock()
	g.queue = append(g.queue, u)
	leads := !g.committing
	g.committing = true
	g.mu.Unlock()
	if !leads {
		<-u.signal
	}
	if !u.Finished {
		g.commitAll()
	}
	return u.Revision, u.Err
}

// commitAll commits the updates that wait. The caller is the only leader.
func (g *Group) commitAll() {
	g.mu.Lock()
	waiting := g.queue
	g.queue = nil
	g.mu.Unlock()
	defer g.passLeadership(waiting)
	g.commit(waiting)
}

// passLeadership signals the finished updates, and makes the first that waits the next
// leader.
func (g *Group) passLeadership(done []*Update) {
	for _, u := range done {
		u.signal <- struct{}{}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.committing = len(g.queue) > 0; g.committing {
		g.queue[0].signal <- struct{}{}
	}
}

package admin

import (
	"context"
	"sync"
	"time"

	"sallyport/audit/rollup"
)

const (
	figuresAge  = 2 * time.Second // for which figures are told again to others who ask
	figuresMost = 64              // queries whose figures are remembered
)

// figuresCache has those who ask for the same figures at about the same time share one question to the replicas.
type figuresCache struct {
	mu   sync.Mutex // guards the fields below
	list map[rollup.Query]*sharedFigures
}

// sharedFigures are the figures of one query.
type sharedFigures struct {
	asked time.Time
	done  chan struct{} // closed when the fields below are set
	value Figures
	err   error
}

// get returns figures that are not older than [figuresAge], by ask unless somebody else has asked.
func (c *figuresCache) get(ctx context.Context, q rollup.Query, ask func(context.Context, rollup.Query) (Figures, error)) (Figures, error) {
	now := time.Now()
	c.mu.Lock()
	one, ok := c.list[q]
	if !ok || now.Sub(one.asked) > figuresAge {
		for other, old := range c.list {
			if now.Sub(old.asked) > figuresAge || len(c.list) >= figuresMost {
				delete(c.list, other)
			}
		}
		one = &sharedFigures{asked: now, done: make(chan struct{})}
		if c.list == nil {
			c.list = map[rollup.Query]*sharedFigures{}
		}
		c.list[q] = one
		c.mu.Unlock()
		one.value, one.err = ask(context.WithoutCancel(ctx), q) // others wait for it too
		close(one.done)
		return one.value, one.err
	}
	c.mu.Unlock()
	select {
	case <-one.done:
		return one.value, one.err
	case <-ctx.Done():
		return Figures{}, ctx.Err()
	}
}

package handover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"sallyport/store"
)

// How long the other process may take for all of one function. An update keeps others waiting.
const (
	viewTime   = time.Minute
	updateTime = 5 * time.Second
)

// pageSize is how many entries, and about how many bytes, one message has.
const (
	pageSize  = 256
	pageBytes = 1 << 20
)

var errAborted = errors.New("the other process aborted the change")

// ServeCall serves one call of another process, and closes conn.
func (s *Store) ServeCall(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	c := &served{link: newLink(conn)}
	c.link.limit(viewTime)
	var first ask
	if c.link.Decode(&first) != nil {
		return
	}
	var end reply
	var err error
	switch first.Op {
	case opView:
		err = s.View(ctx, func(r store.Reader) error { return c.run(r, nil, viewTime) })
	case opUpdate:
		end.Revision, err = s.update(ctx, func(w store.Writer) error { return c.run(w, w, updateTime) })
		if err == nil {
			c.link.limit(updateTime)
			err = s.awaitFollowers(ctx, end.Revision)
		}
	default:
		err = fmt.Errorf("a call begins with the operation %d", first.Op)
	}
	end.Err = toWire(err)
	_ = c.link.send(end)
}

// served is a call of another process.
type served struct {
	link   *link
	failed error // of a write
}

// run does what the function of the other process asks for, until it ends. w is nil if it may only read.
func (c *served) run(r store.Reader, w store.Writer, limit time.Duration) error {
	c.failed = nil
	c.link.limit(limit)
	if err := c.link.send(reply{Begin: true, Revision: r.Revision()}); err != nil {
		return err
	}
	for {
		var a ask
		if err := c.link.Decode(&a); err != nil {
			return fmt.Errorf("the process that asked for it does not go on: %w", err)
		}
		switch a.Op {
		case opEnd:
			return c.failed
		case opAbort:
			return errAborted
		case opGet:
			value, err := r.Get(a.Key)
			if err := c.link.send(reply{Value: value, Err: toWire(err)}); err != nil {
				return err
			}
		case opScan:
			if err := c.link.send(scan(r, a)); err != nil {
				return err
			}
		default:
			c.write(w, a)
		}
	}
}

func (c *served) write(w store.Writer, a ask) {
	err := error(nil)
	switch {
	case w == nil:
		err = fmt.Errorf("the operation %d is not one that reads", a.Op)
	case a.Op == opPut:
		err = w.Put(a.Key, a.Value)
	case a.Op == opDelete:
		err = w.Delete(a.Key)
	case a.Op == opUrgent:
		store.Urgent(w)
	default:
		err = fmt.Errorf("there is no operation %d", a.Op)
	}
	if c.failed == nil {
		c.failed = err
	}
}

// scan returns one page of entries.
func scan(r store.Reader, a ask) (page reply) {
	bytes := 0
	for e, err := range r.Scan(a.Key, a.Value) {
		if err != nil && e.Key == nil {
			page.Err = toWire(err)
			return page
		}
		if len(page.Entries) >= pageSize || bytes >= pageBytes {
			page.More = true
			return page
		}
		page.Entries = append(page.Entries, entry{slices.Clone(e.Key), slices.Clone(e.Value), toWire(err)})
		bytes += len(e.Key) + len(e.Value)
	}
	return page
}

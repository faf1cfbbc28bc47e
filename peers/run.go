package peers

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"sallyport/store"
)

// retry is how long nothing is done after the store could not be read.
const retry = time.Second

// Run replies to the questions of other processes, and deletes what is done, until ctx ends.
func (p *Peers) Run(ctx context.Context) error {
	if p.members == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() { p.tidy(ctx) })
	for ctx.Err() == nil {
		err := p.follow(ctx, &all)
		if ctx.Err() != nil || errors.Is(err, store.ErrClosed) {
			break
		}
		if !errors.Is(err, store.ErrCompacted) { // what was missed is not asked any more
			p.log.Debug("questions of other replicas cannot be read, and are looked for again", "err", err)
			rest(ctx, retry)
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// follow sees every change from now on.
func (p *Peers) follow(ctx context.Context, all *sync.WaitGroup) error {
	own, _, err := p.members.Processes(ctx)
	if err != nil {
		return err
	}
	var newest store.Revision
	if err := p.store.View(ctx, func(r store.Reader) error { newest = r.Revision(); return nil }); err != nil {
		return err
	}
	for change, err := range p.store.Watch(ctx, newest) {
		if err != nil {
			return err
		}
		for _, w := range change.Writes {
			if id, process, ok := splitKey(w.Key); ok && !w.Deleted {
				p.see(ctx, all, own, id, process, w.Value)
			}
		}
	}
	return errors.New("the store yields no more changes")
}

// see passes a reply on to whoever asked, and has a question replied to. value is valid until see returns.
func (p *Peers) see(ctx context.Context, all *sync.WaitGroup, own, id, process string, value []byte) {
	p.mu.Lock()
	arrivals, mine := p.pending[id]
	p.mu.Unlock()
	if process != "" {
		var r reply
		if mine && json.Unmarshal(value, &r) == nil {
			select {
			case arrivals <- arrival{process, r}:
			default: // more came than processes were asked
			}
		}
		return
	}
	var q question
	if mine || json.Unmarshal(value, &q) != nil {
		return
	}
	handling := p.lane(q).handling
	select {
	case handling <- struct{}{}:
		all.Go(func() {
			defer func() { <-handling }()
			p.reply(ctx, own, id, q)
		})
	default:
		p.log.Debug("a question of another replica is not replied to: too many are under way", "question", q.Name)
	}
}

// reply writes the reply of this process, unless the question was deleted meanwhile.
func (p *Peers) reply(ctx context.Context, own, id string, q question) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	p.mu.Lock()
	idle := len(p.handlers) == 0
	p.mu.Unlock()
	record := reply{Idle: true}
	if !idle {
		record = pack(p.call(ctx, q.Name, q.Args))
	}
	text, err := json.Marshal(record)
	if err != nil {
		return
	}
	_, err = p.store.Update(ctx, func(w store.Writer) error {
		_, err := w.Get([]byte(prefix + id))
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return w.Put([]byte(prefix+id+"/"+own), text)
	})
	if err != nil {
		p.log.Debug("a reply to another replica could not be written", "question", q.Name, "err", err)
	}
}

// tidy deletes the records of questions that are done, and those whose process ended before it did. When ctx ends, what is
// done is deleted too.
func (p *Peers) tidy(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	left := map[string]bool{}
	for {
		select {
		case <-ctx.Done():
			select {
			case id := <-p.done:
				p.forget(context.WithoutCancel(ctx), p.alsoDone(id))
			default:
			}
			return
		case id := <-p.done:
			p.forget(ctx, p.alsoDone(id))
		case <-tick.C:
			left = p.sweep(ctx, left)
		}
	}
}

// alsoDone returns id and the other questions that wait to be deleted.
func (p *Peers) alsoDone(id string) []string {
	ids := []string{id}
	for {
		select {
		case id := <-p.done:
			ids = append(ids, id)
		default:
			return ids
		}
	}
}

// sweep deletes the questions that were there at the sweep before, by no clock but that of this process. It returns those that
// are there now.
func (p *Peers) sweep(ctx context.Context, before map[string]bool) map[string]bool {
	ctx, cancel := context.WithTimeout(ctx, tidying)
	defer cancel()
	now, stale := map[string]bool{}, []string(nil)
	err := p.store.View(ctx, func(r store.Reader) error {
		clear(now)
		for e, err := range r.Scan([]byte(prefix), nil) {
			if err != nil && !errors.Is(err, store.ErrDamaged) {
				return err
			}
			id, _, ok := splitKey(e.Key)
			if ok && len(now) < 1000 {
				now[id] = true
			}
		}
		return nil
	})
	if err != nil {
		return before
	}
	for id := range now {
		if before[id] {
			stale = append(stale, id)
		}
	}
	p.forget(ctx, stale)
	return now
}

// forget deletes the records of questions.
func (p *Peers) forget(ctx context.Context, ids []string) {
	if len(ids) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, tidying)
	defer cancel()
	_, err := p.store.Update(ctx, func(w store.Writer) error {
		for _, id := range ids {
			if err := store.DeleteAll(w, []byte(prefix+id)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		p.log.Debug("questions to other replicas could not be deleted, and are swept later", "err", err)
	}
}

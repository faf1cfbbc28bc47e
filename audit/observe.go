package audit

import "sync/atomic"

// observers are called with every event that was written.
type observers struct {
	list atomic.Pointer[[]func(Event, uint64)]
}

func (o *observers) tell(e Event, number uint64) {
	if list := o.list.Load(); list != nil {
		for _, f := range *list {
			f(e, number)
		}
	}
}

// Written has f called with every event that this process writes from now on, of every kind, once it is written, and with the
// number of its line; several calls may come at once. f must not wait, and has no part of the event to keep. It returns the
// number of the newest line before. It may be called several times.
func (l *Log) Written(f func(e Event, number uint64)) (newest uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := []func(Event, uint64){f}
	if before := l.observers.list.Load(); before != nil {
		list = append((*before)[:len(*before):len(*before)], f)
	}
	l.observers.list.Store(&list)
	return l.last.seq
}

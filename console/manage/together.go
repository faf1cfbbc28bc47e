package manage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// frame is a server-sent event as it is written. It is sent again only when it has changed since the last one with its key.
type frame struct {
	key  string
	text []byte
}

// newFrame returns the event of a name with data as JSON.
func newFrame(key, event string, data any) (frame, error) {
	var text bytes.Buffer
	fmt.Fprintf(&text, "event: %s\ndata: ", event)
	e := json.NewEncoder(&text) // which ends the line
	e.SetEscapeHTML(false)      // it is no part of a page
	err := e.Encode(data)
	text.WriteByte('\n')
	return frame{key, text.Bytes()}, err
}

// together has those who are sent the same at the same time share what it costs to make it.
type together struct {
	mu   sync.Mutex // guards list
	list map[string]*made
}

// made is what was made in a turn.
type made struct {
	ends   time.Time     // of the turn
	done   chan struct{} // closed when the fields below are set
	frames []frame
	err    error
}

// errNotMade means that whoever was to make frames for others did not.
var errNotMade = errors.New("what is shown could not be made")

// get returns the frames of this turn for a key, by make unless somebody else has begun to make them. Turns have a length, and
// begin for everybody at the same time.
func (t *together) get(ctx context.Context, key string, every time.Duration, make func(context.Context) ([]frame, error)) ([]frame, error) {
	m, mine := t.begin(key, time.Now(), every)
	if mine {
		m.err = errNotMade
		defer close(m.done) // even if make panics: others wait for it
		m.frames, m.err = make(context.WithoutCancel(ctx))
		return m.frames, m.err
	}
	select {
	case <-m.done:
		return m.frames, m.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (t *together) begin(key string, now time.Time, every time.Duration) (m *made, mine bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if m, ok := t.list[key]; ok && now.Before(m.ends) && m.ends.Sub(now) <= every {
		return m, false
	}
	for other, old := range t.list {
		if !now.Before(old.ends) {
			delete(t.list, other)
		}
	}
	if t.list == nil {
		t.list = map[string]*made{}
	}
	m = &made{ends: now.Truncate(every).Add(every), done: make(chan struct{})}
	t.list[key] = m
	return m, true
}

// untilNext waits for the next turn. It reports false if ctx ends before.
func untilNext(ctx context.Context, every time.Duration) bool {
	now := time.Now()
	timer := time.NewTimer(now.Truncate(every).Add(every).Sub(now))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// shared returns the key of what those are sent who have the same role and ask for the same.
func (q *request) shared(page, asked string) string {
	return fmt.Sprint(page, " ", q.Admin, " ", asked)
}

// events writes a stream of server-sent events until the request ends. each is called with a function that sends some.
func (q *request) events(each func(send func(...frame) error) error) error {
	end, ok := q.handler.streams.begin(q.User.ID, maxStreams)
	if !ok {
		return errTooManyStreams
	}
	defer end()
	q.Header().Set("Content-Type", "text/event-stream")
	q.WriteHeader(http.StatusOK)
	flusher := http.NewResponseController(q.ResponseWriter)
	if err := flusher.Flush(); err != nil {
		return nil
	}
	_ = each(func(frames ...frame) error {
		for _, f := range frames {
			if _, err := q.Write(f.text); err != nil {
				return err
			}
		}
		return flusher.Flush()
	})
	return nil
}

// refresh writes a stream of the frames that make returns, as often as a turn begins: those that have changed. Everybody with the
// same key gets the same. A turn of which there is nothing to be sent is left out.
func (q *request) refresh(key string, every time.Duration, make func(context.Context) ([]frame, error)) error {
	return q.events(func(send func(...frame) error) error {
		for sent := map[string][]byte{}; ; {
			frames, err := q.handler.together.get(q.Context(), key, every, make)
			if err != nil && q.Context().Err() == nil {
				q.handler.Log.Debug("an open page of the console is not refreshed", "err", err)
			}
			var changed []frame
			for _, f := range frames {
				if !bytes.Equal(sent[f.key], f.text) {
					sent[f.key], changed = f.text, append(changed, f)
				}
			}
			if len(changed) > 0 {
				if err := send(changed...); err != nil {
					return err
				}
			}
			if !untilNext(q.Context(), every) {
				return q.Context().Err()
			}
		}
	})
}

// Package peers asks every replica of Sallyport a question: what only the memory of each process has, such as its live
// requests, is put together for a page or a command from all of them.
//
// A question is a record in the store that the replicas share, and so is each reply; whoever asked deletes them. A question
// and its replies are as authentic as the store is: whoever can write there can sign people in anyway. A replica that is slow
// or ends is named in the result, so that nobody takes a part for the whole. Where this process alone uses its store, nothing
// is written.
package peers

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"sallyport/store"
)

const (
	prefix   = "ask/"          // ask/ID is a question, ask/ID/PROCESS a reply
	patience = time.Second     // for the replies to a question
	maxArgs  = 16 << 10        // bytes of what a question asks
	maxReply = 256 << 10       // bytes of a reply, compressed
	maxBody  = 8 << 20         // bytes of a reply, as it was
	asking   = 32              // questions of this process under way
	replying = 16              // questions of others that this process replies to at once
	urgently = 8               // urgent questions under way, and of others that this process replies to at once
	tidying  = 5 * time.Second // for deleting what is done
)

// sweepEvery is how often records are looked for whose process has ended before it deleted them.
const sweepEvery = time.Minute

// Handler replies to a question, with what can be written as JSON. ctx ends when nobody waits for it any more.
type Handler func(ctx context.Context, args json.RawMessage) (any, error)

// Reply is what one replica said.
type Reply struct {
	Replica string          `json:"replica"` // "" if this process alone uses its store
	Body    json.RawMessage `json:"body,omitempty"`
	Err     string          `json:"error,omitempty"` // why there is no Body
}

// Members are the processes that use the store.
type Members interface {
	// Processes returns the name of this process, and the names of replicas by those of their processes, of which one is this.
	// While a replica is replaced, two processes have its name.
	Processes(ctx context.Context) (own string, replicas map[string]string, err error)
}

// Peers asks and replies. Its methods may be called concurrently.
type Peers struct {
	store   store.Store
	members Members // nil if this process alone uses the store
	log     *slog.Logger
	done    chan string // questions to delete
	asks    lane
	urgent  lane

	mu       sync.Mutex // guards the fields below
	handlers map[string]Handler
	pending  map[string]chan<- arrival // by the id of a question
}

// lane bounds how much is under way. However much is asked, what is urgent has a lane of its own.
type lane struct {
	slots    chan struct{} // has a value for each question of this process under way
	handling chan struct{} // and for each of others that it replies to
}

// lane returns the lane of a question.
func (p *Peers) lane(q question) lane {
	if q.Urgent {
		return p.urgent
	}
	return p.asks
}

// arrival is a reply of a process.
type arrival struct {
	process string
	reply   reply
}

// New returns what asks the processes that use st. If st does not tell which they are, it is this process alone.
func New(st store.Store, log *slog.Logger) *Peers {
	p := &Peers{store: st, log: log, done: make(chan string, 4*asking), asks: lane{make(chan struct{}, asking), make(chan struct{}, replying)},
		urgent: lane{make(chan struct{}, urgently), make(chan struct{}, urgently)}, handlers: map[string]Handler{}, pending: map[string]chan<- arrival{}}
	p.members, _ = st.(Members)
	return p
}

// Handle has h reply to the questions of a name, in this process.
func (p *Peers) Handle(name string, h Handler) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.handlers[name] = h
}

// Ask asks this process and every other that uses the store, and returns their replies by the names of the replicas. It takes a
// second at most; whoever has not replied then has an error in place of a body.
func (p *Peers) Ask(ctx context.Context, name string, args any) []Reply {
	return p.ask(ctx, name, args, false)
}

// AskFirst is Ask for what changes something, and for what has to be known first: whoever asks a lot does not keep others from
// acting.
func (p *Peers) AskFirst(ctx context.Context, name string, args any) []Reply {
	return p.ask(ctx, name, args, true)
}

func (p *Peers) ask(ctx context.Context, name string, args any, urgent bool) []Reply {
	text, err := json.Marshal(args)
	if err == nil && len(text) > maxArgs {
		err = fmt.Errorf("the question is longer than %d bytes", maxArgs)
	}
	if err != nil {
		return []Reply{{Err: err.Error()}}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if p.members == nil {
		return []Reply{p.replyHere(ctx, "", name, text)}
	}
	own, replicas, err := p.members.Processes(ctx)
	if err != nil {
		return []Reply{p.replyHere(ctx, "", name, text), {Err: "which other replicas run is not known: " + err.Error()}}
	}
	here := make(chan Reply, 1)
	go func() { here <- p.replyHere(ctx, replicas[own], name, text) }()
	others := p.askOthers(ctx, own, replicas, question{Name: name, Args: text, Urgent: urgent})
	all := append(others, <-here)
	slices.SortFunc(all, func(a, b Reply) int {
		return cmp.Or(strings.Compare(a.Replica, b.Replica), bytes.Compare(a.Body, b.Body))
	})
	return all
}

// replyHere returns the reply of this process.
func (p *Peers) replyHere(ctx context.Context, replica, name string, args json.RawMessage) Reply {
	body, err := p.call(ctx, name, args)
	if err != nil {
		return Reply{Replica: replica, Err: err.Error()}
	}
	return Reply{Replica: replica, Body: body}
}

// askOthers asks the processes other than this one, and returns what they replied.
func (p *Peers) askOthers(ctx context.Context, own string, replicas map[string]string, q question) (replies []Reply) {
	waiting := map[string]string{}
	for process, replica := range replicas {
		if process != own {
			waiting[process] = replica
		}
	}
	if len(waiting) == 0 {
		return nil
	}
	why, slots := "it did not reply within a second", p.lane(q).slots
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
		arrivals := make(chan arrival, len(waiting))
		id, err := p.pose(ctx, q, arrivals)
		if err != nil {
			why = "it was not asked: " + err.Error()
			break
		}
		defer p.finish(id)
		replies = collect(ctx, waiting, arrivals)
	default:
		why = "it was not asked: too many questions are under way"
	}
	for _, replica := range waiting {
		replies = append(replies, Reply{Replica: replica, Err: why})
	}
	return replies
}

// collect returns the replies that arrive in time, and removes who replied from waiting.
func collect(ctx context.Context, waiting map[string]string, arrivals <-chan arrival) (replies []Reply) {
	for len(waiting) > 0 {
		select {
		case <-ctx.Done():
			return replies
		case a := <-arrivals:
			replica, ok := waiting[a.process]
			if !ok {
				continue
			}
			delete(waiting, a.process)
			if !a.reply.Idle {
				replies = append(replies, a.reply.unpack(replica))
			}
		}
	}
	return replies
}

// pose writes a question, the replies to which arrivals gets.
func (p *Peers) pose(ctx context.Context, q question, arrivals chan<- arrival) (id string, err error) {
	id = newID()
	text, err := json.Marshal(q)
	if err != nil {
		return "", err
	}
	p.mu.Lock()
	p.pending[id] = arrivals
	p.mu.Unlock()
	if _, err = p.store.Update(ctx, func(w store.Writer) error { return w.Put([]byte(prefix+id), text) }); err != nil {
		p.finish(id) // it may be there all the same
	}
	return id, err
}

// finish forgets a question, and has its records deleted.
func (p *Peers) finish(id string) {
	p.mu.Lock()
	delete(p.pending, id)
	p.mu.Unlock()
	select {
	case p.done <- id:
	default: // it is swept
	}
}

func newID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // which never fails
	return hex.EncodeToString(id[:])
}

// call has the handler of a question reply.
func (p *Peers) call(ctx context.Context, name string, args json.RawMessage) (body json.RawMessage, err error) {
	p.mu.Lock()
	h, ok := p.handlers[name]
	p.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("it does not know the question %q; it may be of another version", name)
	}
	defer func() {
		if fault := recover(); fault != nil {
			p.log.Error("a question of another replica made this one panic", "question", name, "panic", fault)
			body, err = nil, errors.New("it cannot reply: a fault of the program, which its log tells of")
		}
	}()
	value, err := h(ctx, args)
	if err != nil {
		return nil, err
	}
	return json.Marshal(value)
}

// Values returns the replies decoded, and those that are errors.
func Values[T any](replies []Reply) (values map[string]T, missing []Reply) {
	values = map[string]T{}
	for _, r := range replies {
		var v T
		if r.Err == "" {
			if err := json.Unmarshal(r.Body, &v); err != nil {
				r.Err = "its reply cannot be read: " + err.Error()
			}
		}
		if r.Err != "" {
			missing = append(missing, r)
			continue
		}
		name := r.Replica
		for i := 2; ; i++ { // a replica that is replaced has two processes for a while
			if _, twice := values[name]; !twice {
				break
			}
			name = fmt.Sprintf("%s (%d)", r.Replica, i)
		}
		values[name] = v
	}
	return values, missing
}

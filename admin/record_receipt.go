package admin

import (
	"context"
	"errors"
	"sync"
	"time"
)

// ErrBeingMade means that a receipt is being made: ask again in a moment.
var ErrBeingMade = errors.New("the receipt is being made")

const (
	maxReceipts = 2                      // that are made at the same time
	receiptSoon = 150 * time.Millisecond // how long who asks waits for one
	receiptAge  = time.Minute            // for which one that was made is there for whoever asked for it
)

// receipts are those that are made, and those that were made a moment ago: each reads the whole record, which may be long.
type receipts struct {
	mu   sync.Mutex // guards the field below
	list map[receiptQuestion]*receiptMade
}

// receiptQuestion says which receipt is asked for, and by whom: a receipt names who made it.
type receiptQuestion struct {
	actor Actor
	user  string
	at    time.Time
}

// receiptMade is the result for a question.
type receiptMade struct {
	done     chan struct{} // closed when the fields below are set
	ended    time.Time
	document ReceiptDocument
	err      error
}

// Receipt returns the signed receipt of the last offboarding of a user until a time, or of the last one at all (the zero time). It
// does not wait for long: while the receipt is being made, the error is [ErrBeingMade]. Each actor has one made at a time.
func (a *Admin) Receipt(ctx context.Context, actor Actor, user string, at time.Time) (ReceiptDocument, error) {
	if a.source.Receipt == nil {
		return ReceiptDocument{}, ErrNoServer
	}
	question := receiptQuestion{actor, user, at.UTC()}
	made, mine, err := a.receipts.begin(question)
	if err != nil {
		return ReceiptDocument{}, err
	}
	if mine {
		go a.makeReceipt(context.WithoutCancel(ctx), question, made)
	}
	wait := time.NewTimer(receiptSoon)
	defer wait.Stop()
	select {
	case <-made.done:
	case <-ctx.Done():
		return ReceiptDocument{}, ctx.Err()
	case <-wait.C:
		return ReceiptDocument{}, ErrBeingMade
	}
	if made.err != nil {
		a.receipts.forget(question, made)
	}
	return made.document, made.err
}

func (a *Admin) makeReceipt(ctx context.Context, q receiptQuestion, made *receiptMade) {
	ctx, stop := context.WithTimeout(ctx, mostTime)
	defer stop()
	defer func() {
		if fault := recover(); fault != nil {
			a.log.Error("a receipt made the program panic", "panic", fault)
			made.err = errors.New("the receipt cannot be made: a fault of the program, which its log tells of")
		}
		made.ended = time.Now()
		close(made.done)
	}()
	made.document, made.err = a.source.Receipt(ctx, q.actor, q.user, q.at)
}

// begin returns the result for a question. mine means that the caller has to have it made.
func (r *receipts) begin(q receiptQuestion) (made *receiptMade, mine bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	running := 0
	for other, one := range r.list {
		select {
		case <-one.done:
			if time.Since(one.ended) > receiptAge {
				delete(r.list, other)
			}
			continue
		default:
		}
		if running++; other != q && other.actor.ID == q.actor.ID && other.actor.Name == q.actor.Name {
			running = maxReceipts
		}
	}
	if made, ok := r.list[q]; ok {
		return made, false, nil
	}
	if running >= maxReceipts {
		return nil, false, ErrBusy
	}
	if r.list == nil {
		r.list = map[receiptQuestion]*receiptMade{}
	}
	made = &receiptMade{done: make(chan struct{})}
	r.list[q] = made
	return made, true, nil
}

// forget has a question asked again.
func (r *receipts) forget(q receiptQuestion, made *receiptMade) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.list[q] == made {
		delete(r.list, q)
	}
}

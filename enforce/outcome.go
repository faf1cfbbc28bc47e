package enforce

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"sallyport/audit"
	"sallyport/store"
)

// The reasons of events of the kind [audit.KindEnforced].
const (
	reasonEverywhere = "everywhere"
	reasonFenced     = "fenced"
	reasonUnknown    = "unknown"
)

// maxNames bounds how many replicas are named.
const maxNames = 20

// Outcome is what replicas made of a change. The zero Outcome is that of a store that one process uses.
type Outcome struct {
	store.Enforcement
	Took time.Duration
	err  error
}

// replicas returns how many there are.
func (o Outcome) replicas() int { return len(o.Applied) + len(o.Fenced) + len(o.Waiting) }

// Complete reports whether every replica has the change, or nobody had to wait.
func (o Outcome) Complete() bool { return o.err == nil && len(o.Fenced) == 0 }

// String says in a few words what replicas made of the change; "" if nobody had to wait.
func (o Outcome) String() string {
	if o.replicas() == 0 && o.err == nil {
		return ""
	}
	took := inWords(o.Took)
	share := fmt.Sprintf("enforced on %d/%d replicas", len(o.Applied), o.replicas())
	switch {
	case o.err != nil && o.replicas() == 0:
		return fmt.Sprintf("after %s it is not known which replicas decide by it: the database does not tell", took)
	case o.err != nil:
		return fmt.Sprintf("%s; after %s it is not known whether %s decides by it", share, took, names(o.Waiting))
	case len(o.Fenced) > 0:
		return fmt.Sprintf("%s, %s fenced after %s", share, names(o.Fenced), took)
	}
	return share + " in " + took
}

// inWords returns a time as people write it: never less than it was, in whole milliseconds or tenths of a second.
func inWords(d time.Duration) string {
	if ms := (d + time.Millisecond - 1) / time.Millisecond; ms < 1000 {
		return fmt.Sprintf("%d ms", ms)
	}
	return strconv.FormatFloat(float64((d+100*time.Millisecond-1)/(100*time.Millisecond))/10, 'f', -1, 64) + " s"
}

func names(replicas []string) string {
	if len(replicas) == 0 {
		return "each of them"
	}
	if len(replicas) > maxNames {
		return fmt.Sprintf("%s and %d more", strings.Join(replicas[:maxNames], ", "), len(replicas)-maxNames)
	}
	return strings.Join(replicas, ", ")
}

func (o Outcome) reason() string {
	switch {
	case o.err != nil:
		return reasonUnknown
	case len(o.Fenced) > 0:
		return reasonFenced
	}
	return reasonEverywhere
}

// event returns the event that tells of the outcome of a change.
func (o Outcome) event(of audit.Event) audit.Event {
	detail := map[string]string{"change": string(of.Kind), "replicas": strconv.Itoa(o.replicas()), "applied": strconv.Itoa(len(o.Applied)),
		"milliseconds": strconv.FormatInt(int64((o.Took+time.Millisecond-1)/time.Millisecond), 10), "text": o.String()}
	for key, replicas := range map[string][]string{"fenced": o.Fenced, "unknown": o.Waiting} {
		if len(replicas) > 0 {
			detail[key] = names(replicas)
		}
	}
	if of.Reason != "" {
		detail["action"] = of.Reason
	}
	return audit.Event{Time: time.Now().UTC(), Kind: audit.KindEnforced, Actor: of.Actor, Request: of.Request, User: of.User, UserName: of.UserName,
		Group: of.Group, Session: of.Session, Route: of.Route, Reason: o.reason(), Revision: cmp.Or(of.Revision, uint64(o.Revision)), Detail: detail}
}

// outcomesKey is the key of the outcomes that a context collects.
type outcomesKey struct{}

type outcomes struct {
	mu   sync.Mutex // guards list
	list []Outcome
}

func (l *outcomes) add(o Outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, o)
}

// Collect returns a context that collects what becomes of the changes which are made in it, and a function that returns
// the outcomes which are not complete: those that whoever asked for the changes is told.
func Collect(ctx context.Context) (collecting context.Context, incomplete func() []Outcome) {
	l := &outcomes{}
	return context.WithValue(ctx, outcomesKey{}, l), func() (list []Outcome) {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, o := range l.list {
			if !o.Complete() {
				list = append(list, o)
			}
		}
		return list
	}
}

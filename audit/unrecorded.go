package audit

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"time"
)

// OnFailure says what becomes of requests and sign-ins while the record cannot be written.
type OnFailure string

// The values of OnFailure.
const (
	Deny  OnFailure = "deny"  // they are denied
	Allow OnFailure = "allow" // see [Log.AllowUnrecorded]
)

// Warn reports settings that are allowed but may not be meant.
func (s Settings) Warn(warn func(path, problem string)) {
	if s.OnFailure == Allow {
		warn("on_failure", "is allow: while the audit record cannot be written, requests and sign-ins are let in without a line in it; leave the key out to deny them")
	}
}

// AllowUnrecorded lets requests and sign-ins go on while the disk of the record is full or fails: Write returns nil
// for the decisions and logins that let somebody in. They are counted, and the record tells how many there were once it can
// be written again. All other events are refused as before, and so is every event if the record is not the one that was
// written: somebody may have removed it so that nothing is recorded.
//
// [Log.Run] calls tell with an error when this begins, and with nil and how many were let in when it has ended.
func (l *Log) AllowUnrecorded(tell func(err error, letIn int)) { l.tell.Store(&tell) }

// DenyUnrecorded ends what [Log.AllowUnrecorded] began.
func (l *Log) DenyUnrecorded() { l.tell.Store(nil) }

// lost is how many events were not written.
type lost struct {
	refused int
	letIn   int // requests and sign-ins that were let in without a line
}

// event returns the event that tells of them.
func (n lost) event(reason string) Event {
	e := Event{Time: time.Now().UTC(), Kind: KindAudit, Reason: reason, Detail: map[string]string{"refused": strconv.Itoa(n.refused)}}
	if n.letIn > 0 {
		e.Detail["unrecorded"] = strconv.Itoa(n.letIn)
	}
	return e
}

// told is what was told of an outage.
type told struct {
	begun bool
	letIn int // recorded by now, and told when the outage has ended
}

// letsIn reports whether e tells that somebody is let in.
func (e Event) letsIn() bool { return ordinary(e.Kind) && e.Decision == "allow" }

// lettingIn returns 1 if e tells that somebody is let in, else 0.
func (e Event) lettingIn() int {
	if e.letsIn() {
		return 1
	}
	return 0
}

// passes reports whether what lets somebody in is done although err keeps its event from being written.
func (l *Log) passes(err error) bool {
	return l.tell.Load() != nil && !errors.Is(err, os.ErrClosed) && !errors.Is(err, errOtherFile)
}

// lose counts events that err keeps from being written, of which some let somebody in; mu is held. A closed log counts
// none.
func (l *Log) lose(events, letIn int, err error) {
	if errors.Is(l.failure, os.ErrClosed) {
		return
	}
	if !l.passes(err) {
		letIn = 0
	}
	l.lost.refused += events - letIn
	l.lost.letIn += letIn
	l.errors.Add(float64(events))
	l.unrecorded.Add(float64(letIn))
}

// recordLost says that the record tells of n; mu is held.
func (l *Log) recordLost(n lost) {
	l.lost.refused -= n.refused
	l.lost.letIn -= n.letIn
	l.told.letIn += n.letIn
}

// tellOfLost records how many events were not written. Without always, it writes nothing if there were none.
func (l *Log) tellOfLost(always bool) {
	l.mu.Lock()
	n := l.lost
	l.mu.Unlock()
	if n == (lost{}) && !always || l.Write(n.event(reasonRecovered)) != nil { // a failure is kept, and tried again
		return
	}
	l.mu.Lock()
	l.recordLost(n)
	l.mu.Unlock()
}

// tellOfUnrecorded records, before the log is closed while its disk is full, how many requests and sign-ins were let in
// without a line: the reserve has space for that.
func (l *Log) tellOfUnrecorded() {
	l.mu.Lock()
	n := l.lost
	l.mu.Unlock()
	if n.letIn > 0 {
		_ = l.Write(n.event(reasonUnrecorded))
	}
}

// Unrecorded returns why requests and sign-ins are let in without a line, or nil if they are not. Then [Log.Err] returns
// an error too.
func (l *Log) Unrecorded() error {
	err := l.Err()
	if err == nil || !l.passes(err) {
		return nil
	}
	cause, _ := strings.CutPrefix(err.Error(), ErrUnwritable.Error()+": ")
	return errors.New("the audit record cannot be written, and requests and sign-ins are let in without a line in it (audit.on_failure: allow): " + cause)
}

// tellOfOutage calls tell if requests and sign-ins are let in without a line from now on, or no more. On a full disk the
// record has space to say so too.
func (l *Log) tellOfOutage() {
	tell := l.tell.Load()
	if tell == nil {
		return
	}
	err := l.Unrecorded()
	l.mu.Lock()
	sound, full := l.failure == nil && l.space.full == nil, l.failure == nil && l.space.full != nil
	begins, ends := err != nil && !l.told.begun, sound && (l.told.begun || l.told.letIn > 0)
	letIn := l.told.letIn
	switch {
	case begins:
		l.told.begun = true
	case ends:
		l.told = told{}
	}
	l.mu.Unlock()
	switch {
	case begins:
		if full {
			_ = l.Write(Event{Time: time.Now().UTC(), Kind: KindAudit, Reason: reasonUnrecorded}) // a failure is kept, and tried again
		}
		(*tell)(err, 0)
	case ends:
		(*tell)(nil, letIn)
	}
}

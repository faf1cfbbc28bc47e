package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// errAway means that an event cannot be written here, since another process has taken the record over, or is about to.
var errAway = errors.New("the record is in the hands of another process")

// away is a record that this process has released.
type away struct {
	decided chan struct{}      // closed once it is known who writes
	relay   func([]byte) error // has the other process write an event, as JSON; nil: this process writes again
}

// Release forces the record to the disk and writes nothing from then on, so that another process can continue it with
// [Resume]. Every event waits for [Log.Retake] or [Log.Relay].
func (l *Log) Release() error {
	l.writeMu.Lock()
	defer l.writeMu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failure != nil {
		return l.failure
	}
	if err := errors.Join(l.flush(), l.file.Sync()); err != nil {
		return fmt.Errorf("forcing the audit record to the disk: %w", err)
	}
	l.synced, l.change = l.written, l.revision
	l.away, l.failure = &away{decided: make(chan struct{})}, errAway
	return nil
}

// Retake goes on with a record to which no other process has written since [Log.Release].
func (l *Log) Retake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failure = nil
	if err := l.unchanged(); err != nil {
		l.failure = fmt.Errorf("%w: %s: %w", ErrUnwritable, l.path, err)
	}
	close(l.away.decided)
	l.away, l.retaken = nil, true
}

// Away reports whether another process writes the record, or is about to.
func (l *Log) Away() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.away != nil
}

// Retaken reports whether [Log.Retake] was called since the last call of Retaken.
func (l *Log) Retaken() (retaken bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	retaken, l.retaken = l.retaken, false
	return retaken
}

// unchanged returns an error if the file is not as Release left it. mu is held.
func (l *Log) unchanged() error {
	here, err := l.file.Stat()
	if err != nil || !here.Mode().IsRegular() {
		return err
	}
	if there, err := os.Stat(l.path); err != nil || !os.SameFile(here, there) || here.Size() != l.written.offset {
		return errOtherFile
	}
	return nil
}

// Relay has every event after [Log.Release] written by the process that has taken the record over: write gets an event as
// JSON, and returns once that process has written it.
func (l *Log) Relay(write func(event []byte) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.away.relay = write
	close(l.away.decided)
}

// elsewhere returns what has another process write events, or nil if this one writes. It waits until that is known.
func (l *Log) elsewhere() func([]byte) error {
	l.mu.Lock()
	a := l.away
	l.mu.Unlock()
	if a == nil {
		return nil
	}
	<-a.decided
	return a.relay
}

// relayEvent has another process write an event. If it cannot be reached, nothing is let in, whatever [Log.AllowUnrecorded]
// says: that process does not know of the event.
func relayEvent(write func([]byte) error, e Event) error {
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return write(text)
}

// WriteJSON writes an event that another process has relayed.
func (l *Log) WriteJSON(event []byte) error {
	var e Event
	if err := json.Unmarshal(event, &e); err != nil {
		return fmt.Errorf("reading an event: %w", err)
	}
	return l.Write(e)
}

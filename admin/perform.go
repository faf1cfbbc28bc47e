package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"
	"unicode/utf8"

	"sallyport/audit"
)

// action is something to do, and the events that tell of it.
type action struct {
	event  audit.Event   // written before the action; its reason says what is to be done
	more   []audit.Event // written after event and before the action, of what it does beside
	done   string        // the reason of a second event of each after success; "": none
	failed string        // the reason of a second event after a failure; "": reasonFailed
	local  bool          // it changes nothing by which other replicas decide
	adds   bool          // it takes no access away: that it is not known whether other replicas have it is no error

	changes func() []audit.Event // events of what act changed, which are recorded with the changes; nil: event and more tell
}

// reasonFailed is the reason of an event that says that an action recorded before was not done, or not wholly.
const reasonFailed = "failed"

// perform records a and then calls act. Nothing that an operator can change is changed in any other way.
//
// The event is written before act is called, so that nothing is ever done that is not recorded: if the event cannot be
// written, act is not called and nothing was done. The event therefore tells of what is about to be done. If act fails,
// a second event of the same kind, actor and subject says so: its reason is "failed", and its detail holds the reason
// of the first event ("action") and the error's text ("error"). After a crash between the event and the action, the
// event stands alone: the record may tell of an action that was not done, but never omits one that was.
//
// If the second event cannot be written, the error that perform returns says so too. An [audit.Log] accepts no event
// after a failed write until it has recovered, so until then every further action is rejected.
//
// perform returns once no replica decides without what act changed, unless the action is local. If that cannot be found
// out, the error is [enforce.ErrUnknown]: the action is done all the same.
//
// act is not cancelled when ctx is: whoever asked for the action may go away, but the recorded action is still done.
func (a *Admin) perform(ctx context.Context, actor Actor, todo action, act func(context.Context) error) error {
	if err := checkActor(actor); err != nil {
		return err
	}
	if actor.Role == audit.RoleAuditor {
		return ErrAuditor
	}
	events := append([]audit.Event{todo.event}, todo.more...)
	for _, e := range events {
		if err := a.record(actor, e); err != nil {
			return fmt.Errorf("nothing was done: %w: %w", ErrNotRecorded, err)
		}
	}
	err := act(context.WithoutCancel(ctx))
	var unknown error
	if err == nil && !todo.local {
		unknown = a.awaitReplicas(ctx, actor, todo, events)
	}
	if err == nil && todo.done == "" {
		return unknown
	}
	for _, outcome := range events {
		if err != nil {
			outcome = failure(outcome, todo.failed, err)
		} else {
			outcome.Reason = todo.done
		}
		if lost := a.record(actor, outcome); lost != nil {
			return errors.Join(err, fmt.Errorf("the action is recorded, but its outcome is not: %w: %w", ErrNotRecorded, lost))
		}
	}
	return cmp.Or(err, unknown)
}

// awaitReplicas returns once no replica decides without what an action changed, of which events tell.
func (a *Admin) awaitReplicas(ctx context.Context, actor Actor, done action, events []audit.Event) error {
	if done.changes != nil {
		events = done.changes()
	}
	for i := range events {
		events[i].Actor = actor
	}
	if _, err := a.enforcer.Wait(ctx, events...); !done.adds {
		return err
	}
	return nil
}

func checkActor(actor Actor) error {
	if actor.Kind == "" || actor.Name == "" {
		return ErrNoActor
	}
	return nil
}

// failure returns the event that says that what e tells of failed with err, for a reason of its own or "".
func failure(e audit.Event, reason string, err error) audit.Event {
	e.Detail = maps.Clone(e.Detail)
	if e.Detail == nil {
		e.Detail = map[string]string{}
	}
	e.Detail["action"], e.Detail["error"] = e.Reason, shorten(err.Error())
	e.Reason = cmp.Or(reason, reasonFailed)
	return e
}

func (a *Admin) record(actor Actor, e audit.Event) error {
	e.Time, e.Actor = time.Now().UTC(), actor
	return a.audit.Write(e)
}

// maxErrorText bounds the text of an error in the record, in bytes.
const maxErrorText = 2000

// shorten returns text as valid UTF-8, cut between two characters where it is too long.
func shorten(text string) string {
	if len(text) > maxErrorText {
		end := maxErrorText
		for end > 0 && !utf8.RuneStart(text[end]) {
			end--
		}
		text = text[:end] + "…"
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

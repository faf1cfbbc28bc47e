package admin

import (
	"context"
	"io"

	"sallyport/audit"
)

// Reload has the running server read its configuration again. The record says that a reload was attempted, and then
// that the configuration was reloaded or, with its faults, refused.
func (a *Admin) Reload(ctx context.Context, actor Actor) error {
	if a.reload == nil {
		return ErrNoServer
	}
	e := audit.Event{Kind: audit.KindConfig, Reason: "attempted", Detail: map[string]string{"version": a.version}}
	return a.perform(ctx, actor, action{event: e, done: "reloaded", failed: "refused", local: true}, func(ctx context.Context) error {
		err := a.reload(ctx)
		a.reloads.note(actor, err)
		if err != nil {
			a.tell(NoticeConfigRefused, ConfigNotice{By: actor, Error: shorten(err.Error())})
		}
		return err
	})
}

// Upgrade has another process take over from the running server, and returns its id. The record says that it was attempted,
// and then that the other process serves or why it does not.
func (a *Admin) Upgrade(ctx context.Context, actor Actor) (pid int, err error) {
	if a.upgrade == nil {
		return 0, ErrNoServer
	}
	e := audit.Event{Kind: audit.KindUpgrade, Reason: "attempted", Detail: map[string]string{"version": a.version}}
	err = a.perform(ctx, actor, action{event: e, done: "upgraded", failed: "refused"}, func(ctx context.Context) error {
		pid, err = a.upgrade(ctx)
		return err
	})
	return pid, err
}

// Backup writes a consistent copy of the store to w. If nothing was written to w, no copy was begun.
func (a *Admin) Backup(ctx context.Context, actor Actor, w io.Writer) error {
	e := audit.Event{Kind: audit.KindBackup, Reason: "copied"}
	return a.perform(ctx, actor, action{event: e, local: true}, func(context.Context) error {
		return a.store.Backup(ctx, w) // ends when the reader of the copy has gone
	})
}

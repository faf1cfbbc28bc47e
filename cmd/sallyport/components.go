package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"sallyport/admin"
	"sallyport/audit"
	"sallyport/audit/sink"
	"sallyport/config"
	"sallyport/console/pins"
	"sallyport/directory"
	"sallyport/enforce"
	"sallyport/grant"
	"sallyport/notice"
	"sallyport/peers"
	"sallyport/scim"
	"sallyport/session"
	"sallyport/store"
	"sallyport/webhook"
)

// components are the durable parts: the store, what is read from it into memory, and the audit record; and what tells
// other programs of changes to them.
type components struct {
	store        engine
	directory    *directory.Directory
	provisioning *scim.Provisioning
	sessions     *session.Sessions
	grants       *grant.Grants
	record       *audit.Log
	enforcer     *enforce.Enforcer // nil if only this process uses the store
	leadership   leadership
	sinks        *sink.Sinks // nil if no server runs: the next one sends what is recorded meanwhile
	recorder     *recorder   // nil if this process alone uses the store
	webhooks     *webhook.Sender
	notices      *notice.Follower
	peers        *peers.Peers
	log          *slog.Logger

	unlockRecord func() // lets other processes write to the audit record
	custody      custody
	ahead        *following // nil: nothing follows before run
}

// openComponents opens everything that is kept on disk. With init, it creates a store that is missing. With former, it opens
// each part once that process has released it.
func openComponents(ctx context.Context, file *config.File, init bool, former *former, log *slog.Logger) (*components, error) {
	if err := former.prepared(); err != nil {
		return nil, err
	}
	unlock := func() {}
	if former == nil {
		var err error
		if unlock, err = lockRecord(file); err != nil {
			return nil, err
		}
	}
	st, err := openToSucceed(ctx, former, file.Store, init, log)
	if errors.Is(err, store.ErrMissing) {
		err = fmt.Errorf("%w; start with `sallyport serve --init` the first time", err)
	}
	if err != nil {
		unlock()
		return nil, err
	}
	if inFile, ok := st.(fileStore); ok {
		st = newSharedStore(inFile)
	}
	c := &components{store: st, leadership: leadership{store: st}, webhooks: webhook.New(log), peers: peers.New(st, log), log: log, unlockRecord: unlock, custody: newCustody()}
	if err := c.open(ctx, file, former); err != nil {
		if errors.Is(err, store.ErrDamaged) {
			err = fmt.Errorf("%s: %w", file.Store, err)
		}
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// useWebhooks puts the webhooks of a file in force.
func (c *components) useWebhooks(file *config.File) error {
	endpoints, err := c.webhooks.Open(file.Webhooks)
	if err == nil {
		c.webhooks.Use(endpoints)
	}
	return err
}

// open goes on with the record and reads what memory has. What the store of another process has is read first, while that
// process still writes the record: then requests wait no longer than opening the record takes.
func (c *components) open(ctx context.Context, file *config.File, former *former) (err error) {
	if err := c.useWebhooks(file); err != nil {
		return err
	}
	if former == nil {
		if err := c.beginRecord(ctx, file); err != nil {
			return err
		}
	}
	if err := c.load(ctx, file); err != nil {
		return err
	}
	if former != nil {
		if err := c.takeRecord(ctx, file, former); err != nil {
			return err
		}
	}
	if file.Store.Postgres != nil {
		c.enforcer = enforce.New(c.store, file.Store.Postgres.LeaseLength(), c.record.Write, c.log)
	}
	if err := c.useRecorder(ctx); err != nil {
		return err
	}
	c.notices = notice.NewFollower(notice.Parts{Directory: c.directory, Waiting: c.provisioning.Waiting, Send: c.webhooks.Send, Log: c.log})
	c.record.Observe(c.notices.Observe)
	return nil
}

// load reads users and sessions concurrently, since that takes most of the time of a start.
func (c *components) load(ctx context.Context, file *config.File) (err error) {
	g, reading := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		if c.directory, err = directory.Open(reading, c.store, file.OIDC.UserAttribute); err != nil {
			return fmt.Errorf("loading the directory: %w", err)
		}
		c.directory.KeepHistory(file.History)
		return nil
	})
	g.Go(func() (err error) {
		if c.sessions, err = session.Open(reading, c.store, file.Session, c.log); err != nil {
			return fmt.Errorf("loading the sessions: %w", err)
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return err
	}
	name, err := recordName(file.Store)
	if err != nil {
		return err
	}
	c.directory.NameReplica(name)
	c.directory.TellOfLeavers(grant.EndMemberships)
	c.directory.TellOfDeleted(pins.EndUser)
	c.sessions.TellOfUsers(c.recordSessionEnd)
	if c.grants, err = grant.Open(ctx, c.store); err != nil {
		return err
	}
	c.provisioning, err = scim.Open(ctx, c.store, c.directory)
	return err
}

// beginRecord opens the audit record, and demands that the store is not older.
func (c *components) beginRecord(ctx context.Context, file *config.File) error {
	if err := c.openRecord(ctx, file, nil); err != nil {
		return err
	}
	if err := c.checkLineage(ctx, file); err != nil {
		return err
	}
	checkpoints, err := c.checkpoints(ctx)
	if err == nil {
		c.record.SignCheckpoints(checkpoints)
	}
	return err
}

// checkLineage demands that the store is not older than the record, and makes the record go on if the store is a copy.
func (c *components) checkLineage(ctx context.Context, file *config.File) error {
	if err := checkRecorded(ctx, c.store, c.record, file); err != nil {
		return err
	}
	return c.resumeCopy(ctx)
}

// openRecord goes on with the audit record from where the store says that it ended.
func (c *components) openRecord(ctx context.Context, file *config.File, former *former) error {
	name, err := recordName(file.Store)
	if err != nil {
		return err
	}
	if name != "" {
		c.recorder = &recorder{name: name, store: c.store, goneAfter: goneLeases * file.Store.Postgres.LeaseLength(), log: c.log, written: map[uint64]uint64{}, turn: c.custody.pushing}
	}
	mark, disclaim, err := c.loadMark(ctx, former)
	if err != nil {
		return err
	}
	if c.record, err = audit.ResumeAs(file.Audit.File, audit.Options{Mark: mark, Replica: name}); err != nil {
		return errors.Join(fmt.Errorf("opening the audit record: %w", err), disclaim())
	}
	if c.record.Missing() {
		c.log.Warn("the audit record is not where it was when the server stopped, and a new one begins; if you did not move it, look for it", "file", file.Audit.File, "former_line", mark.Line)
	}
	c.record.Reserve(int64(file.Audit.Reserve))
	c.configureRecord(file.Audit.Settings)
	return nil
}

// loadMark returns where the record ended last. With several replicas, this process is the one from now on that writes the
// record of its name, until disclaim is called.
func (c *components) loadMark(ctx context.Context, former *former) (mark audit.Mark, disclaim func() error, err error) {
	disclaim = func() error { return nil }
	if c.recorder == nil {
		mark, err = loadMark(ctx, c.store)
	} else {
		var before replicaRecord
		c.recorder.writer, before, err = c.recorder.claim(ctx, former)
		mark, c.recorder.known = before.Mark, before.Writer != ""
		disclaim = func() error { return disclaimRecord(ctx, c.store, c.recorder.name, c.recorder.writer, before) }
	}
	if errors.Is(err, store.ErrDamaged) { // which is told by every inspection too, and must not shut everybody out
		c.log.Error("the store does not know any more where the audit record ended, so that lines that are missing at its end are not noticed", "err", err)
		err = nil
	}
	return mark, disclaim, err
}

// useRecorder has the recorder find out what it has to record.
func (c *components) useRecorder(ctx context.Context) error {
	if c.recorder == nil {
		return nil
	}
	c.recorder.directory, c.recorder.record = c.directory, c.record
	return c.recorder.begin(ctx)
}

// logUnrecorded logs that requests and sign-ins are let in without a line in the audit record, or no more.
func (c *components) logUnrecorded(err error, letIn int) {
	if err != nil {
		c.log.Error("requests and sign-ins are let in unrecorded", "err", err)
		return
	}
	c.log.Warn("the audit record can be written again; it tells how many requests and sign-ins were let in unrecorded", "count", letIn)
}

// run keeps memory and the audit record equal to the store, and delivers events to webhooks, until ctx ends.
func (c *components) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.followOn(ctx) })
	g.Go(func() error { return c.sessions.Maintain(ctx) })
	g.Go(func() error { return c.record.Run(ctx) })
	g.Go(func() error { return c.peers.Run(ctx) })
	g.Go(func() error { return c.recordPushes(ctx) })
	g.Go(func() error { return c.custody.unlessHanded(ctx, c.runNotices) })
	if c.sinks != nil {
		g.Go(func() error { return c.custody.unlessHanded(ctx, c.sinks.Run) })
	}
	return g.Wait()
}

// follow keeps memory equal to the store until ctx ends.
func (c *components) follow(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.store.Run(ctx) })
	g.Go(func() error { return c.directory.Run(ctx) })
	g.Go(func() error { return c.provisioning.Run(ctx) })
	g.Go(func() error { return c.sessions.Follow(ctx) })
	g.Go(func() error { return c.grants.Run(ctx) })
	return g.Wait()
}

// catchUp returns when memory has what other replicas have stored before, or soon if the database does not respond: then
// operators see what is known here.
func (c *components) catchUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	for _, part := range []interface{ CatchUp(context.Context) error }{c.directory, c.sessions, c.grants, c.provisioning} {
		if err := part.CatchUp(ctx); err != nil {
			c.log.Warn("what an operator sees may lack what other replicas stored lately", "err", err)
			return
		}
	}
}

// runNotices tells webhooks of what happens, and delivers it, until ctx ends. What is told last is delivered too.
func (c *components) runNotices(ctx context.Context) error {
	delivering, stop := context.WithCancel(context.WithoutCancel(ctx))
	g, delivering := errgroup.WithContext(delivering)
	g.Go(func() error { return ignoreCanceled(c.webhooks.Run(delivering)) })
	g.Go(func() error { defer stop(); return c.notices.Run(ctx) })
	return g.Wait()
}

// leads reports whether this process does what only one of those that use the store shall do.
func (c *components) leads(ctx context.Context) (bool, error) { return store.Leads(ctx, c.store) }

// recordSessionEnd records that a session ended because its user was deactivated, suspended or deleted. Nothing depends on
// it: every request by the session is denied since the change. Of several replicas, the one that leads records it.
func (c *components) recordSessionEnd(s session.Session) {
	if c.custody.isHanded() { // the other process records it
		return
	}
	e := audit.Event{Time: time.Now().UTC(), Kind: audit.KindEnd, Actor: admin.System("the user ended"), User: s.User, UserName: s.UserName,
		Session: s.ID, Reason: string(session.ReasonUser), Detail: map[string]string{"began": s.Began.Format(time.RFC3339Nano), "used": s.Used.Format(time.RFC3339Nano)}}
	if !c.leadership.holds() {
		c.notices.Observe(e)
		return
	}
	if err := c.record.Write(e); err != nil {
		c.log.Error("it is not in the audit record that a session ended with its user", "user", s.User, "session", s.ID, "err", err)
	}
}

// recordPushes copies the records of SCIM changes, which are committed with the changes themselves, to the audit
// record. It continues after the last revision that the audit record contains.
func (c *components) recordPushes(ctx context.Context) error {
	if c.recorder != nil {
		return c.recorder.run(ctx)
	}
	for rec, err := range c.directory.Records(ctx, c.record.LastRevision()) {
		if err != nil {
			return err
		}
		if rec.Replica != "" { // one of several wrote it, before the store was copied here
			continue
		}
		if err := c.recordPush(ctx, rec); err != nil {
			return fmt.Errorf("recording a directory change: %w", err)
		}
	}
	return ctx.Err()
}

// recordPush copies one record. While the audit record cannot be written it waits: the store keeps the newest records.
func (c *components) recordPush(ctx context.Context, rec directory.Record) error {
	select {
	case c.custody.pushing <- struct{}{}:
		defer func() { <-c.custody.pushing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if c.custody.isHanded() { // the other process copies it
		return nil
	}
	return onceWritable(ctx, c.record, c.log, rec.Revision, func() error { return c.record.Append(rec.Event, rec.Revision) })
}

// onceWritable has write record the change of a revision, and again while the audit record cannot be written.
func onceWritable(ctx context.Context, record *audit.Log, log *slog.Logger, revision uint64, write func() error) error {
	for {
		err := write()
		if !errors.Is(err, audit.ErrUnwritable) {
			return err
		}
		log.Error("a directory change is not in the audit record yet", "rev", revision, "err", err)
		if err := record.Writable(ctx); err != nil {
			return err
		}
	}
}

// during runs the components until f returns, then closes them.
func (c *components) during(ctx context.Context, f func(context.Context) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return ignoreCanceled(c.run(ctx)) })
	g.Go(func() error { defer stop(); return f(ctx) })
	return errors.Join(g.Wait(), c.close())
}

func ignoreCanceled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// admin returns what acts for operators and users by the rules in force. record is the path of the audit record. The other parts are those of the running server;
// none if no server runs.
func (c *components) admin(inForce *rulesInForce, record string, parts admin.Parts) *admin.Admin {
	parts.Directory, parts.Sessions, parts.Provisioning, parts.Grants = c.directory, c.sessions, c.provisioning, c.grants
	parts.Enforcer, parts.Leads = c.enforcer, c.leads
	parts.Audit, parts.Store, parts.Version, parts.Notify, parts.Log = c.record, backuper{c.store, c.log}, version, c.webhooks.Send, c.log
	parts.Rules, parts.Parse = inForce.now, inForce.parse
	parts.Decisions = recordReader{record, c.store}.decisions
	return admin.New(parts)
}

func (c *components) close() error {
	var errs []error
	if c.ahead != nil {
		c.ahead.end()
	}
	if c.record != nil {
		errs = append(errs, c.record.Close())
	}
	if c.recorder != nil && c.recorder.record != nil {
		errs = append(errs, c.recorder.close())
	}
	errs = append(errs, c.store.Close())
	c.unlockRecord()
	return errors.Join(errs...)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"sallyport/audit"
	"sallyport/config"
	"sallyport/directory"
	"sallyport/grant"
	"sallyport/listen"
	"sallyport/scim"
	"sallyport/store"
)

// since is what the audit record tells of the time after a backup was made, as far as it took access away. The last word
// about each user counts.
type since struct {
	known     bool                    // the record was read to its end
	revoked   map[string]bool         // ids of tokens that were revoked or rotated
	inactive  map[string]bool         // ids of users who were deactivated or deleted
	suspended map[string]string       // ids of users who were suspended, and why
	ended     map[string]time.Time    // ids of users who were any of these, and when they were last, also of those who are back
	reviewed  map[grant.RowRef]string // whose memberships rows of reviews revoked, and which
	note      string                  // why it is not known; "" if it is
	newest    uint64                  // the newest revision that the records of other replicas name
}

// sinceMargin is how much longer ago an event may be than a backup and still be read, since clocks are set back. What was
// taken away before a backup was made is not in it, so that to read too much changes nothing.
const sinceMargin = 48 * time.Hour

// recordedBefore is how long before a backup is made its own event may have been recorded.
const recordedBefore = time.Minute

// readSince reads the audit record from the time on when a backup was made, and the records of other replicas; the zero time
// is all of them. The error is one of the others.
func readSince(ctx context.Context, path string, others []string, made time.Time) (since, error) {
	s := since{revoked: map[string]bool{}, inactive: map[string]bool{}, suspended: map[string]string{}, ended: map[string]time.Time{},
		reviewed: map[grant.RowRef]string{}}
	from := made.Add(-sinceMargin)
	if made.After(time.Now()) { // by a clock that was wrong
		from = time.Time{}
	}
	elsewhere, err := s.readOthers(ctx, others, from)
	if err != nil {
		return s, err
	}
	var ends time.Time
	begins, err := readEvents(ctx, path, from, func(e audit.Event) {
		for len(elsewhere) > 0 && !elsewhere[0].Time.After(e.Time) {
			s.add(&elsewhere[0])
			elsewhere = elsewhere[1:]
		}
		s.add(&e)
		ends = e.Time
	})
	for i := range elsewhere {
		s.add(&elsewhere[i])
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && begins.IsZero():
		s.note = "there is no audit record that could say what took access away since the backup was made"
	case err != nil:
		s.note = fmt.Sprintf("the audit record cannot be read to its end, and may not say all that took access away since the backup was made: %v", err)
	case made.IsZero():
		s.note = "the backup does not say when it was made, so that the audit record may not say all that took access away since"
	case begins.After(made):
		s.note = fmt.Sprintf("the audit record begins at %s, after the backup was made, and does not say what took access away before", begins.UTC().Format(time.RFC3339))
	case ends.Before(made.Add(-recordedBefore)):
		s.note = fmt.Sprintf("the audit record ends at %s, before the backup was made (%s), and does not say what took access away since", ends.UTC().Format(time.RFC3339), made.UTC().Format(time.RFC3339))
	default:
		s.known = true
	}
	return s, nil
}

// readEvents yields the events of a record from a time on, and returns the time of the first line.
func readEvents(ctx context.Context, path string, from time.Time, yield func(audit.Event)) (begins time.Time, err error) {
	record, err := audit.OpenRecord(path)
	if err != nil {
		return begins, err
	}
	defer record.Close()
	return record.Read(from, func(e audit.Event) error {
		yield(e)
		return ctx.Err()
	})
}

// readOthers returns the events of the records of other replicas that may count, in the order of their times.
func (s *since) readOthers(ctx context.Context, paths []string, from time.Time) (events []audit.Event, err error) {
	for _, path := range paths {
		_, err := readEvents(ctx, path, from, func(e audit.Event) {
			s.newest = max(s.newest, e.Revision)
			switch e.Kind {
			case audit.KindToken, audit.KindSuspend, audit.KindSCIM, audit.KindReview:
				events = append(events, e)
			}
		})
		if err != nil {
			return nil, fmt.Errorf("--record %s: %w", path, err)
		}
	}
	slices.SortStableFunc(events, func(a, b audit.Event) int { return a.Time.Compare(b.Time) })
	return events, nil
}

func (s *since) add(e *audit.Event) {
	switch {
	case e.Kind == audit.KindToken && e.Reason == "revoked":
		s.revoked[e.Detail["token"]] = true
	case e.Kind == audit.KindToken && e.Reason == "rotated":
		s.revoked[e.Detail["former"]] = true
	case e.Kind == audit.KindSuspend && e.Reason == "suspended":
		s.suspended[e.User], s.ended[e.User] = e.Detail["why"], e.Time
	case e.Kind == audit.KindSuspend && e.Reason == "unsuspended":
		delete(s.suspended, e.User)
	case e.Kind == audit.KindSCIM && e.User != "" && (e.Detail["result"] == "deactivated" || e.Reason == "delete" || e.Reason == "removed"):
		s.inactive[e.User], s.ended[e.User] = true, e.Time
	case e.Kind == audit.KindSCIM && e.User != "" && e.Detail["result"] == "activated":
		delete(s.inactive, e.User)
	case e.Kind == audit.KindReview:
		s.addReview(e)
	}
}

func (s *since) addReview(e *audit.Event) {
	row, err := strconv.Atoi(e.Detail["row"])
	ref := grant.RowRef{Review: e.Detail["review"], Row: row}
	switch {
	case err != nil:
	case e.Reason == "revoked":
		s.reviewed[ref] = e.UserName + " (" + e.Detail["groups"] + ")"
	case e.Reason == "kept", e.Reason == "cleared", e.Reason == "failed" && e.Detail["action"] == "revoked":
		delete(s.reviewed, ref)
	}
}

// revived says which memberships that reviews revoked count again in a store, or is empty: only the store that was lost has
// what it takes to revoke them again.
func (s *since) revived(r store.Reader) (note string, err error) {
	rows, err := grant.RevokedRows(r)
	if err != nil {
		return "", err
	}
	var names []string
	for row, name := range s.reviewed {
		if !rows[row] {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "", nil
	}
	slices.Sort(names)
	const most = 20
	if len(names) > most {
		names = append(names[:most:most], fmt.Sprintf("and %d more", len(names)-most))
	}
	return "memberships that reviews revoked since the backup was made count again, since their store is not there: " + strings.Join(names, ", ") +
		"; have the identity provider remove them, suspend these users, or begin a new review", nil
}

// restoreChanges are what a restore changed of the backup, because of what happened since it was made.
type restoreChanges struct {
	inactive   []directory.User // who are active in the backup
	suspended  int
	revoked    int          // memberships by reviews
	tokensGone []scim.Token // of the backup
}

// detail returns the changes as the audit record tells of them.
func (c *restoreChanges) detail() map[string]string {
	detail := map[string]string{}
	for name, n := range map[string]int{"users": len(c.inactive), "suspended": c.suspended, "memberships": c.revoked, "tokens": len(c.tokensGone)} {
		if n > 0 {
			detail[name] = strconv.Itoa(n)
		}
	}
	for i, u := range c.inactive[:min(len(c.inactive), 20)] {
		detail["user_"+strconv.Itoa(i+1)] = u.UserName
	}
	return detail
}

// deny takes from the restored store what was taken away since the backup was made.
func (m *restoredStore) deny(ctx context.Context, former store.Store, s since, file *config.File, options restoreOptions) error {
	if s.note != "" {
		m.notes = append(m.notes, s.note)
	}
	if former == nil && file.Store.Postgres != nil && len(options.records) == 0 {
		m.notes = append(m.notes, "without the former store, what other replicas took away since the backup was made is in their audit records: name each with --record, if there were any")
	}
	m.newest = s.newest
	related := false
	if former != nil {
		var err error
		if related, err = sameOrigin(ctx, m.store, former); err != nil {
			return err
		}
		if !related {
			m.notes = append(m.notes, "the store in place has nothing in common with the backup, and so does not say who was deleted since the backup was made")
		}
	}
	if _, err := m.store.Update(ctx, func(w store.Writer) error {
		return errors.Join(m.keepOf(ctx, former, w), m.chooseTokens(ctx, former, s, w, options), clearCopy(w, time.Now().UTC()))
	}); err != nil {
		return err
	}
	if former == nil {
		err := m.store.View(ctx, func(r store.Reader) error {
			note, err := s.revived(r)
			if note != "" {
				m.notes = append(m.notes, note)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return m.denyPeople(ctx, former, related, s, file, options)
}

// keepOf keeps what stays valid of the former store whatever the backup says, and what reviews revoked there.
func (m *restoredStore) keepOf(ctx context.Context, former store.Store, w store.Writer) error {
	if former == nil {
		return nil
	}
	return former.View(ctx, func(r store.Reader) (err error) {
		m.changes.revoked, err = grant.DenyAsIn(r, w)
		return errors.Join(err, keepAuditKeys(r, w), listen.KeepCertificates(r, w))
	})
}

// chooseTokens leaves in the restored store the tokens of which it is known that nobody revoked them. The former store has
// them; without it, the audit record says which were revoked.
func (m *restoredStore) chooseTokens(ctx context.Context, former store.Store, s since, w store.Writer, options restoreOptions) error {
	before, err := scim.ReadTokens(w)
	if err != nil {
		return err
	}
	switch {
	case former != nil:
		err = former.View(ctx, func(r store.Reader) error { return scim.UseTokensOf(r, w) })
	case !s.known && !options.tokens && len(before) > 0:
		err = scim.DeleteTokens(w, func(scim.Token) bool { return true })
		m.notes = append(m.notes, fmt.Sprintf("nothing says which provisioning tokens were revoked since the backup was made, so its %d are left out: make one with `sallyport token create`, or restore again with --tokens", len(before)))
	}
	if err == nil {
		err = scim.DeleteTokens(w, func(t scim.Token) bool { return s.revoked[t.ID] })
	}
	if err != nil {
		return err
	}
	after, err := scim.ReadTokens(w)
	m.changes.tokensGone = nil // the transaction may run again
	for _, t := range before {
		if !slices.ContainsFunc(after, func(other scim.Token) bool { return other.ID == t.ID }) {
			m.changes.tokensGone = append(m.changes.tokensGone, t)
		}
	}
	return err
}

// denyPeople suspends and deactivates who was suspended and deactivated since.
func (m *restoredStore) denyPeople(ctx context.Context, former store.Store, related bool, s since, file *config.File, options restoreOptions) error {
	return withDirectory(ctx, m.store, file, func(ctx context.Context, d *directory.Directory) error {
		update := func(f func(tx *directory.Tx) error) error {
			return d.Update(ctx, func(tx *directory.Tx) error {
				tx.By(directory.Cause{Kind: string(audit.ActorOperator), Name: "restore"})
				return f(tx)
			})
		}
		gone, asIn := maps.Clone(s.inactive), 0
		if former != nil {
			later, err := directory.Open(ctx, former, file.OIDC.UserAttribute)
			if err != nil {
				return fmt.Errorf("reading the directory of the former store: %w; move that store elsewhere, and restore again: then only the audit record says what happened since", err)
			}
			addInactive(gone, d, later, related)
			err = later.View(ctx, func(ltx *directory.Tx) error {
				return update(func(tx *directory.Tx) (err error) {
					asIn, err = tx.DenyAsIn(ltx)
					return err
				})
			})
			if err != nil {
				return err
			}
		}
		return update(func(tx *directory.Tx) error {
			m.changes.suspended = asIn // the transaction may run again
			return m.denyEach(tx, gone, s, options.reactivate)
		})
	})
}

// addInactive adds the users whom a later directory has as inactive, or damaged, or, if it is of the same origin, not at all.
func addInactive(gone map[string]bool, d, later *directory.Directory, related bool) {
	for _, u := range d.Snapshot() {
		now, ok := later.ByID(u.ID)
		if ok && (now.Damaged || !now.Active) || !ok && related {
			gone[u.ID] = true
		}
	}
}

// denyEach suspends the users of a backup who are named, and deactivates those who are gone.
func (m *restoredStore) denyEach(tx *directory.Tx, gone map[string]bool, s since, reactivate bool) error {
	for id, at := range s.ended {
		if err := tx.EndAt(id, at); err != nil && !errors.Is(err, directory.ErrNotFound) {
			return err
		}
	}
	for id, why := range s.suspended {
		if _, err := tx.User(id); err != nil {
			continue
		}
		if _, err := tx.Suspension(id); !errors.Is(err, directory.ErrNotFound) {
			continue
		}
		if err := tx.Suspend(id, why); err != nil {
			return err
		}
		m.changes.suspended++
	}
	m.changes.inactive = nil // the transaction may run again
	if reactivate {
		return nil
	}
	for id := range gone {
		u, err := tx.User(id)
		if errors.Is(err, directory.ErrNotFound) {
			continue
		}
		changed := false
		if err == nil {
			changed, err = tx.Deactivate(id)
		}
		if err != nil {
			return err
		}
		if changed {
			m.changes.inactive = append(m.changes.inactive, u)
		}
	}
	slices.SortFunc(m.changes.inactive, func(a, b directory.User) int { return compareNames(a.UserName, a.ID, b.UserName, b.ID) })
	return nil
}

// withDirectory calls f with the directory in a store that nobody else uses.
func withDirectory(ctx context.Context, st store.Store, file *config.File, f func(context.Context, *directory.Directory) error) error {
	d, err := directory.Open(ctx, st, file.OIDC.UserAttribute)
	if err != nil {
		return fmt.Errorf("loading the directory of the backup: %w", err)
	}
	d.KeepHistory(file.History)
	running, stop := context.WithCancel(ctx)
	g, running := errgroup.WithContext(running)
	g.Go(func() error { return ignoreCanceled(d.Run(running)) })
	g.Go(func() error { defer stop(); return f(running, d) })
	return g.Wait()
}

// sameOrigin reports whether two stores have something in common that has a random name: then one was the other once.
func sameOrigin(ctx context.Context, a, b store.Store) (same bool, err error) {
	err = a.View(ctx, func(ra store.Reader) error {
		return b.View(ctx, func(rb store.Reader) error {
			for _, prefix := range []string{auditKeys, "token/", "user/", "group/"} {
				for e := range ra.Scan([]byte(prefix), nil) {
					if _, err := rb.Get(e.Key); !errors.Is(err, store.ErrNotFound) {
						same = true
						return nil
					}
				}
			}
			return nil
		})
	})
	return same, err
}

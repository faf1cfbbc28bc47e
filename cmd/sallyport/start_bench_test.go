package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"sallyport/config"
	"sallyport/directory"
	"sallyport/session"
	"sallyport/store/bolt"
)

const (
	companySize  = 10_000 // users
	sessionsEach = 2      // of each user
)

// The size of a large tenant.
const (
	tenantUsers  = 100_000
	tenantGroups = 20_000
	groupMembers = 50 // of each group: a million in all
)

// BenchmarkStart starts the real program with a company in its store. It reports how long it takes until every listener
// is open, and the memory in use then, without the pages of the file.
func BenchmarkStart(b *testing.B) {
	measureStart(b, func(ctx context.Context, d *directory.Directory, sessions *session.Sessions) error {
		if err := createUsers(ctx, d, 0, companySize); err != nil {
			return err
		}
		return signInAll(ctx, d, sessions)
	})
}

// BenchmarkStart_Tenant is BenchmarkStart with a large tenant, and nobody signed in.
func BenchmarkStart_Tenant(b *testing.B) {
	if os.Getenv("LARGE") == "" {
		b.Skip("set LARGE=1: making a large tenant takes minutes")
	}
	measureStart(b, func(ctx context.Context, d *directory.Directory, _ *session.Sessions) error {
		return createTenant(ctx, d)
	})
}

// measureStart measures starts of the real program with what write writes to its store.
func measureStart(b *testing.B, write func(context.Context, *directory.Directory, *session.Sessions) error) {
	w := newWorld(b)
	w.start("--init").kill()
	if err := w.fill(b.Context(), write); err != nil {
		b.Fatal(err)
	}
	var took, resident float64
	for b.Loop() {
		start := time.Now()
		s := w.start()
		took += time.Since(start).Seconds() * 1000
		resident += (s.status(b, "RssAnon")) / 1024
		s.kill()
	}
	b.ReportMetric(took/float64(b.N), "ms-to-ready")
	b.ReportMetric(resident/float64(b.N), "MiB-resident")
}

// fill has write write to the store, which no process has open.
func (w *world) fill(ctx context.Context, write func(context.Context, *directory.Directory, *session.Sessions) error) error {
	file, err := config.Load(filepath.Join(w.dir, "sallyport.yaml"))
	if err != nil {
		return err
	}
	st, err := bolt.Open(file.Store.Bolt.Path, bolt.Options{})
	if err != nil {
		return err
	}
	defer st.Close()
	d, err := directory.Open(ctx, st, "externalId")
	if err != nil {
		return err
	}
	sessions, err := session.Open(ctx, st, file.Session, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	var running errgroup.Group
	running.Go(func() error { return ignoreCanceled(d.Run(ctx)) })
	running.Go(func() error { return ignoreCanceled(sessions.Run(ctx)) })
	err = write(ctx, d, sessions)
	stop()
	if ended := running.Wait(); err == nil {
		err = ended
	}
	return err
}

// createUsers creates n users, the first of them with number first.
func createUsers(ctx context.Context, d *directory.Directory, first, n int) error {
	return d.Update(ctx, func(tx *directory.Tx) error {
		for i := first; i < first+n; i++ {
			name := fmt.Sprintf("user%05d", i)
			if err := tx.PutUser(&directory.User{ExternalID: name, UserName: name + "@example.com", Active: true,
				Document: fmt.Appendf(nil, `{"displayName":"%s","title":"Engineer"}`, name)}); err != nil {
				return err
			}
		}
		return nil
	})
}

// createTenant creates the users and groups of a large tenant.
func createTenant(ctx context.Context, d *directory.Directory) error {
	const usersAtOnce, groupsAtOnce = 1000, 100
	for first := 0; first < tenantUsers; first += usersAtOnce {
		if err := createUsers(ctx, d, first, usersAtOnce); err != nil {
			return err
		}
	}
	var ids []string
	for _, u := range d.Snapshot() {
		ids = append(ids, u.ID)
	}
	for first := 0; first < tenantGroups; first += groupsAtOnce {
		if err := createGroups(ctx, d, first, groupsAtOnce, ids); err != nil {
			return err
		}
	}
	return nil
}

// createGroups creates n groups with members among ids, the first of them with number first.
func createGroups(ctx context.Context, d *directory.Directory, first, n int, ids []string) error {
	return d.Update(ctx, func(tx *directory.Tx) error {
		for i := first; i < first+n; i++ {
			g := &directory.Group{ExternalID: fmt.Sprintf("group%05d", i), DisplayName: fmt.Sprintf("Group %d", i)}
			if err := tx.PutGroup(g); err != nil {
				return err
			}
			member := i * 37 % (len(ids) - groupMembers)
			if _, err := tx.AddMembers(g.ID, ids[member:member+groupMembers]); err != nil {
				return err
			}
		}
		return nil
	})
}

// signInAll begins the sessions of all users.
func signInAll(ctx context.Context, d *directory.Directory, sessions *session.Sessions) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(64) // they share one fsync
	for i := range companySize {
		u, ok := d.Lookup(fmt.Sprintf("user%05d", i))
		if !ok {
			return fmt.Errorf("user %d does not exist", i)
		}
		for range sessionsEach {
			g.Go(func() error {
				_, err := sessions.Begin(ctx, session.Session{User: u.ID, Epoch: u.Epoch, UserName: u.UserName, Subject: "s", Agent: "Mozilla/5.0"})
				return err
			})
		}
	}
	return g.Wait()
}

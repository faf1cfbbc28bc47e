package main

import (
	"context"
	"fmt"
	"log/slog"
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

// BenchmarkStart starts the real program with a company in its store. It reports how long it takes until every listener
// is open, and the memory in use then, without the pages of the file.
func BenchmarkStart(b *testing.B) {
	w := newWorld(b)
	w.start("--init").kill()
	if err := w.fill(b.Context()); err != nil {
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

// fill writes the company to the store, which no process has open.
func (w *world) fill(ctx context.Context) error {
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
	if err = createUsers(ctx, d); err == nil {
		err = signInAll(ctx, d, sessions)
	}
	stop()
	if ended := running.Wait(); err == nil {
		err = ended
	}
	return err
}

// createUsers creates the users of the company.
func createUsers(ctx context.Context, d *directory.Directory) error {
	return d.Update(ctx, func(tx *directory.Tx) error {
		for i := range companySize {
			name := fmt.Sprintf("user%05d", i)
			if err := tx.PutUser(&directory.User{ExternalID: name, UserName: name + "@example.com", Active: true,
				Document: fmt.Appendf(nil, `{"displayName":"%s","title":"Engineer"}`, name)}); err != nil {
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

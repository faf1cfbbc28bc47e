package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"sallyport/directory"
	"sallyport/session"
	"sallyport/store/bolt"
)

const (
	companyUsers     = 10_000
	sessionsOfEach   = 2
	sessionsTogether = 64 // begin at once, so that they share commits
)

// fillStore makes a store with 10,000 users who have 20,000 sessions. Its server does not run yet.
func fillStore(ctx context.Context, path string) (err error) {
	st, err := bolt.Open(path, bolt.Options{Init: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	d, err := directory.Open(ctx, st, "externalId")
	if err != nil {
		return err
	}
	sessions, err := session.Open(ctx, st, session.Settings{}, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { _ = d.Run(ctx) })
	running.Go(func() { _ = sessions.Run(ctx) })
	defer running.Wait()
	defer stop()
	users := make([]*directory.User, companyUsers)
	err = d.Update(ctx, func(tx *directory.Tx) error {
		for i := range users {
			name := fmt.Sprintf("user%05d", i)
			users[i] = &directory.User{ExternalID: name, UserName: name + "@example.com", Active: true, Document: fmt.Appendf(nil, `{"displayName":%q,"title":"Engineer"}`, name)}
			if err := tx.PutUser(users[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("creating users: %w", err)
	}
	return beginSessions(ctx, sessions, users)
}

func beginSessions(ctx context.Context, sessions *session.Sessions, users []*directory.User) error {
	errs := make([]error, sessionsTogether)
	var all sync.WaitGroup
	for worker := range sessionsTogether {
		all.Go(func() {
			for i := worker; i < len(users)*sessionsOfEach && errs[worker] == nil; i += sessionsTogether {
				u := users[i%len(users)]
				_, errs[worker] = sessions.Begin(ctx, session.Session{User: u.ID, Epoch: u.Epoch, UserName: u.UserName, Subject: u.ExternalID, Agent: "Mozilla/5.0"})
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

package session_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"sallyport/session"
	"sallyport/store/bolt"
)

func Example() {
	dir, err := os.MkdirTemp("", "session-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	st, err := bolt.Open(filepath.Join(dir, "store.db"), bolt.Options{Init: true})
	if err != nil {
		panic(err)
	}
	defer st.Close()

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	sessions, err := session.Open(ctx, st, session.Defaults(), slog.New(slog.DiscardHandler))
	if err != nil {
		panic(err)
	}
	go sessions.Run(ctx)

	signedIn, err := sessions.Begin(ctx, session.Session{User: "u1", UserName: "ada@example.com"})
	if err != nil {
		panic(err)
	}
	token, err := sessions.NewToken(ctx, signedIn.ID, "app.example.com")
	if err != nil {
		panic(err)
	}
	found, err := sessions.Read(token, "app.example.com")
	fmt.Println(found.UserName, err)
	_, err = sessions.Read(token, "other.example.com")
	fmt.Println(errors.Is(err, session.ErrNone))

	if err := sessions.End(ctx, signedIn.ID, session.ReasonLogout); err != nil {
		panic(err)
	}
	_, err = sessions.Read(token, "app.example.com")
	fmt.Println(errors.Is(err, session.ErrEnded))
	// Output:
	// ada@example.com <nil>
	// true
	// true
}

package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"sallyport/store"
	"sallyport/store/follow"
	"sallyport/store/postgres"
	"sallyport/store/postgres/postgrestest"
)

const shortLease = 2 * time.Second

// replica is one process that uses the database, over connections that the test can cut.
type replica struct {
	*postgres.Store
	mirror *follow.Mirror
	link   *link
}

// startReplica runs a replica until the test ends.
func startReplica(t *testing.T, database, name string) *replica {
	t.Helper()
	r := &replica{link: newLink(t, database)}
	s, err := postgres.Open(t.Context(), postgres.Options{URLFile: urlFile(t, r.link.url), Init: true, Replica: name, Lease: shortLease, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	r.Store = s
	load := func(ctx context.Context) (revision store.Revision, err error) {
		err = s.View(ctx, func(r store.Reader) error { revision = r.Revision(); return nil })
		return revision, err
	}
	if r.mirror, err = follow.New(t.Context(), s, load, func(store.Change) bool { return true }); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = s.Run(ctx) })
	running.Go(func() { _ = r.mirror.Run(ctx) })
	t.Cleanup(func() { stop(); r.link.restore(); running.Wait(); _ = s.Close() })
	return r
}

// awaitErr returns when the error of the mirror is one that is want, or nil.
func (r *replica) awaitErr(t *testing.T, want error) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		changed := r.mirror.Changed()
		err := r.mirror.Err()
		if errors.Is(err, want) {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("the error is %v, want %v", err, want)
		}
	}
}

func TestLease_RunsOutAndRecovers(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	r := startReplica(t, server.Database(), "a")
	r.awaitErr(t, nil)
	for range trials(2) {
		r.link.cut()
		r.awaitErr(t, store.ErrStale)
		r.link.restore()
		r.awaitErr(t, nil)
		server.Stop()
		r.awaitErr(t, store.ErrStale)
		server.Start()
		r.awaitErr(t, nil)
	}
}

// TestEnforced_WaitsForEveryReplica demands that no replica decides without a change once Enforced returns, whether the
// replica has applied it, is cut off, or is not there any more.
func TestEnforced_WaitsForEveryReplica(t *testing.T) {
	t.Parallel()
	database := postgrestest.Start(t).Database()
	a, b, c := startReplica(t, database, "a"), startReplica(t, database, "b"), startReplica(t, database, "c")
	for _, r := range []*replica{a, b, c} {
		r.awaitErr(t, nil)
	}
	e, err := a.Enforced(t.Context(), put(t, a.Store, "k", "1"))
	if err != nil || !slices.Equal(e.Applied, []string{"a", "b", "c"}) {
		t.Errorf("with three replicas: %+v, %v", e, err)
	}
	for i := range trials(2) {
		b.link.cut()
		revision := put(t, a.Store, "k", fmt.Sprint(i))
		e, err := a.Enforced(t.Context(), revision)
		if err != nil || !slices.Equal(e.Applied, []string{"a", "c"}) || !slices.Equal(e.Fenced, []string{"b"}) {
			t.Errorf("while b is cut off: %+v, %v", e, err)
		}
		if b.mirror.Revision() < revision && b.mirror.Err() == nil {
			t.Error("b decides without the change")
		}
		b.link.restore()
		b.awaitErr(t, nil)
	}
	ended, stop := context.WithCancel(t.Context())
	b.link.cut()
	revision := put(t, a.Store, "k", "2")
	stop()
	if e, err := a.Enforced(ended, revision); !errors.Is(err, context.Canceled) || len(e.Fenced) > 0 {
		t.Errorf("an ended context gives %+v, %v", e, err)
	}
}

// TestLease_NeverDecidesLate has replicas decide all the time while their links are cut and restored: none decides by
// what was before a change after Enforced has returned for it.
func TestLease_NeverDecidesLate(t *testing.T) {
	t.Parallel()
	database := postgrestest.Start(t).Database()
	all := []*replica{startReplica(t, database, "a"), startReplica(t, database, "b"), startReplica(t, database, "c")}
	for _, r := range all {
		r.awaitErr(t, nil)
	}
	var mu sync.Mutex
	var enforced store.Revision
	stop := make(chan struct{})
	var others sync.WaitGroup
	for _, r := range all {
		others.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
				}
				mu.Lock()
				floor := enforced
				mu.Unlock()
				if has := r.mirror.Revision(); r.mirror.Err() == nil && r.mirror.Revision() == has && has < floor {
					t.Errorf("a replica decides with revision %d after %d is enforced", has, floor)
				}
			}
		})
	}
	for i := range trials(3) {
		cut := all[1+i%2]
		cut.link.cut()
		revision := put(t, all[0].Store, "k", fmt.Sprint(i))
		if _, err := all[0].Enforced(t.Context(), revision); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		enforced = revision
		mu.Unlock()
		cut.link.restore()
		if i%2 == 0 {
			cut.awaitErr(t, nil)
		}
	}
	close(stop)
	others.Wait()
}

// link carries connections to the database.
type link struct {
	url  string
	to   string
	mu   sync.Mutex // guards the fields below
	down bool
	open map[net.Conn]bool
}

// newLink returns a link to the database at text.
func newLink(t *testing.T, text string) *link {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	l := &link{to: u.Host, open: map[net.Conn]bool{}}
	u.Host = listener.Addr().String()
	l.url = u.String()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go l.carry(conn)
		}
	}()
	return l
}

// carry copies both ways. While the link is down, what arrives is dropped, and the connections stay open, as in a network
// that is partitioned.
func (l *link) carry(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", l.to)
	if err != nil {
		return
	}
	defer server.Close()
	l.mu.Lock()
	l.open[client], l.open[server] = true, true
	l.mu.Unlock()
	done := make(chan struct{}, 2)
	pass := func(to io.Writer, from io.Reader) {
		buffer := make([]byte, 64<<10)
		for {
			n, err := from.Read(buffer)
			l.mu.Lock()
			down := l.down
			l.mu.Unlock()
			if err != nil {
				break
			}
			if down {
				continue
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				break
			}
		}
		done <- struct{}{}
	}
	go pass(server, client)
	go pass(client, server)
	<-done
}

// cut partitions the network.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = true
}

// restore ends the partition, and the connections whose data was lost.
func (l *link) restore() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		for conn := range l.open {
			_ = conn.Close()
		}
		clear(l.open)
	}
	l.down = false
}

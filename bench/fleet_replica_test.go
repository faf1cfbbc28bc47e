package main

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"sallyport/directory"
	"sallyport/grant"
	"sallyport/scim"
	"sallyport/session"
	"sallyport/store"
	"sallyport/store/postgres"
)

// fleet is replicas of one database.
type fleet struct {
	replicas []*fleetReplica
	arrivals arrivals
	cancel   context.CancelFunc
	running  sync.WaitGroup
}

// fleetReplica is what one process has in memory, and keeps equal to the store.
type fleetReplica struct {
	*postgres.Store
	directory *directory.Directory
	sessions  *session.Sessions
	grants    *grant.Grants
	tokens    *scim.Provisioning
}

// startFleet opens n replicas at once, and runs them once each of them has read everything.
func startFleet(b *testing.B, url string, n int) *fleet {
	f := &fleet{replicas: make([]*fleetReplica, n), arrivals: arrivals{last: map[store.Revision]arrival{}}}
	forgetReplicas(b, url) // pushes would wait for the leases of former ones
	var opening errgroup.Group
	for i := range n {
		opening.Go(func() (err error) {
			to := url
			if i == n-1 && *fleetFar > 0 {
				to = far(b, url, *fleetFar)
			}
			f.replicas[i], err = openReplica(b.Context(), to, filepath.Join(b.TempDir(), strconv.Itoa(i)), "r"+strconv.Itoa(i))
			return err
		})
	}
	if err := opening.Wait(); err != nil {
		b.Fatal(err)
	}
	var ctx context.Context
	ctx, f.cancel = context.WithCancel(context.Background())
	for _, r := range f.replicas {
		for _, run := range []func(context.Context) error{r.Run, r.directory.Run, r.sessions.Run, r.grants.Run, r.tokens.Run} {
			f.running.Go(func() { _ = run(ctx) })
		}
		after := store.Revision(r.directory.Revision())
		f.running.Go(func() {
			for change, err := range r.Watch(ctx, after) {
				if err != nil {
					return
				}
				f.arrivals.note(change.Revision)
			}
		})
	}
	return f
}

func openReplica(ctx context.Context, url, file, name string) (r *fleetReplica, err error) {
	if err := os.WriteFile(file, []byte(url+"&pool_max_conns=4"), 0o600); err != nil {
		return nil, err
	}
	r = &fleetReplica{}
	if r.Store, err = postgres.Open(ctx, postgres.Options{URLFile: file, Init: true, Replica: name}); err != nil {
		return nil, err
	}
	if r.directory, err = directory.Open(ctx, r.Store, "externalId"); err != nil {
		return nil, err
	}
	if r.sessions, err = session.Open(ctx, r.Store, session.Defaults(), slog.New(slog.DiscardHandler)); err != nil {
		return nil, err
	}
	if r.grants, err = grant.Open(ctx, r.Store); err != nil {
		return nil, err
	}
	r.tokens, err = scim.Open(ctx, r.Store, r.directory)
	return r, err
}

func (f *fleet) stop() {
	f.cancel()
	f.running.Wait()
	for _, r := range f.replicas {
		_ = r.Close()
	}
}

// awaitFresh waits until every replica may decide.
func (f *fleet) awaitFresh(b *testing.B) {
	deadline := time.After(time.Minute)
	for _, r := range f.replicas {
		for {
			changed := r.directory.Changed()
			if r.directory.Fresh() == nil {
				break
			}
			select {
			case <-changed:
			case <-deadline:
				b.Fatal("a replica does not become fresh")
			}
		}
	}
}

// renewals returns how often all replicas have renewed their leases.
func (f *fleet) renewals(b *testing.B) (sum float64) {
	for _, r := range f.replicas {
		registry := prometheus.NewRegistry()
		registry.MustRegister(r.Collectors()...)
		families, err := registry.Gather()
		if err != nil {
			b.Fatal(err)
		}
		for _, family := range families {
			if family.GetName() == "sallyport_store_lease_renewals_total" {
				sum += family.GetMetric()[0].GetCounter().GetValue()
			}
		}
	}
	return sum
}

// arrivals are when changes reached the replicas.
type arrivals struct {
	mu   sync.Mutex // guards last
	last map[store.Revision]arrival
}

type arrival struct {
	replicas int
	last     time.Time
}

func (a *arrivals) note(revision store.Revision) {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last[revision] = arrival{a.last[revision].replicas + 1, now}
}

// pushes are changes of users, as an identity provider pushes them.
type pushes struct {
	fleet *fleet
	users []*directory.User

	mu        sync.Mutex // guards the fields below
	committed map[store.Revision]time.Time
	enforced  []time.Duration
	failed    int
	failure   error // of the last one that failed
}

// clients is how many pushes are under way at most.
const clients = 64

// run sends pushes until ctx ends, and waits for those under way.
func (p *pushes) run(ctx context.Context, b *testing.B, changes string) {
	p.committed = map[store.Revision]time.Time{}
	perSecond, err := strconv.ParseFloat(changes, 64)
	if err != nil && changes != "max" {
		b.Fatalf("%q is no number of changes a second", changes)
	}
	var sending errgroup.Group
	sending.SetLimit(clients)
	for begun, i := time.Now(), 0; ctx.Err() == nil; i++ {
		if changes != "max" {
			wait := time.Hour
			if perSecond > 0 {
				wait = time.Until(begun.Add(time.Duration(float64(i) / perSecond * float64(time.Second))))
			}
			select {
			case <-ctx.Done():
				continue
			case <-time.After(wait):
			}
		}
		sending.Go(func() error { p.push(p.receiver(i)); return nil })
	}
	_ = sending.Wait()
	if p.failed > 0 {
		b.Logf("%d pushes failed, the last one with: %v", p.failed, p.failure)
	}
}

// receiver returns the replica that receives push i.
func (p *pushes) receiver(i int) *fleetReplica {
	switch all := p.fleet.replicas; *fleetFrom {
	case "first":
		return all[0]
	case "last":
		return all[len(all)-1]
	default:
		return all[i%len(all)]
	}
}

// push sends one push, and notes what became of it.
func (p *pushes) push(r *fleetReplica) {
	revision, committed, err := p.change(r)
	if err == nil {
		_, err = r.Enforced(context.Background(), revision)
	}
	took := time.Since(committed)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.failed++
		p.failure = err
		return
	}
	p.committed[revision] = committed
	p.enforced = append(p.enforced, took)
}

// change deactivates a user, or activates them again.
func (p *pushes) change(r *fleetReplica) (revision store.Revision, committed time.Time, err error) {
	id := p.users[rand.IntN(len(p.users))].ID
	err = r.directory.Update(context.Background(), func(tx *directory.Tx) error {
		u, err := tx.User(id)
		if err != nil {
			return err
		}
		revision, u.Active = store.Revision(tx.Revision()), !u.Active
		return tx.PutUser(&u)
	})
	return revision, time.Now(), err
}

// reach returns how long changes took to the slowest replica, sorted.
func (p *pushes) reach() (took []time.Duration) {
	p.fleet.arrivals.mu.Lock()
	defer p.fleet.arrivals.mu.Unlock()
	for revision, committed := range p.committed {
		if at := p.fleet.arrivals.last[revision]; at.replicas == len(p.fleet.replicas) {
			took = append(took, max(0, at.last.Sub(committed)))
		}
	}
	slices.Sort(took)
	return took
}

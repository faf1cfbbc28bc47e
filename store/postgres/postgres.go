// Package postgres keeps a store in a PostgreSQL database (13 or newer), which several processes may use at once.
//
// What must hold: the one row of sallyport_meta is locked first in every transaction that writes, so that the order of
// revisions is the order of commits. A sequence would not do: it numbers transactions before they commit, and whoever
// follows the numbers misses those that commit late. A change and the records that it leaves are one transaction.
package postgres

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"sallyport/store"
	"sallyport/store/internal/feed"
	"sallyport/store/internal/group"
	"sallyport/store/internal/look"
)

const (
	connectTimeout = 5 * time.Second
	openTimeout    = 20 * time.Second
	commitTimeout  = 10 * time.Second // for one group of updates, with every attempt
	readers        = 8                // connections that read at once, unless the URL has pool_max_conns
	reserved       = 2                // of them, those that View does not use
)

// defaultLease is the lease where none is set.
const defaultLease = 15 * time.Second

const maxReplica = 63

// replicaPattern matches the name of a replica, but for its length: repetitions with a limit take long to compile.
var replicaPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9.-]+$`) })

// Options are the options of Open.
type Options struct {
	URLFile string        // the file with the connection string, which is read again for each connection
	Init    bool          // make the tables if there are none
	Replica string        // the name of this process among those that use the database: letters, digits, dots and dashes
	Lease   time.Duration // how long memory may be decided from after the database confirmed it; 0: 15 seconds
	Process string        // the name of this process, which [Store.NameSuccessor] of another one returned; "": a new name
	Former  string        // the name of that other one: the database must be the one that it uses
	Into    bool          // open the tables to copy records into them, even if that was begun before; see [store.UnfinishedKey]
	Slow    bool          // transactions may take as long as they need, as those of a copy do
	Log     *slog.Logger  // nil: nothing is logged
}

// Store is a database. Its methods may be called concurrently.
type Store struct {
	log     *slog.Logger
	urlFile string
	skip    atomic.Int64 // how many hosts of the URL to try last
	moved   atomic.Int64 // when skip was raised last

	// Pools of their own: a reader that waits for an update holds no connection that the update needs, and readers do not
	// keep the replica from its lease.
	reads, writes, control *pgxpool.Pool

	// views has a value for each View under way. Anybody may cause one, by an invented ticket: however many wait, connections
	// are left for what replicas ask, such as whether a change is enforced.
	views chan struct{}

	feed    *feed.Feed
	group   *group.Group
	metrics *metrics
	lease   *lease
	others  sightings
	history history
	puller  puller

	replicas *look.Shared[table]   // what Enforced looks at
	heads    *look.Shared[mark]    // the newest change, for Newest
	failure  atomic.Pointer[error] // why the last renewal of the lease failed, or nil
	base     atomic.Uint64         // the next revision is greater

	successor atomic.Pointer[string] // the process that is to take the place of this one, or nil

	closing context.Context // ends when the store is closed
	close   context.CancelFunc
}

// Open connects to the database, and checks its tables or makes them.
func Open(ctx context.Context, options Options) (*Store, error) {
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	if options.Lease == 0 {
		options.Lease = defaultLease
	}
	if len(options.Replica) > maxReplica || !replicaPattern().MatchString(options.Replica) {
		return nil, fmt.Errorf("%q is no name of a replica; write up to 63 letters, digits, dots and dashes", options.Replica)
	}
	s := &Store{log: options.Log, urlFile: options.URLFile, metrics: newMetrics(), lease: newLease(cmp.Or(options.Process, newProcess()), options.Replica, options.Lease)}
	s.closing, s.close = context.WithCancel(context.Background())
	s.group = group.New(s.commitAll)
	s.replicas, s.heads = look.New(s.readTable), look.New(s.readHead)
	if err := s.open(ctx, options); err != nil {
		_ = s.Close()
		return nil, fmt.Errorf("opening the database that %s names: %w", options.URLFile, err)
	}
	return s, nil
}

func (s *Store) open(ctx context.Context, options Options) (err error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	for _, pool := range []struct {
		pool **pgxpool.Pool
		size int32
	}{{&s.writes, 2}, {&s.control, 2}, {&s.reads, readers}} {
		if *pool.pool, err = s.pool(options, pool.size); err != nil {
			return err
		}
	}
	s.views = make(chan struct{}, s.reads.Config().MaxConns-reserved)
	if host := unverified(s.reads.Config().ConnConfig); host != "" {
		s.log.Warn("the connection to the database is not protected: who is between can read and change everything; add sslmode=verify-full to the URL", "host", host)
	}
	if err := s.demandFormer(ctx, options.Former); err != nil { // before the tables are migrated
		return explain(err)
	}
	if err := current.prepare(ctx, s.writes, options.Init); err != nil {
		return explain(err)
	}
	newest, err := s.newest(ctx)
	if err != nil {
		return explain(err)
	}
	s.history.pull(newest)
	s.feed = feed.New(newest.revision)
	if options.Into {
		return nil
	}
	return s.View(ctx, store.DemandFinished)
}

// Close ends all connections. It waits for transactions under way.
func (s *Store) Close() error {
	s.close()
	if s.feed != nil {
		s.feed.Close()
	}
	for _, pool := range s.pools() {
		pool.Close()
	}
	return nil
}

// pools returns the pools that were made.
func (s *Store) pools() (made []*pgxpool.Pool) {
	for _, pool := range []*pgxpool.Pool{s.reads, s.writes, s.control} {
		if pool != nil {
			made = append(made, pool)
		}
	}
	return made
}

// failed returns err in the words of the package store.
func (s *Store) failed(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case s.closing.Err() != nil:
		return store.ErrClosed
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w", store.ErrUnreachable, err)
}

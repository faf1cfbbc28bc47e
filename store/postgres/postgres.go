// Package postgres keeps a store in a PostgreSQL database (13 or newer), which several processes may use at once.
//
// What must hold: the one row of sallyport_meta is locked first in every transaction that writes, so that the order of
// revisions is the order of commits. A sequence would not do: it numbers transactions before they commit, and whoever
// follows the numbers misses those that commit late. A change and the records that it leaves are one transaction.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
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
	readers        = 16               // connections that read at once, unless the URL has pool_max_conns
)

// defaultLease is the lease where none is set.
const defaultLease = 15 * time.Second

var replicaPattern = regexp.MustCompile(`^[A-Za-z0-9.-]{1,63}$`)

// Options are the options of Open.
type Options struct {
	URLFile string        // the file with the connection string, which is read again for each connection
	Init    bool          // make the tables if there are none
	Replica string        // the name of this process among those that use the database: letters, digits, dots and dashes
	Lease   time.Duration // how long memory may be decided from after the database confirmed it; 0: 15 seconds
	Into    bool          // open the tables to copy records into them, even if that was begun before; see [store.UnfinishedKey]
	Slow    bool          // transactions may take as long as they need, as those of a copy do
	Log     *slog.Logger  // nil: nothing is logged
}

// Store is a database. Its methods may be called concurrently.
type Store struct {
	log     *slog.Logger
	reads   *pgxpool.Pool
	writes  *pgxpool.Pool // a pool of its own: a reader that waits for an update holds none of its connections
	feed    *feed.Feed
	group   *group.Group
	metrics *metrics
	lease   *lease

	replicas *look.Shared[table]   // what Enforced looks at
	heads    *look.Shared[mark]    // the newest change, for Newest
	failure  atomic.Pointer[error] // why the last renewal of the lease failed, or nil
	base     atomic.Uint64         // the next revision is greater

	pulling sync.Mutex // held while changes are read
	known   mark       // the newest change that was read; guarded by pulling

	closing context.Context // ends when the store is closed
	close   context.CancelFunc
}

// mark names a change. Two changes of one revision have different ids: the one is of a database that was restored, or
// promoted without the other.
type mark struct {
	revision store.Revision
	id       string
}

// Open connects to the database, and checks its tables or makes them.
func Open(ctx context.Context, options Options) (*Store, error) {
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	if options.Lease == 0 {
		options.Lease = defaultLease
	}
	if !replicaPattern.MatchString(options.Replica) {
		return nil, fmt.Errorf("%q is no name of a replica; write up to 63 letters, digits, dots and dashes", options.Replica)
	}
	s := &Store{log: options.Log, metrics: newMetrics(), lease: newLease(options.Replica, options.Lease)}
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
	if s.writes, err = s.pool(options, 2); err != nil {
		return err
	}
	if s.reads, err = s.pool(options, readers); err != nil {
		return err
	}
	if err := s.prepare(ctx, options.Init); err != nil {
		return explain(err)
	}
	if s.known, err = s.newest(ctx); err != nil {
		return explain(err)
	}
	s.feed = feed.New(s.known.revision)
	if options.Into {
		return nil
	}
	return s.View(ctx, store.DemandFinished)
}

// pool returns connections to a primary. It connects when it has to.
func (s *Store) pool(options Options, size int32) (*pgxpool.Pool, error) {
	url, err := readURL(options.URLFile)
	if err != nil {
		return nil, err
	}
	c, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, errURL // the error of the package has the URL in it
	}
	if !strings.Contains(url, "pool_max_conns") || size < readers {
		c.MaxConns = size
	}
	c.ConnConfig.ConnectTimeout = connectTimeout
	c.ConnConfig.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	c.ConnConfig.RuntimeParams["application_name"] = "sallyport"
	c.BeforeConnect = func(_ context.Context, conn *pgx.ConnConfig) error {
		s.metrics.connections.Inc()
		return useCurrent(conn, options.URLFile)
	}
	c.AfterConnect = prepareSession
	if options.Slow {
		c.AfterConnect = prepareSlowSession
	}
	return pgxpool.NewWithConfig(context.Background(), c)
}

// prepareSession sets what must hold whatever the server's configuration says: a commit is acknowledged only when it is
// durable, and an abandoned transaction does not hold its lock for long.
func prepareSession(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, `SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local', 'remote_write');
SET statement_timeout = '60s'; SET lock_timeout = '10s'; SET idle_in_transaction_session_timeout = '60s'`)
	return err
}

// prepareSlowSession also sets that transactions may take long.
func prepareSlowSession(ctx context.Context, conn *pgx.Conn) error {
	if err := prepareSession(ctx, conn); err != nil {
		return err
	}
	_, err := conn.Exec(ctx, "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0")
	return err
}

var errURL = errors.New("it is not the connection string of a PostgreSQL database; write one such as postgres://sallyport@db.example.com/sallyport?sslmode=verify-full")

// readURL returns the connection string in a file.
func readURL(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	url := strings.TrimSpace(string(text))
	if url == "" {
		return "", errURL
	}
	return url, nil
}

// useCurrent makes conn connect as the file says now: passwords and certificates change.
func useCurrent(conn *pgx.ConnConfig, urlFile string) error {
	url, err := readURL(urlFile)
	if err != nil {
		return err
	}
	now, err := pgx.ParseConfig(url)
	if err != nil {
		return errURL
	}
	conn.Host, conn.Port, conn.Database, conn.User, conn.Password = now.Host, now.Port, now.Database, now.User, now.Password
	conn.TLSConfig, conn.Fallbacks = now.TLSConfig, now.Fallbacks
	return nil
}

// explain adds what to do to the errors of a first connection.
func explain(err error) error {
	var refused *pgconn.PgError
	switch {
	case errors.As(err, &refused) && refused.Code == "42501":
		return fmt.Errorf("%w; let its user make tables in the schema, or make them as another user with `sallyport init`", err)
	case errors.As(err, &refused) && strings.HasPrefix(refused.Code, "28"):
		return fmt.Errorf("%w; check the user and the password", err)
	}
	return err
}

// Close ends all connections. It waits for transactions under way.
func (s *Store) Close() error {
	s.close()
	if s.feed != nil {
		s.feed.Close()
	}
	for _, pool := range []*pgxpool.Pool{s.reads, s.writes} {
		if pool != nil {
			pool.Close()
		}
	}
	return nil
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

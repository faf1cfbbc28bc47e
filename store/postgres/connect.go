package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// pool returns connections to a primary. It connects when it has to.
func (s *Store) pool(options Options, size int32) (*pgxpool.Pool, error) {
	text, err := readURL(options.URLFile)
	if err != nil {
		return nil, err
	}
	c, err := pgxpool.ParseConfig(text)
	if err != nil {
		return nil, urlError(text, err)
	}
	if !strings.Contains(text, "pool_max_conns") || size < readers {
		c.MaxConns = size
	} else {
		c.MaxConns = max(c.MaxConns, reserved+1)
	}
	configure(c.ConnConfig)
	c.BeforeConnect = func(_ context.Context, conn *pgx.ConnConfig) error {
		s.metrics.connections.Inc()
		return s.useCurrent(conn)
	}
	c.AfterConnect = prepareSession
	if options.Slow {
		c.AfterConnect = prepareSlowSession
	}
	return pgxpool.NewWithConfig(context.Background(), c)
}

// connect makes one connection to a primary.
func connect(ctx context.Context, urlFile string) (*pgx.Conn, error) {
	text, err := readURL(urlFile)
	if err != nil {
		return nil, err
	}
	c, err := pgx.ParseConfig(text)
	if err != nil {
		return nil, urlError(text, err)
	}
	configure(c)
	return pgx.ConnectConfig(ctx, c)
}

// configure sets what holds for every connection: it is to a server that takes writes, and keeps the warnings of the server.
func configure(c *pgx.ConnConfig) {
	c.ConnectTimeout = connectTimeout
	c.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	c.RuntimeParams["application_name"] = "sallyport"
	c.OnNotice = keepWarning
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
	connection := strings.TrimSpace(string(text))
	if connection == "" {
		return "", errURL
	}
	return connection, nil
}

// urlError returns why a connection string cannot be used. The error of the driver has the string in it, and what is wrong
// with a URL may be a part of its password: only the reason is told, and only if the string itself can be read.
func urlError(text string, err error) error {
	reason := errors.Unwrap(err)
	u, failed := url.Parse(text)
	if reason == nil || failed != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return errURL
	}
	password, _ := u.User.Password()
	for _, secret := range []string{password, u.Query().Get("password"), u.Query().Get("sslpassword")} {
		if secret != "" && strings.Contains(reason.Error(), secret) {
			return errURL
		}
	}
	return fmt.Errorf("the connection string cannot be used: %w", reason)
}

// useCurrent makes conn connect as the file says now, since passwords and certificates change, and to another of its hosts
// first each time that one of them did not work.
func (s *Store) useCurrent(conn *pgx.ConnConfig) error {
	text, err := readURL(s.urlFile)
	if err != nil {
		return err
	}
	now, err := pgx.ParseConfig(text)
	if err != nil {
		return urlError(text, err)
	}
	configure(now)
	now.RuntimeParams = conn.RuntimeParams // without those that are of the pool
	hosts := append([]*pgconn.FallbackConfig{{Host: now.Host, Port: now.Port, TLSConfig: now.TLSConfig}}, now.Fallbacks...)
	hosts = rotate(hosts, int(s.skip.Load()))
	now.Host, now.Port, now.TLSConfig, now.Fallbacks = hosts[0].Host, hosts[0].Port, hosts[0].TLSConfig, hosts[1:]
	*conn = *now // as a whole: the client certificate belongs to its own TLS configuration
	return nil
}

// rotate moves the first n hosts to the end. A host may be there several times in a row, with TLS and without.
func rotate(hosts []*pgconn.FallbackConfig, n int) []*pgconn.FallbackConfig {
	var starts []int
	for i, h := range hosts {
		if i == 0 || h.Host != hosts[i-1].Host || h.Port != hosts[i-1].Port {
			starts = append(starts, i)
		}
	}
	at := starts[n%len(starts)]
	return slices.Concat(hosts[at:], hosts[:at])
}

// moveOn makes new connections, and tries another host first: one that takes no commits may still respond to reads, as a
// primary does that has lost its synchronous standby. It does so once a second at most, since many may notice at once.
func (s *Store) moveOn() {
	last, now := s.moved.Load(), int64(bootTime())
	if last != 0 && now-last < int64(time.Second) || !s.moved.CompareAndSwap(last, now) {
		return
	}
	s.skip.Add(1)
	for _, pool := range s.pools() {
		pool.Reset()
	}
}

// unverified returns a host to which a connection would be made without proof of what it is, or "" if there is none.
func unverified(c *pgx.ConnConfig) string {
	hosts := append([]*pgconn.FallbackConfig{{Host: c.Host, TLSConfig: c.TLSConfig}}, c.Fallbacks...)
	for _, h := range hosts {
		ip := net.ParseIP(h.Host)
		near := strings.HasPrefix(h.Host, "/") || strings.HasPrefix(h.Host, "@") || h.Host == "localhost" || ip != nil && ip.IsLoopback()
		if !near && (h.TLSConfig == nil || h.TLSConfig.InsecureSkipVerify) {
			return h.Host
		}
	}
	return ""
}

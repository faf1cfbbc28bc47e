package postgres

import (
	"context"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"sallyport/store"
)

// Findings is what a look at a database finds, for people who operate it. Nothing of what is stored is in it.
type Findings struct {
	Version string `json:"version"` // of the server
	Local   bool   `json:"local"`   // the connection does not leave the machine

	Encrypted bool   `json:"encrypted"`         // the connection has TLS
	Verified  bool   `json:"verified"`          // the connection string demands a certificate for the name (sslmode=verify-full)
	Protocol  string `json:"protocol,omitzero"` // such as TLSv1.3

	Fsync  bool          `json:"fsync"`     // commits survive a crash
	Ahead  time.Duration `json:"ahead_ns"`  // of the clock of this machine by that of the database
	Within time.Duration `json:"within_ns"` // the error of Ahead, in either direction

	Tables bool `json:"tables"` // the store's tables exist
	Role   Role `json:"role"`

	Revision store.Revision `json:"revision"`
	Replicas []Replica      `json:"replicas"`
}

// Role is what the user of the connection may do.
type Role struct {
	Name    string   `json:"name"`
	Excess  []string `json:"excess"`  // attributes that no server needs, such as SUPERUSER
	Lacking []string `json:"lacking"` // rights to tables that a server needs, such as "INSERT on sallyport_items"
	Owner   bool     `json:"owner"`   // of the tables
	Others  []string `json:"others"`  // who else may read or change the tables, without superusers and owners; PUBLIC is everybody
}

// Replica is a process that uses the database.
type Replica struct {
	Name    string        `json:"name"`
	Running bool          `json:"running"`    // its lease runs
	Behind  uint64        `json:"behind"`     // revisions
	Renewed time.Duration `json:"renewed_ns"` // how long ago it renewed its lease
	Lease   time.Duration `json:"lease_ns"`   // how long its lease is
}

// Examine looks at the database that the file with the connection string names, and changes nothing.
func Examine(ctx context.Context, urlFile string) (f Findings, err error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	conn, err := connect(ctx, urlFile)
	if err != nil {
		return f, explain(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	f.Verified, f.Local = verifies(conn.Config()), isLocal(conn.Config().Host)
	for _, look := range []func(context.Context, *pgx.Conn) error{f.lookAtServer, f.lookAtClock, f.lookAtRole, f.lookAtTables} {
		if err := look(ctx, conn); err != nil {
			return f, err
		}
	}
	return f, nil
}

// verifies reports whether every way to connect demands a certificate for the name of the server.
func verifies(c *pgx.ConnConfig) bool {
	if c.TLSConfig == nil || c.TLSConfig.InsecureSkipVerify {
		return false
	}
	for _, other := range c.Fallbacks {
		if other.TLSConfig == nil || other.TLSConfig.InsecureSkipVerify {
			return false
		}
	}
	return true
}

// isLocal reports whether a host is this machine, by its name or as the folder of a socket.
func isLocal(host string) bool {
	ip := net.ParseIP(host)
	return filepath.IsAbs(host) || host == "localhost" || ip != nil && ip.IsLoopback()
}

func (f *Findings) lookAtServer(ctx context.Context, conn *pgx.Conn) error {
	var protocol *string
	err := conn.QueryRow(ctx, `SELECT current_setting('server_version'), current_setting('fsync') = 'on',
coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false), (SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid())`).Scan(&f.Version, &f.Fsync, &f.Encrypted, &protocol)
	if protocol != nil {
		f.Protocol = *protocol
	}
	return err
}

// lookAtClock takes the response that took the shortest time.
func (f *Findings) lookAtClock(ctx context.Context, conn *pgx.Conn) error {
	for i := range 3 {
		var there time.Time
		start := time.Now()
		if err := conn.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&there); err != nil {
			return err
		}
		within := time.Since(start) / 2
		if i == 0 || within < f.Within {
			f.Within, f.Ahead = within, there.Sub(start.Add(within).Round(0))
		}
	}
	return nil
}

// attributes are those of a role that no server needs, by their columns.
var attributes = []string{"rolsuper", "rolcreaterole", "rolcreatedb", "rolreplication", "rolbypassrls"}

func (f *Findings) lookAtRole(ctx context.Context, conn *pgx.Conn) error {
	has := make([]bool, len(attributes))
	targets := []any{&f.Role.Name}
	for i := range has {
		targets = append(targets, &has[i])
	}
	if err := conn.QueryRow(ctx, "SELECT rolname, "+strings.Join(attributes, ", ")+" FROM pg_roles WHERE rolname = current_user").Scan(targets...); err != nil {
		return err
	}
	for i, name := range attributes {
		if has[i] {
			f.Role.Excess = append(f.Role.Excess, strings.ToUpper(strings.TrimPrefix(name, "rol")))
		}
	}
	if i := slices.Index(f.Role.Excess, "SUPER"); i >= 0 {
		f.Role.Excess[i] = "SUPERUSER"
	}
	return conn.QueryRow(ctx, "SELECT to_regclass('sallyport_meta') IS NOT NULL").Scan(&f.Tables)
}

func (f *Findings) lookAtTables(ctx context.Context, conn *pgx.Conn) error {
	if !f.Tables {
		return nil
	}
	const names = "unnest(ARRAY['sallyport_meta', 'sallyport_items', 'sallyport_changes', 'sallyport_replicas']) AS t(name)"
	const rights = "unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS r(name)"
	err := conn.QueryRow(ctx, `SELECT
coalesce((SELECT array_agg(r.name || ' on ' || t.name) FROM `+names+", "+rights+` WHERE NOT has_table_privilege(t.name, r.name)), '{}'),
(SELECT bool_and(pg_has_role(relowner, 'USAGE')) FROM `+names+` JOIN pg_class ON oid = to_regclass(t.name)),
coalesce((SELECT array_agg(DISTINCT coalesce(g.rolname, 'PUBLIC')::text) FROM `+names+` JOIN pg_class c ON c.oid = to_regclass(t.name), aclexplode(c.relacl) AS a LEFT JOIN pg_roles g ON g.oid = a.grantee
	WHERE a.grantee <> c.relowner AND coalesce(g.rolname, '') <> current_user AND NOT coalesce(g.rolsuper, false)), '{}')`).Scan(&f.Role.Lacking, &f.Role.Owner, &f.Role.Others)
	if err != nil || slices.ContainsFunc(f.Role.Lacking, func(right string) bool { return strings.HasPrefix(right, "SELECT") }) {
		return err
	}
	return f.lookAtReplicas(ctx, conn)
}

func (f *Findings) lookAtReplicas(ctx context.Context, conn *pgx.Conn) error {
	if err := conn.QueryRow(ctx, "SELECT coalesce(max(revision), 0) FROM sallyport_meta").Scan(&f.Revision); err != nil {
		return err
	}
	rows, err := conn.Query(ctx, `SELECT name, renewed + lease >= clock_timestamp(), greatest($1 - applied, 0),
extract(epoch FROM clock_timestamp() - renewed)::float8, extract(epoch FROM lease)::float8 FROM sallyport_replicas ORDER BY name, process`, number(f.Revision))
	if err != nil {
		return err
	}
	var r Replica
	var behind int64
	var renewed, lease float64
	_, err = pgx.ForEachRow(rows, []any{&r.Name, &r.Running, &behind, &renewed, &lease}, func() error {
		r.Behind = uint64(behind) //nolint:gosec // it is not negative
		r.Renewed, r.Lease = time.Duration(renewed*float64(time.Second)), time.Duration(lease*float64(time.Second))-fenceMargin
		f.Replicas = append(f.Replicas, r)
		return nil
	})
	return err
}

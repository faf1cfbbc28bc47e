package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Living returns the names of the replicas whose lease has not run out, by the clock of the database.
func (s *Store) Living(ctx context.Context) ([]string, error) {
	rows, err := s.reads.Query(ctx, "SELECT DISTINCT name FROM sallyport_replicas WHERE renewed + lease >= clock_timestamp() ORDER BY name")
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return names, s.failed(ctx, err)
}

// Processes returns the name of this process, and the names of the replicas whose lease has not run out by those of their
// processes. This process is always among them.
func (s *Store) Processes(ctx context.Context) (own string, replicas map[string]string, err error) {
	rows, err := s.reads.Query(ctx, "SELECT process, name FROM sallyport_replicas WHERE renewed + lease >= clock_timestamp()")
	if err != nil {
		return "", nil, s.failed(ctx, err)
	}
	replicas = map[string]string{s.lease.process: s.lease.replica}
	var process, name string
	_, err = pgx.ForEachRow(rows, []any{&process, &name}, func() error { replicas[process] = name; return nil })
	return s.lease.process, replicas, s.failed(ctx, err)
}

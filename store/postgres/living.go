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

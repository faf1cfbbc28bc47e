package postgres_test

import (
	"context"
	"testing"
	"time"

	"sallyport/store/postgres"
	"sallyport/store/postgres/postgrestest"
)

// TestRun_ReturnsItsLease ends stores at any moment of a renewal: a lease that stays behind keeps pushes and restores waiting.
func TestRun_ReturnsItsLease(t *testing.T) {
	t.Parallel()
	url := postgrestest.Start(t).Database()
	put(t, open(t, url), "a", "1")
	for n := range trials(60) {
		s, err := postgres.Open(t.Context(), postgres.Options{URLFile: urlFile(t, url), Replica: "test"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithTimeout(t.Context(), time.Duration(n%60)*500*time.Microsecond)
		_ = s.Run(ctx)
		stop()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		h, err := postgres.TakeHold(t.Context(), urlFile(t, url), postgres.ToRead)
		if err != nil {
			t.Fatalf("trial %d: %v", n, err)
		}
		h.Release()
	}
}

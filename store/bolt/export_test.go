package bolt

import (
	"errors"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	bbolt "go.etcd.io/bbolt"
)

// Results returns the counter of updates with result.
func (s *Store) Results(result string) prometheus.Counter {
	return s.metrics.transactions.WithLabelValues("update", result)
}

// ErrInjected is the error of a commit that [Store.FailCommit] fails.
var ErrInjected = errors.New("injected: the disk fails")

// FailCommit makes every commit fail until the returned function is called. If stored,
// the commit is written nevertheless, as if only its last fsync had failed.
func (s *Store) FailCommit(stored bool) (release func()) {
	s.commitTx = func(tx *bbolt.Tx) error {
		if stored {
			return errors.Join(tx.Commit(), ErrInjected)
		}
		return ErrInjected
	}
	return func() { s.commitTx = (*bbolt.Tx).Commit }
}

// Counts returns which records the check of the pages finds in the file at path, and which a cursor finds.
func Counts(path string) (pages, cursor any, err error) {
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		return nil, nil, err
	}
	defer db.Close()
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	pages, err = checkPages(f)
	viewed := db.View(func(tx *bbolt.Tx) error {
		cursor, _ = countRecords(tx.Bucket(dataBucket))
		return nil
	})
	return pages, cursor, errors.Join(err, viewed)
}

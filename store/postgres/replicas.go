package postgres

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"sallyport/store"
)

// newProcess returns a name for the row of a process. Names are in the order in which processes start, as far as the
// clocks of their machines agree: the oldest one leads.
func newProcess() string { return processSince(time.Now().UnixMilli()) }

func processSince(milliseconds int64) string {
	return fmt.Sprintf("%012x%s", milliseconds, hex.EncodeToString(newID()))
}

// Leads implements [store.Leaser]. The replica that leads is the oldest one whose lease runs. For a moment none may lead,
// and one that was slow may believe for a moment too long that it does. While another process is about to take the place
// of this one, both lead or none.
func (s *Store) Leads(ctx context.Context) (leads bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	err = s.reads.QueryRow(ctx, "SELECT process = ANY($1) FROM sallyport_replicas WHERE renewed + lease >= clock_timestamp() ORDER BY process LIMIT 1", s.leaders()).Scan(&leads)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	return leads, s.failed(ctx, err)
}

// Newest implements [store.Leaser]. However many ask, at most one question is under way at a time, and each question is
// for everybody who asked before it was sent.
func (s *Store) Newest(ctx context.Context) (store.Revision, error) {
	head, err := s.heads.Do(ctx)
	return head.revision, s.failed(ctx, err)
}

func (s *Store) readHead() (mark, error) {
	ctx, cancel := context.WithTimeout(s.closing, readTimeout)
	defer cancel()
	head, err := s.newest(ctx)
	s.wake() // whoever asked waits for it
	return head, err
}

// remaining returns how long memory that has the revision applied may still be decided from; 0: it may not.
func (l *lease) remaining(applied store.Revision, now time.Duration) time.Duration {
	for _, r := range *l.renewals.Load() {
		if r.revision <= applied {
			return max(0, r.start+l.length-now)
		}
	}
	return 0
}

// lag returns how many revisions memory that has the revision applied is behind what the database said last, and since
// when, as far as it is known.
func (l *lease) lag(applied store.Revision, now time.Duration) (revisions uint64, since time.Duration) {
	for _, r := range *l.renewals.Load() {
		if r.revision <= applied {
			break
		}
		revisions, since = max(revisions, uint64(r.revision-applied)), now-r.start
	}
	return revisions, since
}

// The states of a replica, as labels.
const (
	stateRunning = "running" // it may decide
	stateFenced  = "fenced"  // its lease has run out: it does not decide
)

var (
	replicaDesc = prometheus.NewDesc("sallyport_replica_info",
		"Always 1; the label names this replica among those that use the database.", []string{"replica"}, nil)
	leaseDesc = prometheus.NewDesc("sallyport_store_lease_seconds",
		"How long this replica may still decide if the database confirms no more that it is current; 0: it does not decide.", nil, nil)
	lagRevisionsDesc = prometheus.NewDesc("sallyport_store_lag_revisions",
		"Revisions of the database that the memory of this replica does not have.", nil, nil)
	lagSecondsDesc = prometheus.NewDesc("sallyport_store_lag_seconds",
		"For how long the memory of this replica has been behind the database; 0: it is not.", nil, nil)
	replicasDesc = prometheus.NewDesc("sallyport_store_replicas",
		"Processes that use the database, by whether their lease runs (running) or has run out without their end (fenced); absent while the database cannot be asked.", []string{"state"}, nil)
	leadsDesc = prometheus.NewDesc("sallyport_store_leads",
		"Whether this replica does what only one of them does: certificates, notices of what expires, the end of grants by time; absent while the database cannot be asked.", nil, nil)
)

// collectTimeout bounds how long the database is asked for metrics.
const collectTimeout = time.Second

// replicaCollector tells of this replica and of the others.
type replicaCollector struct{ store *Store }

// Describe implements [prometheus.Collector].
func (replicaCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{replicaDesc, leaseDesc, lagRevisionsDesc, lagSecondsDesc, replicasDesc, leadsDesc} {
		out <- d
	}
}

// Collect implements [prometheus.Collector].
func (c replicaCollector) Collect(out chan<- prometheus.Metric) {
	l, now := c.store.lease, bootTime()
	applied := l.oldest()
	revisions, since := l.lag(applied, now)
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	gauge(replicaDesc, 1, l.replica)
	gauge(leaseDesc, l.remaining(applied, now).Seconds())
	gauge(lagRevisionsDesc, float64(revisions))
	gauge(lagSecondsDesc, since.Seconds())
	running, fenced, leads, err := c.store.countReplicas()
	if err != nil {
		return // the lease tells that the database cannot be reached
	}
	gauge(replicasDesc, float64(running), stateRunning)
	gauge(replicasDesc, float64(fenced), stateFenced)
	gauge(leadsDesc, float64(leads))
}

// countReplicas returns how many processes use the database, and 1 if this one leads.
func (s *Store) countReplicas() (running, fenced, leads int, err error) {
	ctx, cancel := context.WithTimeout(s.closing, collectTimeout)
	defer cancel()
	rows, err := s.reads.Query(ctx, "SELECT process, renewed + lease >= clock_timestamp() FROM sallyport_replicas ORDER BY process")
	if err != nil {
		return 0, 0, 0, err
	}
	var process string
	var runs bool
	_, err = pgx.ForEachRow(rows, []any{&process, &runs}, func() error {
		if !runs {
			fenced++
			return nil
		}
		if running++; running == 1 && slices.Contains(s.leaders(), process) {
			leads = 1
		}
		return nil
	})
	return running, fenced, leads, err
}

// Describe sends the descriptions of the metrics of every [Store].
func Describe(out chan<- *prometheus.Desc) {
	for _, c := range (&Store{metrics: newMetrics()}).Collectors() {
		c.Describe(out)
	}
}

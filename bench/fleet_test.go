package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"sallyport/store/postgres/postgrestest"
)

// The flags of BenchmarkFleet, after -args.
var (
	fleetReplicas = flag.String("replicas", "2,4,8,16,32,64", "numbers of replicas")
	fleetUsers    = flag.String("users", "1000", "sizes of the directory")
	fleetChanges  = flag.String("changes", "0,1,10,100", "pushes a second, each of which changes one user; max: as many as 64 clients get done")
	fleetFor      = flag.Duration("for", 10*time.Second, "duration of each measurement")
	fleetGroups   = flag.Int("groups", 10, "groups that each user is in")
	fleetFar      = flag.Duration("far", 0, "time that a packet takes between the last replica and the database, each way")
	fleetFrom     = flag.String("from", "all", "which replicas receive the pushes: all in turn, the first, or the last")
)

// BenchmarkFleet measures what replicas cost the database that they share, and what they cost each other. The replicas
// are those of the program, with all that follows the store, but in one process, and without HTTP. The database is a
// real PostgreSQL, which forces its log to the disk. It runs by name only, with POSTGRES set:
//
//	POSTGRES=/usr/lib/postgresql/15/bin go test -timeout 60m -run '^$' -bench Fleet -benchtime 1x ./bench -args -replicas 2,8
func BenchmarkFleet(b *testing.B) {
	server := postgrestest.Start(b, "fsync=on", "max_connections=1000", "max_wal_size=4GB")
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	defer table.Flush()
	fmt.Fprintln(table, fleetColumns)
	for _, users := range counts(b, *fleetUsers) {
		url := server.Database()
		fill(b, url, users, *fleetGroups)
		for _, n := range counts(b, *fleetReplicas) {
			for changes := range strings.SplitSeq(*fleetChanges, ",") {
				row := measureFleet(b, url, n, changes)
				fmt.Fprintf(table, "%d\t%d\t%s\t%s\n", users, n, changes, row)
				fmt.Fprintf(os.Stderr, "%d users, %d replicas, %s changes a second: %s\n", users, n, changes, row)
			}
		}
	}
}

const fleetColumns = "users\treplicas\toffered/s\tpushes/s\tfailed\trenewals/s\tcommits/s\tsyncs/s\tlog KB/s\tin KB/s\tout KB/s\tDB cores\tcores of all replicas\treach p50\treach p99\tenforced p50\tenforced p99\tload\t"

// fleetRow is what was measured with some number of replicas, some directory and some rate of changes.
type fleetRow struct {
	pushes   float64 // a second
	failed   int     // pushes, in all
	cost     databaseCost
	renewals float64
	reach    []time.Duration // from the response to the writer until the change is at the slowest replica; sorted
	enforced []time.Duration // from there until the writer knows that every replica has it; sorted
	load     time.Duration   // until every replica has read the directory, all at once
}

func (r fleetRow) String() string {
	text := []string{fmt.Sprintf("%.1f", r.pushes), strconv.Itoa(r.failed), fmt.Sprintf("%.0f", r.renewals), fmt.Sprintf("%.0f", r.cost.commits), fmt.Sprintf("%.0f", r.cost.syncs)}
	for _, kib := range []float64{r.cost.log, r.cost.received, r.cost.sent} {
		text = append(text, fmt.Sprintf("%.0f", kib/1000))
	}
	text = append(text, fmt.Sprintf("%.2f", r.cost.cores), fmt.Sprintf("%.2f", r.cost.ownCores))
	for _, sorted := range [][]time.Duration{r.reach, r.enforced} {
		for _, q := range []float64{0.5, 0.99} {
			text = append(text, fmt.Sprintf("%.1fms", quantile(sorted, q).Seconds()*1000))
		}
	}
	return strings.Join(text, "\t") + "\t" + r.load.Round(time.Millisecond).String() + "\t"
}

// measureFleet runs replicas, sends pushes for a while, and returns what that cost.
func measureFleet(b *testing.B, url string, n int, changes string) (row fleetRow) {
	begun := time.Now()
	f := startFleet(b, url, n)
	row.load = time.Since(begun)
	defer f.stop()
	f.awaitFresh(b)
	load := &pushes{fleet: f, users: f.replicas[0].directory.Users()}
	before, renewals := readCost(b, url), f.renewals(b)
	ctx, stop := context.WithTimeout(b.Context(), *fleetFor)
	defer stop()
	begun = time.Now()
	load.run(ctx, b, changes)
	took := time.Since(begun).Seconds()
	row.cost = readCost(b, url).since(before, took)
	row.renewals = (f.renewals(b) - renewals) / took
	row.pushes = float64(len(load.enforced)) / took
	row.failed = load.failed
	row.reach, row.enforced = load.reach(), load.enforced
	slices.Sort(row.enforced)
	return row
}

// counts reads numbers with commas between them.
func counts(b *testing.B, text string) (list []int) {
	for one := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(one)
		if err != nil || n < 1 {
			b.Fatalf("%q is not a list of numbers", text)
		}
		list = append(list, n)
	}
	return list
}

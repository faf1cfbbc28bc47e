package postgres_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	osexec "os/exec"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"sallyport/store"
	"sallyport/store/follow"
	"sallyport/store/postgres"
	"sallyport/store/postgres/postgrestest"
)

// processVariable has this binary be a replica: it holds the file with the connection string.
const processVariable = "SALLYPORT_TEST_REPLICA"

func TestMain(m *testing.M) {
	if file := os.Getenv(processVariable); file != "" {
		if err := beReplica(file); err != nil {
			slog.Error("the replica cannot run", "err", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// beReplica decides until the process gets an interrupt, and then prints its decisions.
func beReplica(file string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	s, err := postgres.Open(ctx, postgres.Options{URLFile: file, Replica: "process", Lease: shortLease, Log: slog.Default()})
	if err != nil {
		return err
	}
	r := &replica{Store: s}
	load := func(ctx context.Context) (revision store.Revision, err error) {
		err = s.View(ctx, func(r store.Reader) error { revision = r.Revision(); return nil })
		return revision, err
	}
	if r.mirror, err = follow.New(ctx, s, load, func(store.Change) bool { return true }); err != nil {
		return err
	}
	var running sync.WaitGroup
	running.Go(func() { _ = s.Run(ctx) })
	running.Go(func() {
		if err := r.mirror.Run(ctx); ctx.Err() == nil {
			slog.Error("the replica has ended", "err", err)
			os.Exit(1)
		}
	})
	decided, first := decisions{}, true
	for ctx.Err() == nil {
		if r.mirror.Err() == nil && first {
			first = false
			fmt.Println("ready")
		}
		decided.decide(r)
		time.Sleep(time.Millisecond) // how often requests come
	}
	running.Wait()
	return json.NewEncoder(os.Stdout).Encode(decided)
}

// fleet is three replicas, of which one is a process, over a database with a synchronous standby.
type fleet struct {
	t        *testing.T
	pair     *pair
	replicas []*replica
	link     *link // of the process
	process  *osexec.Cmd
	stdout   *bufio.Reader
	stderr   *bytes.Buffer
}

func startFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{t: t, pair: startPair(t)}
	f.replicas = []*replica{startReplica(t, f.pair.url, "a"), startReplica(t, f.pair.url, "b")}
	f.link = newLink(t, f.pair.url)
	f.startProcess()
	return f
}

func (f *fleet) startProcess() {
	f.t.Helper()
	program, err := os.Executable()
	if err != nil {
		f.t.Fatal(err)
	}
	f.process, f.stderr = osexec.Command(program), &bytes.Buffer{}
	f.process.Env = append(os.Environ(), processVariable+"="+urlFile(f.t, f.link.url))
	f.process.Stderr = f.stderr
	stdout, err := f.process.StdoutPipe()
	if err != nil {
		f.t.Fatal(err)
	}
	f.stdout = bufio.NewReader(stdout)
	if err := f.process.Start(); err != nil {
		f.t.Fatal(err)
	}
	process := f.process.Process
	f.t.Cleanup(func() { _ = process.Kill() })
	if line, err := f.stdout.ReadString('\n'); line != "ready\n" {
		f.t.Fatalf("the process says %q, %v: %s", line, err, f.stderr)
	}
}

// stopProcess ends the process and returns its decisions.
func (f *fleet) stopProcess() (decided decisions) {
	f.t.Helper()
	_ = f.process.Process.Signal(os.Interrupt)
	err := json.NewDecoder(f.stdout).Decode(&decided)
	if failed := f.process.Wait(); err != nil || failed != nil {
		f.t.Errorf("the process gives %v, %v: %s", err, failed, f.stderr)
	}
	return decided
}

// await returns after a random part of twice the lease.
func (f *fleet) await(random *rand.Rand) {
	time.Sleep(time.Duration(random.Int64N(int64(2 * shortLease)))) // how long a fault lasts
}

// aFault is done to a fleet, and ends before the function returns.
type aFault struct {
	name string
	do   func(f *fleet, random *rand.Rand)
}

var allFaults = []aFault{
	{"a replica is stopped and goes on", func(f *fleet, random *rand.Rand) {
		_ = f.process.Process.Signal(syscall.SIGSTOP)
		f.await(random)
		_ = f.process.Process.Signal(syscall.SIGCONT)
	}},
	{"a replica is cut off", func(f *fleet, random *rand.Rand) {
		links := []*link{f.link, f.replicas[1].link}
		directions := [][2]bool{{true, true}, {true, false}, {false, true}}[random.IntN(3)]
		cut := links[random.IntN(2)]
		cut.lose(directions[0], directions[1])
		f.await(random)
		cut.restore()
	}},
	{"all are cut off", func(f *fleet, random *rand.Rand) {
		for _, l := range []*link{f.link, f.replicas[0].link, f.replicas[1].link} {
			l.cut()
			defer l.restore()
		}
		f.await(random)
	}},
	{"the database is killed", func(f *fleet, random *rand.Rand) {
		f.pair.primary.KillProcesses()
		f.await(random)
		f.pair.primary.Start()
	}},
	{"the database restarts", func(f *fleet, _ *rand.Rand) {
		f.pair.primary.Stop()
		f.pair.primary.Start()
	}},
	{"the standby is away", func(f *fleet, random *rand.Rand) {
		f.pair.standby.Signal(syscall.SIGSTOP)
		f.await(random)
		f.pair.standby.Signal(syscall.SIGCONT)
	}},
	{"the standby takes the place of a dead primary", func(f *fleet, random *rand.Rand) {
		f.pair.primary.KillProcesses()
		f.pair.promote()
		f.await(random)
		f.pair.standby.Follow(f.pair.primary)
	}},
	{"the standby takes the place of a primary that goes on", func(f *fleet, random *rand.Rand) {
		f.pair.promote()
		f.await(random)
		f.pair.standby.KillProcesses()
		f.pair.standby.Follow(f.pair.primary)
	}},
	{"the primary is killed, and goes on without its standby, which takes its place", func(f *fleet, random *rand.Rand) {
		f.pair.standby.Signal(syscall.SIGSTOP)
		f.await(random)
		f.pair.primary.KillProcesses()
		f.pair.primary.Start() // which shows what it was about to commit
		f.await(random)
		f.pair.standby.SetFile("postgresql.auto.conf", "")
		f.pair.standby.KillProcesses()
		f.pair.standby.Start()
		f.pair.promote()
		f.await(random)
		f.pair.standby.KillProcesses()
		f.pair.standby.Follow(f.pair.primary)
	}},
}

// TestFaults_LoseNothingAndDecideNothingLate does to a fleet what networks, machines and databases do, while two replicas
// write and all decide. What then holds is said in docs/reliability.md.
func TestFaults_LoseNothingAndDecideNothingLate(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	seed := uint64(time.Now().UnixNano()) //nolint:gosec // any number will do
	random := rand.New(rand.NewPCG(seed, 0))
	f := startFleet(t)
	counts, changes, fenced, uncertain := map[string]int{}, 0, 0, 0
	for i := range trials(len(allFaults)) {
		fault := allFaults[i%len(allFaults)]
		h := f.try(fault, random)
		counts[fault.name]++
		changes, fenced, uncertain = changes+len(h.committed), fenced+h.fenced, uncertain+h.uncertain
		if t.Failed() {
			t.Fatalf("trial %d (%s) failed; SEED=%d", i, fault.name, seed)
		}
	}
	t.Logf("%d acknowledged changes, of which %d were enforced although a replica was not reached; %d uncertain", changes, fenced, uncertain)
	for name, n := range counts {
		t.Logf("%4d × %s", n, name)
	}
}

// try does one fault to the fleet, and checks what happened. Then everybody is well again.
func (f *fleet) try(fault aFault, random *rand.Rand) *record {
	f.t.Helper()
	h, names := newRecord(), []string{"a", "b", "process"}
	all := make([]decisions, len(f.replicas))
	ctx, stop := context.WithCancel(context.Background())
	var deciding, writing sync.WaitGroup
	for i, r := range f.replicas {
		all[i] = decisions{}
		deciding.Go(func() {
			for ctx.Err() == nil {
				all[i].decide(r)
				time.Sleep(time.Millisecond) // how often requests come
			}
		})
	}
	ended := make(chan struct{})
	for client := range 4 {
		writing.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-ended:
					return
				default:
				}
				asking, cancel := context.WithTimeout(ctx, 4*shortLease)
				h.swap(asking, f.replicas[client%2], client, swap{h.key(n), fmt.Sprintf("%d/%d/%d", client, n, monotonic())})
				cancel()
				time.Sleep(10 * time.Millisecond) // how often changes come
			}
		})
	}
	time.Sleep(200 * time.Millisecond) // changes before the fault
	fault.do(f, random)
	f.awaitAll(names)
	close(ended)
	writing.Wait()
	f.awaitAll(names)
	h.readBack(f)
	stop()
	deciding.Wait()
	replicas := map[string]decisions{"a": all[0], "b": all[1], "process": f.stopProcess()}
	for _, text := range h.check(shortLease, replicas) {
		f.t.Error(text)
	}
	f.startProcess()
	return h
}

// awaitAll returns when every replica applies a change, and decides.
func (f *fleet) awaitAll(names []string) {
	f.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		revision, err := f.replicas[0].Update(ctx, func(w store.Writer) error { return w.Put([]byte("all"), []byte("well")) })
		var e store.Enforcement
		if err == nil {
			e, err = f.replicas[0].Enforced(ctx, revision)
		}
		cancel()
		if err == nil && slices.Equal(e.Applied, names) && f.replicas[0].mirror.Err() == nil && f.replicas[1].mirror.Err() == nil {
			return
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("after the fault: %+v, %v; %v, %v; the process: %s", e, err, f.replicas[0].mirror.Err(), f.replicas[1].mirror.Err(), f.stderr)
		}
	}
}

// readBack reads every key as the last operation of the history.
func (h *record) readBack(f *fleet) {
	f.t.Helper()
	for n := range keys {
		h.swap(context.Background(), f.replicas[1], 9, swap{h.key(n), "last"})
	}
}

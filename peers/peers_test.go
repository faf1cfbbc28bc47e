package peers_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/peers"
	"sallyport/store"
	"sallyport/store/bolt"
	"sallyport/store/postgres"
	"sallyport/store/postgres/postgrestest"
)

// member is a process of several that use one store.
type member struct {
	store.Store
	own      string
	replicas map[string]string
}

func (m member) Processes(context.Context) (string, map[string]string, error) {
	return m.own, m.replicas, nil
}

// openStore opens a store in a file.
func openStore(t *testing.T) *bolt.Store {
	t.Helper()
	st, err := bolt.Open(filepath.Join(t.TempDir(), "store.db"), bolt.Options{Init: true})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// run has peers reply until stop is called.
func run(t *testing.T, p *peers.Peers) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = p.Run(ctx) })
	return func() { cancel(); running.Wait() }
}

// records returns the keys of questions and replies in a store.
func records(t *testing.T, st store.Store) (keys []string) {
	t.Helper()
	err := st.View(context.Background(), func(r store.Reader) error {
		keys = nil
		for e, err := range r.Scan([]byte("ask/"), nil) {
			if err != nil {
				return err
			}
			if ours, err := peers.Inspect(e); !ours || err != nil {
				t.Errorf("the record at %s is judged as %v, %v", e.Key, ours, err)
			}
			keys = append(keys, string(e.Key))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return keys
}

// texts returns replies as text.
func texts(replies []peers.Reply) string {
	var all []string
	for _, r := range replies {
		all = append(all, fmt.Sprintf("%s:%s%s", r.Replica, r.Body, r.Err))
	}
	return strings.Join(all, " ")
}

func named(name string) peers.Handler {
	return func(_ context.Context, args json.RawMessage) (any, error) {
		return name + " got " + strings.Trim(string(args), `"`), nil
	}
}

func TestAsk_OnlyThisProcess(t *testing.T) {
	st := openStore(t)
	defer st.Close()
	p := peers.New(st, slog.New(slog.DiscardHandler))
	p.Handle("name", named("this"))
	p.Handle("fails", func(context.Context, json.RawMessage) (any, error) { return nil, errors.New("broken") })
	for name, want := range map[string]string{"name": `:"this got x"`, "fails": ":broken", "other": `:it does not know the question "other"; it may be of another version`} {
		if got := texts(p.Ask(t.Context(), name, "x")); got != want {
			t.Errorf("the replies to %s are %s, want %s", name, got, want)
		}
	}
	err := st.View(t.Context(), func(r store.Reader) error {
		if r.Revision() != 0 {
			t.Errorf("the store is at revision %d, and nothing was to be written", r.Revision())
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestAsk_ThroughOneStore asks three processes, of which two run, one is a command that replies to nothing, and a fourth that
// does not respond.
func TestAsk_ThroughOneStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := openStore(t)
		defer st.Close()
		replicas := map[string]string{"1": "frankfurt", "2": "oslo", "3": "command", "4": "silent", "5": "oslo"}
		log := slog.New(slog.DiscardHandler)
		all := map[string]*peers.Peers{}
		for _, process := range []string{"1", "2", "3", "5"} {
			all[process] = peers.New(member{st, process, replicas}, log)
			if process != "3" {
				all[process].Handle("name", named(process))
			}
			defer run(t, all[process])()
		}
		all["2"].Handle("panics", func(context.Context, json.RawMessage) (any, error) { panic("here") })
		all["2"].Handle("slow", func(ctx context.Context, _ json.RawMessage) (any, error) { <-ctx.Done(); return nil, ctx.Err() })
		all["2"].Handle("long", func(context.Context, json.RawMessage) (any, error) { return strings.Repeat("x", 9<<20), nil })
		all["2"].Handle("large", func(context.Context, json.RawMessage) (any, error) { return strings.Repeat("x", 1<<20), nil })
		synctest.Wait()

		began := time.Now()
		got := texts(all["1"].Ask(t.Context(), "name", "x"))
		const late = "silent:it did not reply within a second"
		if want := `frankfurt:"1 got x" oslo:"2 got x" oslo:"5 got x" ` + late; got != want {
			t.Errorf("the replies are %s, want %s", got, want)
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("it took %s, want a second", took)
		}
		for question, want := range map[string]string{"panics": "a fault of the program", "slow": "oslo:it did not reply within a second", "long": "oslo:its reply is too long"} {
			if got := texts(all["1"].Ask(t.Context(), question, nil)); !strings.Contains(got, want) {
				t.Errorf("the replies to %s are %s, want among them %s", question, got, want)
			}
		}
		delete(replicas, "4")
		began = time.Now()
		values, missing := peers.Values[string](all["1"].Ask(t.Context(), "large", nil))
		if len(values["oslo"]) != 1<<20 || len(missing) != 2 {
			t.Errorf("%d values with %d bytes, missing %s", len(values), len(values["oslo"]), texts(missing))
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %s although every process had replied", took)
		}
		if got := texts(all["1"].Ask(t.Context(), "name", strings.Repeat("x", 17<<10))); !strings.Contains(got, "the question is longer than") {
			t.Errorf("a question that is too long gets %s", got)
		}
		synctest.Wait()
		if keys := records(t, st); len(keys) > 0 {
			t.Errorf("the store has %v after every question", keys)
		}
	})
}

// TestAskFirst_BesideManyQuestions asks what is urgent while there are more questions than both processes bear, to which the other one
// does not reply.
func TestAskFirst_BesideManyQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := openStore(t)
		defer st.Close()
		replicas := map[string]string{"1": "frankfurt", "2": "oslo"}
		a, b := peers.New(member{st, "1", replicas}, slog.New(slog.DiscardHandler)), peers.New(member{st, "2", replicas}, slog.New(slog.DiscardHandler))
		for name, p := range map[string]*peers.Peers{"1": a, "2": b} {
			defer run(t, p)()
			p.Handle("end", named(name))
			p.Handle("slow", func(ctx context.Context, _ json.RawMessage) (any, error) { <-ctx.Done(); return nil, ctx.Err() })
		}
		synctest.Wait()
		var askers sync.WaitGroup
		for range 100 {
			askers.Go(func() { a.Ask(t.Context(), "slow", nil) })
		}
		synctest.Wait()
		if got := texts(a.Ask(t.Context(), "end", "x")); !strings.Contains(got, "too many questions are under way") {
			t.Errorf("a question gets %s", got)
		}
		if got, want := texts(a.AskFirst(t.Context(), "end", "x")), `frankfurt:"1 got x" oslo:"2 got x"`; got != want {
			t.Errorf("an urgent question gets %s, want %s", got, want)
		}
		askers.Wait()
		synctest.Wait()
	})
}

// TestRun_SweepsWhatIsLeft of a process that ended before it deleted its question.
func TestRun_SweepsWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := openStore(t)
		defer st.Close()
		replicas := map[string]string{"1": "frankfurt", "2": "oslo"}
		ended := peers.New(member{st, "1", replicas}, slog.New(slog.DiscardHandler)) // whose Run has ended
		remaining := peers.New(member{st, "2", replicas}, slog.New(slog.DiscardHandler))
		remaining.Handle("name", named("2"))
		defer run(t, remaining)()
		synctest.Wait()
		ended.Ask(t.Context(), "name", "x")
		if keys := records(t, st); len(keys) != 2 {
			t.Fatalf("the store has %v, want a question and a reply", keys)
		}
		time.Sleep(2*time.Minute + time.Second)
		synctest.Wait()
		if keys := records(t, st); len(keys) > 0 {
			t.Errorf("the store has %v after two sweeps", keys)
		}
	})
}

// TestAsk_OfMany keeps every bound while each of two processes asks the other many times at once.
func TestAsk_OfMany(t *testing.T) {
	st := openStore(t)
	defer st.Close()
	replicas := map[string]string{"1": "frankfurt", "2": "oslo"}
	a, b := peers.New(member{st, "1", replicas}, slog.New(slog.DiscardHandler)), peers.New(member{st, "2", replicas}, slog.New(slog.DiscardHandler))
	stopA, stopB := run(t, a), run(t, b)
	for _, p := range []*peers.Peers{a, b} {
		p.Handle("name", named("any"))
	}
	var askers sync.WaitGroup
	for i := range 200 {
		askers.Go(func() {
			for _, r := range []*peers.Peers{a, b}[i%2].Ask(context.Background(), "name", fmt.Sprint(i)) {
				if r.Err == "" && string(r.Body) != fmt.Sprintf(`"any got %d"`, i) {
					t.Errorf("question %d gets the reply %s", i, r.Body)
				}
			}
		})
	}
	askers.Wait()
	stopA()
	stopB()
	if keys := records(t, st); len(keys) > 100 {
		t.Errorf("the store has %d records after all ended", len(keys))
	}
}

// TestAsk_ThroughPostgreSQL asks three processes that use a database, of which one ends without a word.
func TestAsk_ThroughPostgreSQL(t *testing.T) {
	server := postgrestest.Start(t)
	database := server.Database()
	var all []*peers.Peers
	var ends []func()
	for _, name := range []string{"frankfurt", "oslo", "vienna"} {
		path := filepath.Join(t.TempDir(), "url")
		if err := os.WriteFile(path, []byte(database), 0o600); err != nil {
			t.Fatal(err)
		}
		st, err := postgres.Open(t.Context(), postgres.Options{URLFile: path, Init: true, Replica: name})
		if err != nil {
			t.Fatal(err)
		}
		p := peers.New(st, slog.New(slog.DiscardHandler))
		p.Handle("name", named(name))
		ctx, cancel := context.WithCancel(context.Background())
		var running sync.WaitGroup
		running.Go(func() { _ = st.Run(ctx) })
		t.Cleanup(func() { cancel(); running.Wait(); _ = st.Close() })
		ends = append(ends, run(t, p))
		all = append(all, p)
	}
	want := `frankfurt:"frankfurt got x" oslo:"oslo got x" vienna:"vienna got x"`
	got := ""
	for range 30 { // until each has its lease and follows
		if got = texts(all[0].Ask(t.Context(), "name", "x")); got == want {
			break
		}
	}
	if got != want {
		t.Fatalf("the replies are %s, want %s", got, want)
	}
	ends[2]() // its lease goes on
	if got := texts(all[1].Ask(t.Context(), "name", "y")); got != `frankfurt:"frankfurt got y" oslo:"oslo got y" vienna:it did not reply within a second` {
		t.Errorf("the replies are %s when a process does not respond", got)
	}
	server.Stop()
	if got := texts(all[1].Ask(t.Context(), "name", "z")); !strings.Contains(got, `:"oslo got z"`) || !strings.Contains(got, "which other replicas run is not known") {
		t.Errorf("the replies are %s without the database", got)
	}
	ends[0]()
	ends[1]()
}

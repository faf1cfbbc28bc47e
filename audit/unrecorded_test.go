package audit_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"sallyport/audit"
)

// letIn and letInBySignIn are the events of somebody who is let in.
var (
	letIn         = audit.Event{Kind: audit.KindDecision, Decision: "allow", Path: "/" + strings.Repeat("x", 500)}
	letInBySignIn = audit.Event{Kind: audit.KindLogin, Decision: "allow"}
)

// openLenient opens and runs the record at path with a reserve and with AllowUnrecorded. What is told goes to the result.
func openLenient(t *testing.T, path string) (l *audit.Log, tales *taleList) {
	t.Helper()
	l, tales = openReserved(t, path), new(taleList)
	l.AllowUnrecorded(tales.tell)
	run(t, l)
	return l, tales
}

// taleList is what AllowUnrecorded was told.
type taleList struct {
	mu  sync.Mutex
	all []string
}

func (s *taleList) tell(err error, letIn int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.all = append(s.all, "begins")
		return
	}
	s.all = append(s.all, fmt.Sprintf("ends %d", letIn))
}

func (s *taleList) demand(t *testing.T, want ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if strings.Join(s.all, ", ") != strings.Join(want, ", ") {
		t.Errorf("told is %q, want %q", s.all, want)
	}
}

// demandLines demands that the record at path is sound, and how often it has each text.
func demandLines(t *testing.T, path string, want map[string]int) {
	t.Helper()
	record, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := audit.Verify(bytes.NewReader(record)); err != nil {
		t.Errorf("after %d lines: %v", n, err)
	}
	for text, count := range want {
		if got := bytes.Count(record, []byte(text)); got != count {
			t.Errorf("the record has %s %d times, want %d", text, got, count)
		}
	}
}

// TestAllowUnrecorded_LetsInAlone: while writes fail, what lets somebody in is done and counted, and everything else is
// refused.
func TestAllowUnrecorded_LetsInAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		l, told := openLenient(t, path)
		if err := errors.Join(l.Write(letIn), l.Unrecorded()); err != nil {
			t.Fatal(err)
		}
		release := fillDisk(t)
		for _, e := range []audit.Event{letIn, letInBySignIn, letIn} {
			if err := l.Write(e); err != nil {
				t.Errorf("%s is refused: %v", e.Kind, err)
			}
		}
		for _, e := range []audit.Event{
			{Kind: audit.KindDecision, Decision: "deny"}, {Kind: audit.KindLogin, Decision: "deny"}, {Kind: audit.KindDecision},
			{Kind: audit.KindSuspend}, {Kind: audit.KindBreakGlass}, {Kind: audit.KindSCIM, Decision: "allow"}, {Kind: audit.KindEnd},
		} {
			if err := l.Write(e); !errors.Is(err, audit.ErrUnwritable) {
				t.Errorf("an event of the kind %s (%s) gives %v", e.Kind, e.Decision, err)
			}
		}
		if err := l.Unrecorded(); err == nil || !strings.Contains(err.Error(), "file too large") || strings.Contains(err.Error(), "nothing is done") {
			t.Errorf("Unrecorded returns %v", err)
		}
		if l.Err() == nil {
			t.Error("Err says that every event is accepted")
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		told.demand(t, "begins")
		release()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if err := errors.Join(l.Err(), l.Unrecorded(), l.Write(letIn)); err != nil {
			t.Error(err)
		}
		told.demand(t, "begins", "ends 3")
		demandLines(t, path, map[string]int{`"reason":"recovered"`: 1, `"refused":"7"`: 1, `"unrecorded":"3"`: 1, `"kind":"decision"`: 2})
		if got := testutil.ToFloat64(l.Collectors()[2]); got != 3 {
			t.Errorf("%v are counted", got)
		}
		if got := testutil.ToFloat64(l.Collectors()[1]); got != 10 {
			t.Errorf("%v write errors are counted, want every event without a line", got)
		}
	})
}

// TestAllowUnrecorded_OnFullDisk: the record says at once that lines will be missing, then takes what the reserve is for,
// and says in the end how many are missing.
func TestAllowUnrecorded_OnFullDisk(t *testing.T) {
	for name, stopped := range map[string]bool{"recovers": false, "stopped": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := smallDisk(t, "4m")
				path := filepath.Join(dir, "audit.jsonl")
				l, told := openLenient(t, path)
				release := fill(t, dir)
				const all = 10_000
				for range all {
					if err := l.Write(letIn); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(3 * time.Second)
				synctest.Wait()
				told.demand(t, "begins")
				if err := l.Unrecorded(); err == nil || !strings.Contains(err.Error(), "its disk is full") || !strings.Contains(err.Error(), "go on without a line") {
					t.Errorf("Unrecorded returns %v", err)
				}
				for range 100 {
					if err := l.Write(audit.Event{Kind: audit.KindSCIM}); err != nil {
						t.Fatalf("a push: %v", err)
					}
				}
				missing := int(testutil.ToFloat64(l.Collectors()[2]))
				if missing == 0 || missing >= all {
					t.Errorf("%d of %d requests are not recorded", missing, all)
				}
				want := map[string]int{`"kind":"scim"`: 100, `"kind":"decision"`: all - missing, `"reason":"recovered"`: 1, `"reason":"unrecorded"`: 1,
					fmt.Sprintf(`"unrecorded":"%d"`, missing): 1}
				if stopped {
					if err := l.Close(); err != nil {
						t.Error(err)
					}
					want[`"reason":"recovered"`], want[`"reason":"unrecorded"`] = 0, 2
				} else {
					release()
					time.Sleep(2 * time.Second)
					synctest.Wait()
					told.demand(t, "begins", fmt.Sprintf("ends %d", missing))
				}
				demandLines(t, path, want)
			})
		})
	}
}

// TestAllowUnrecorded_NotIfTheRecordIsGone: whoever removes or changes the record does not get in unseen.
func TestAllowUnrecorded_NotIfTheRecordIsGone(t *testing.T) {
	for name, replace := range map[string]func(path string) error{
		"removed": os.Remove,
		"emptied": func(path string) error { return os.Truncate(path, 0) },
		"replaced": func(path string) error {
			return errors.Join(os.Rename(path, path+".old"), os.WriteFile(path, []byte("hello\n"), 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "audit.jsonl")
				l, told := openLenient(t, path)
				if err := errors.Join(l.Write(letIn), replace(path)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(3 * time.Second)
				synctest.Wait()
				if err := l.Write(letIn); !errors.Is(err, audit.ErrUnwritable) || l.Unrecorded() != nil {
					t.Errorf("a request gives %v; Unrecorded returns %v", err, l.Unrecorded())
				}
				told.demand(t)
			})
		})
	}
}

// TestAllowUnrecorded_NotWhenClosed: a server that has stopped lets nobody in.
func TestAllowUnrecorded_NotWhenClosed(t *testing.T) {
	l := openReserved(t, filepath.Join(t.TempDir(), "audit.jsonl"))
	l.AllowUnrecorded(new(taleList).tell)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Write(letIn); !errors.Is(err, os.ErrClosed) || l.Unrecorded() != nil {
		t.Errorf("a request gives %v; Unrecorded returns %v", err, l.Unrecorded())
	}
}

// TestAllowUnrecorded_CountsEach: whatever comes while writes begin to fail, and while the record recovers, is either a line
// or counted by one.
func TestAllowUnrecorded_CountsEach(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l, _ := openLenient(t, path)
	const writers, each = 8, 300
	half := make(chan struct{})
	var writing, halfway sync.WaitGroup
	halfway.Add(writers)
	for range writers {
		writing.Go(func() {
			for n := range each {
				if n == each/2 {
					halfway.Done()
					<-half
				}
				if err := l.Write(letInBySignIn); err != nil {
					t.Error(err)
				}
			}
		})
	}
	release := fillDisk(t)
	halfway.Wait()
	release()
	close(half)
	writing.Wait()
	if err := l.Writable(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil { // after which nothing more is counted
		t.Fatal(err)
	}
	record, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	missing := int(testutil.ToFloat64(l.Collectors()[2]))
	recorded, told := 0, 0
	_, err = audit.Read(bytes.NewReader(record), func(e audit.Event) error {
		if e.Kind == audit.KindLogin {
			recorded++
		}
		if text := e.Detail["unrecorded"]; text != "" {
			n := 0
			_, err := fmt.Sscan(text, &n)
			told += n
			return err
		}
		return nil
	})
	if err != nil || recorded+missing != writers*each || told != missing || missing == 0 {
		t.Errorf("%d are recorded and %d counted of %d; the record tells of %d, %v", recorded, missing, writers*each, told, err)
	}
}

// TestDenyUnrecorded changes its mind while the disk is full: nobody is let in from then on without a line, and what was
// let in before is told all the same.
func TestDenyUnrecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		l, _ := openLenient(t, path)
		release := fillDisk(t)
		if err := l.Write(letIn); err != nil {
			t.Errorf("while unrecorded requests are allowed: %v", err)
		}
		l.DenyUnrecorded()
		if err := l.Write(letIn); !errors.Is(err, audit.ErrUnwritable) || l.Unrecorded() != nil {
			t.Errorf("once they are denied: %v, and %v", err, l.Unrecorded())
		}
		release()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if err := errors.Join(l.Err(), l.Write(letIn)); err != nil {
			t.Error(err)
		}
		demandLines(t, path, map[string]int{`"reason":"recovered"`: 1, `"refused":"1"`: 1, `"unrecorded":"1"`: 1})
	})
}

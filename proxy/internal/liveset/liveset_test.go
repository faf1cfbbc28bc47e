package liveset_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/proxy/internal/liveset"
)

// member is a value in a set, with what the test knows of it.
type member struct {
	entry   liveset.Entry[*member]
	subject liveset.Subject
	due     time.Time // zero: never
}

// TestSet_FindsWhatItHas adds, removes and schedules at random, and compares everything that a set tells with a list.
func TestSet_FindsWhatItHas(t *testing.T) {
	subjects := []liveset.Subject{{}, liveset.User("a"), liveset.Named("a"), liveset.User("b"), liveset.Named(""), liveset.User("")}
	rapid.Check(t, func(t *rapid.T) {
		set, now := liveset.New[*member](), time.Unix(0, 0)
		var members, gone []*member
		same := func(what string, got, want []*member) {
			if len(got) != len(want) || slices.ContainsFunc(want, func(m *member) bool { return !slices.Contains(got, m) }) {
				t.Fatalf("%s: %d members, want %d", what, len(got), len(want))
			}
		}
		filter := func(is func(*member) bool) (list []*member) {
			return slices.DeleteFunc(slices.Clone(members), func(m *member) bool { return !is(m) })
		}
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				if set.Len() != len(members) {
					t.Fatalf("Len is %d, want %d", set.Len(), len(members))
				}
			},
			"all": func(t *rapid.T) {
				same("All", set.All(), members)
				parts, n := []*member{}, rapid.IntRange(1, 70).Draw(t, "parts")
				for i := range n {
					parts = append(parts, set.Part(i, n)...)
				}
				same("all parts", parts, members)
			},
			"add": func(t *rapid.T) {
				m := &member{subject: rapid.SampledFrom(subjects).Draw(t, "subject")}
				set.Add(&m.entry, m, m.subject)
				members = append(members, m)
			},
			"remove": func(t *rapid.T) {
				if len(members) > 0 {
					i := rapid.IntRange(0, len(members)-1).Draw(t, "member")
					set.Remove(&members[i].entry)
					gone = append(gone, members[i])
					members = slices.Delete(members, i, i+1)
				}
			},
			"of": func(t *rapid.T) {
				asked := map[liveset.Subject]bool{}
				for _, s := range rapid.SliceOf(rapid.SampledFrom(subjects)).Draw(t, "subjects") {
					asked[s] = true
				}
				same("Of", set.Of(asked), filter(func(m *member) bool { return m.subject != liveset.Subject{} && asked[m.subject] }))
			},
			"schedule": func(t *rapid.T) {
				at := now.Add(time.Duration(rapid.IntRange(-2, 5).Draw(t, "in")) * time.Second)
				for _, m := range gone {
					set.Schedule(&m.entry, at)
				}
				if len(members) == 0 {
					return
				}
				m := rapid.SampledFrom(members).Draw(t, "member")
				set.Schedule(&m.entry, at)
				if m.due.IsZero() || at.Before(m.due) {
					m.due = at
				}
			},
			"pass time": func(*rapid.T) {
				now = now.Add(time.Second)
				want := filter(func(m *member) bool { return !m.due.IsZero() && !now.Before(m.due) })
				got := set.Due(now)
				same("Due", got, want)
				if !slices.IsSortedFunc(got, func(a, b *member) int { return a.due.Compare(b.due) }) {
					t.Fatal("Due is not in the order of time")
				}
				for _, m := range want {
					m.due = time.Time{}
				}
			},
		})
	})
}

// TestSet_KeepsNothingThatWasRemoved schedules members while they are removed.
func TestSet_KeepsNothingThatWasRemoved(t *testing.T) {
	set := liveset.New[*member]()
	for i := range 1000 {
		m := &member{}
		set.Add(&m.entry, m, liveset.User(fmt.Sprint(i)))
		var both sync.WaitGroup
		both.Go(func() { set.Schedule(&m.entry, time.Unix(1, 0)) })
		both.Go(func() { set.Remove(&m.entry) })
		both.Wait()
	}
	if due := set.Due(time.Unix(2, 0)); len(due) != 0 || set.Len() != 0 {
		t.Errorf("%d members are due that were removed", len(due))
	}
}

// TestSet_LooksFindWhatWasAddedBefore checks the promise on which revocations depend: a fact changes, then entries are looked
// for; whoever decided by the fact before it changed is found.
func TestSet_LooksFindWhatWasAddedBefore(t *testing.T) {
	for range 200 {
		set := liveset.New[*member]()
		var fact sync.Map
		var entering sync.WaitGroup
		var mu sync.Mutex
		var allowed []*member
		for range 4 {
			entering.Go(func() {
				m := &member{}
				set.Add(&m.entry, m, liveset.User("a"))
				if _, revoked := fact.Load("revoked"); !revoked {
					mu.Lock()
					allowed = append(allowed, m)
					mu.Unlock()
				}
			})
		}
		var found []*member
		entering.Go(func() {
			fact.Store("revoked", true)
			found = set.Of(map[liveset.Subject]bool{liveset.User("a"): true})
		})
		entering.Wait()
		for _, m := range allowed {
			if !slices.Contains(found, m) {
				t.Fatal("an entry that was allowed by the old fact was not found")
			}
		}
	}
}

// TestPass_LooksAtEachOncePerRound steps irregularly; each member must be looked at at least once in each round, and not more
// often than once in each, but for those that are due.
func TestPass_LooksAtEachOncePerRound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set, round := liveset.New[*member](), liveset.Round{Step: time.Second, Parts: 60}
		looked := map[*member]time.Duration{} // when each was looked at last
		for i := range 50 {
			m := &member{}
			set.Add(&m.entry, m, liveset.User(fmt.Sprint(i)))
			looked[m] = 0
		}
		start := time.Unix(1000, 0)
		for elapsed := time.Duration(0); elapsed < 3*time.Minute; {
			step := time.Duration(rapid.SampledFrom([]int{1000, 1000, 1000, 700, 1300, 20_000, 90_000}).Draw(t, "ms")) * time.Millisecond
			elapsed += step
			for _, m := range set.Pass(&round, elapsed, start.Add(elapsed)) {
				looked[m] = elapsed
			}
			for _, last := range looked {
				if elapsed-last > round.Length()+step {
					t.Fatalf("a member was not looked at for %s", elapsed-last)
				}
			}
		}
	})
}

// TestPass_LooksAtAllAfterTheClockWasSet sets the clock to a later time, and back.
func TestPass_LooksAtAllAfterTheClockWasSet(t *testing.T) {
	set, round := liveset.New[*member](), liveset.Round{Step: time.Second, Parts: 60}
	for i := range 500 {
		m := &member{}
		set.Add(&m.entry, m, liveset.User(fmt.Sprint(i)))
	}
	now := time.Unix(1000, 0)
	for i, step := range []struct {
		by  time.Duration
		all bool
	}{{time.Second, false}, {time.Second, false}, {time.Hour, true}, {time.Second, false}, {-time.Hour, false}, {3 * time.Second, true}} {
		now = now.Add(step.by)
		if got := len(set.Pass(&round, time.Duration(i+1)*time.Second, now)); (got == 500) != step.all {
			t.Errorf("step %d: %d of 500", i, got)
		}
	}
}

func TestEach_CallsWithEach(t *testing.T) {
	for _, n := range []int{0, 1, 128, 129, 5000} {
		values, called := make([]int, n), make([]atomic.Int32, n)
		for i := range values {
			values[i] = i
		}
		liveset.Each(values, func(i int) { called[i].Add(1) })
		for i := range called {
			if called[i].Load() != 1 {
				t.Fatalf("of %d values, value %d: called %d times", n, i, called[i].Load())
			}
		}
	}
}

// BenchmarkSet measures what a request costs that enters and leaves beside ten thousand others.
func BenchmarkSet(b *testing.B) {
	set := liveset.New[*member]()
	for i := range 10_000 {
		m := &member{}
		set.Add(&m.entry, m, liveset.User(fmt.Sprintf("user %d", i)))
	}
	subject := liveset.User("5dd0f1a0a3a04f0c8c5f2c4a6a1a7b11")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			m := &member{}
			set.Add(&m.entry, m, subject)
			set.Remove(&m.entry)
		}
	})
}

package proxy

import (
	"fmt"
	"net/http/httptest"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"sallyport/directory"
	"sallyport/policy"
	"sallyport/proxy/internal/response"
	"sallyport/session"
)

// people is many users with a live request each.
type people struct {
	*world
	users []*directory.User
	live  []*liveRequest
}

// newPeople returns n people, whom the last of some rules lets in to the application.
func newPeople(b *testing.B, w func(change func(*Settings)) *world, n, rules int) *people {
	c := &people{world: w(func(s *Settings) {
		s.Policies[0].Rules = nil
		for i := range rules - 1 {
			s.Policies[0].Rules = append(s.Policies[0].Rules, policy.Rule{Allow: &policy.Match{
				Groups: []policy.GroupRef{{ID: fmt.Sprintf("group %d", i)}}, Paths: []string{fmt.Sprintf("/area%d/**", i)}}})
		}
		s.Policies[0].Rules = append(s.Policies[0].Rules, policy.Rule{Allow: &policy.Match{Groups: []policy.GroupRef{{ID: staff, Name: "Staff"}}}})
	})}
	var ids []string
	c.update(func(tx *directory.Tx) error {
		ids = ids[:0]
		for i := range n {
			u := directory.User{ExternalID: fmt.Sprintf("oid %d", i), UserName: fmt.Sprintf("user%d@example.com", i), Active: true}
			if err := tx.PutUser(&u); err != nil {
				return err
			}
			ids = append(ids, u.ID)
		}
		return nil
	})
	for some := range slices.Chunk(ids, 1000) {
		c.update(func(tx *directory.Tx) error {
			g, err := tx.GroupByExternalID(staff)
			if err == nil {
				_, err = tx.AddMembers(g.ID, some)
			}
			return err
		})
	}
	sessions := make([]session.Session, n)
	var all errgroup.Group
	all.SetLimit(256)
	for i, id := range ids {
		all.Go(func() (err error) {
			sessions[i], err = c.sessions.Begin(c.ctx, session.Session{User: id})
			return err
		})
	}
	c.must(all.Wait())
	for i, id := range ids {
		u, _ := c.directory.ByID(id)
		c.users = append(c.users, u)
		c.live = append(c.live, c.enter(b, &sessions[i]))
	}
	return c
}

func (c *people) enter(b *testing.B, s *session.Session) *liveRequest {
	rt := c.proxy.routing.Load()
	r := httptest.NewRequest("GET", "/", nil)
	req := &request{id: newID(), timing: timing{received: time.Now().UTC()}, routing: rt, route: rt.routes[0], method: "GET", host: appHost, path: "/", caller: &caller{session: s}}
	l := c.proxy.live.enter(req, response.New(httptest.NewRecorder(), r, time.Minute), r)
	out := c.proxy.decide(rt, req, time.Now())
	if out.denial != nil {
		b.Fatal(out.denial.reason)
	}
	c.proxy.live.noteAllowed(l, out)
	return l
}

// offboard deactivates a person.
func (c *people) offboard(i int) {
	c.update(func(tx *directory.Tx) error {
		u, err := tx.User(c.users[i].ID)
		if err != nil {
			return err
		}
		u.Active = false
		return tx.PutUser(&u)
	})
}

// BenchmarkReview measures a review of ten thousand live requests of as many people: after a reload, and after one of them
// was changed.
func BenchmarkReview(b *testing.B) {
	for _, rules := range []int{1, 1_000, 10_000} {
		c := newPeople(b, func(change func(*Settings)) *world { return newUnreviewedWorld(b, &forgetfulStore{}, change) }, 10_000, rules)
		c.proxy.review()
		b.Run(fmt.Sprintf("rules=%d/all", rules), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.proxy.reviewAll()
			}
		})
		b.Run(fmt.Sprintf("rules=%d/one", rules), func(b *testing.B) {
			b.ReportAllocs()
			seen := *c.proxy.touched
			c.update(func(tx *directory.Tx) error {
				u, err := tx.User(c.users[0].ID)
				if err != nil {
					return err
				}
				u.Document = fmt.Appendf(nil, `{"title":%q}`, newID())
				return tx.PutUser(&u)
			})
			for b.Loop() {
				*c.proxy.touched = seen // so that the change is seen again
				c.proxy.review()
			}
		})
	}
}

// BenchmarkOffboarding measures how long the request of one of ten thousand people goes on who is deactivated, with ten
// thousand rules: from the beginning of the change, and from its end.
func BenchmarkOffboarding(b *testing.B) {
	c := newPeople(b, func(change func(*Settings)) *world { return newWorld(b, change) }, 10_000, 10_000)
	var whole, after []time.Duration
	b.ResetTimer()
	for i := range min(b.N, len(c.users)) {
		begun := time.Now()
		c.offboard(i)
		stored := time.Now()
		<-c.live[i].ctx.Done()
		whole, after = append(whole, time.Since(begun)), append(after, time.Since(stored))
	}
	for name, list := range map[string][]time.Duration{"whole": whole, "after-commit": after} {
		slices.Sort(list)
		b.ReportMetric(float64(list[len(list)/2].Microseconds()), name+"-p50-µs")
		b.ReportMetric(float64(list[len(list)*99/100].Microseconds()), name+"-p99-µs")
	}
}

// BenchmarkChange measures the processor time of a change of somebody who has no request, beside nobody's requests and
// beside those of ten thousand people.
func BenchmarkChange(b *testing.B) {
	for _, live := range []int{0, 10_000} {
		c := newPeople(b, func(change func(*Settings)) *world { return newWorld(b, change) }, 10_000, 1_000)
		for _, l := range c.live[live:] {
			c.proxy.live.leave(l)
		}
		c.addUser("erin")
		erin := c.user("erin").ID
		b.Run(fmt.Sprintf("live=%d", live), func(b *testing.B) {
			before := processorTime()
			for b.Loop() {
				c.update(func(tx *directory.Tx) error {
					u, err := tx.User(erin)
					if err != nil {
						return err
					}
					u.Document = fmt.Appendf(nil, `{"title":%q}`, newID())
					return tx.PutUser(&u)
				})
			}
			b.ReportMetric(float64((processorTime()-before).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

// processorTime returns how much time of processors this process has used.
func processorTime() time.Duration {
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

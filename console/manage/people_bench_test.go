package manage_test

import (
	"fmt"
	"net/http"
	"os"
	"syscall"
	"testing"
	"time"

	"sallyport/directory"
)

// BenchmarkPeople serves pages over 100,000 users and 20,000 groups, of which one has every user. It makes them first: ask
// for it by name.
func BenchmarkPeople(b *testing.B) {
	if os.Getenv("LARGE") == "" {
		b.Skip("set LARGE=1: making a large directory takes a while")
	}
	const users, groups, each = 100_000, 20_000, 5_000
	e := newEnv(b)
	var ids []string
	for from := 0; from < users; from += each {
		var made []string
		e.change(func(tx *directory.Tx) error {
			made = nil
			for n := from; n < from+each; n++ {
				u := &directory.User{UserName: fmt.Sprintf("user%06d@example.com", n), ExternalID: fmt.Sprintf("00000000-0000-4000-8000-%012d", n), Active: n%50 != 0,
					Document: fmt.Appendf(nil, `{"displayName":"User %d","emails":[{"type":"work","value":"user%06d@example.com","primary":true}],"name":{"givenName":"Given","familyName":"Family"},"title":"Engineer"}`, n, n)}
				if err := tx.PutUser(u); err != nil {
					return err
				}
				made = append(made, u.ID)
			}
			return nil
		})
		ids = append(ids, made...)
	}
	var all string
	for from := 0; from < groups; from += each {
		e.change(func(tx *directory.Tx) error {
			for n := from; n < from+each; n++ {
				g := &directory.Group{DisplayName: fmt.Sprintf("group %d", n), ExternalID: fmt.Sprintf("10000000-0000-4000-8000-%012d", n)}
				if err := tx.PutGroup(g); err != nil {
					return err
				}
				if n == 0 {
					all = g.ID
					if _, err := tx.AddMembers(g.ID, ids); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	for _, path := range []string{"/people", "/people?state=inactive", "/people?page=100", "/people?q=user0999", "/people?q=u", "/people?state=inactive&q=e", "/people?q=nobody", "/search?q=user099&format=json", "/search?q=g&format=json",
		"/people/" + ids[4711], "/people/" + ids[4711] + "/history", "/groups", "/groups?q=group+77", "/groups/" + all, "/groups/" + all + "?q=user0999", "/groups/" + all + "/history", "/why?user=" + ids[4711] + "&route=wiki"} {
		b.Run(path, func(b *testing.B) {
			size, began := 0, processorTime()
			for b.Loop() {
				res := e.get(e.ada, path)
				if size = res.Body.Len(); res.Code != http.StatusOK {
					b.Fatal(res.Code)
				}
			}
			b.ReportMetric(float64(processorTime()-began)/1e6/float64(b.N), "ms-cpu/op") // whatever else the machine does
			b.ReportMetric(float64(size)/1024, "KiB")
		})
	}
}

// processorTime returns how long the process has used processors.
func processorTime() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

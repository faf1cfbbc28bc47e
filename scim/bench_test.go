package scim_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport/directory"
)

// pushers is how many clients push at once.
const pushers = 64

// quick sends requests and reads only the status of their responses.
type quick struct {
	base, token string
	client      *http.Client
}

func newQuick(base, token string) *quick {
	return &quick{base, token, &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: pushers}}}
}

func (q *quick) send(b testing.TB, method, path, body string, want int) string {
	req, err := http.NewRequest(method, q.base+path, strings.NewReader(body))
	if err != nil {
		b.Error(err)
		return ""
	}
	req.Header.Set("Authorization", "Bearer "+q.token)
	req.Header.Set("Content-Type", "application/scim+json")
	resp, err := q.client.Do(req)
	if err != nil {
		b.Error(err)
		return ""
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != want {
		b.Errorf("%s %s: status %d", method, path, resp.StatusCode)
	}
	location := resp.Header.Get("Location")
	return location[strings.LastIndexByte(location, '/')+1:]
}

// each calls f with 0 to n-1 from many goroutines, and reports the calls per second and the 99th percentile.
func each(b *testing.B, what string, n int, f func(i int)) {
	b.Helper()
	var next atomic.Int64
	var all sync.WaitGroup
	took := make([]time.Duration, n)
	begun := time.Now()
	for range pushers {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				at := time.Now()
				f(i)
				took[i] = time.Since(at)
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(n)/time.Since(begun).Seconds(), what+"/s")
	slices.Sort(took)
	b.ReportMetric(float64(took[n*99/100].Microseconds())/1000, what+"-p99-ms")
}

// BenchmarkInitialLoad pushes a whole large tenant over HTTP: 100,000
// users, 20,000 groups, 2,000,000 memberships in PATCHes of 100.
func BenchmarkInitialLoad(b *testing.B) {
	users, groups, perPatch, patches := 2000, 200, 100, 200
	if os.Getenv("LARGE") != "" {
		users, groups, patches = 100_000, 20_000, 20_000
	}
	base, token, d, _ := serveWith(b, settingsWithoutLimit)
	q := newQuick(base, token)
	for round := 0; b.Loop(); round++ {
		ids, teams := make([]string, users), make([]string, groups)
		each(b, "users", users, func(i int) { ids[i] = q.send(b, "POST", "/Users", person(round*users+i), http.StatusCreated) })
		each(b, "groups", groups, func(i int) {
			teams[i] = q.send(b, "POST", "/Groups", fmt.Sprintf(`{"displayName":"group %d of %d","externalId":"g%d of %d"}`, i, round, i, round), http.StatusCreated)
		})
		each(b, "member-patches", patches, func(i int) {
			var list []string
			for n := range perPatch {
				list = append(list, `{"$ref":null,"value":"`+ids[(i*perPatch+n)%users]+`"}`)
			}
			q.send(b, "PATCH", "/Groups/"+teams[i%groups], `{"Operations":[{"op":"Add","path":"members","value":[`+strings.Join(list, ",")+`]}]}`, http.StatusNoContent)
		})
	}
	members := 0
	for _, g := range d.Groups() {
		members += g.Members
	}
	b.ReportMetric(float64(members), "memberships")
}

func person(i int) string {
	return fmt.Sprintf(`{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"user%07d@example.com","externalId":"00000000-0000-4000-8000-%012d","active":true,"displayName":"User %d",
		"emails":[{"type":"work","value":"user%07d@example.com","primary":true}],"name":{"givenName":"Given","familyName":"Family"},"title":"Engineer"}`, i, i, i, i)
}

// BenchmarkPush is one durable change a round, from many clients.
func BenchmarkPush(b *testing.B) {
	base, token, _, _ := serveWith(b, settingsWithoutLimit)
	q := newQuick(base, token)
	id := q.send(b, "POST", "/Users", person(0), http.StatusCreated)
	b.Run("user PATCH", func(b *testing.B) {
		b.SetParallelism(pushers / 2)
		var n atomic.Int64
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				q.send(b, "PATCH", "/Users/"+id, fmt.Sprintf(`{"Operations":[{"op":"Replace","path":"title","value":"%d"}]}`, n.Add(1)), http.StatusOK)
			}
		})
	})
	b.Run("user POST", func(b *testing.B) {
		b.SetParallelism(pushers / 2)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				q.send(b, "POST", "/Users", person(int(created.Add(1))), http.StatusCreated)
			}
		})
	})
}

var created atomic.Int64

// BenchmarkPutOfALargeGroup replaces a group as Okta does: all 100,000 members each time, of whom one differs.
func BenchmarkPutOfALargeGroup(b *testing.B) {
	members := 5000
	if os.Getenv("LARGE") != "" {
		members = 100_000
	}
	base, token, d, _ := serveWith(b, settingsWithoutLimit)
	q := newQuick(base, token)
	ids := createUsers(b, d, members+1)
	var list []string
	for _, id := range ids[1:] {
		list = append(list, fmt.Sprintf(`{"value":%q,"display":"user@example.com","$ref":"https://scim.example.com/scim/v2/Users/%s","type":"User"}`, id, id))
	}
	group := q.send(b, "POST", "/Groups", `{"displayName":"large","members":[`+strings.Join(list, ",")+`]}`, http.StatusCreated)
	bodies := []string{
		`{"displayName":"large","members":[{"value":"` + ids[0] + `"},` + strings.Join(list, ",") + `]}`,
		`{"displayName":"large","members":[` + strings.Join(list, ",") + `]}`,
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(bodies[0])))
	for n := 0; b.Loop(); n++ {
		q.send(b, "PUT", "/Groups/"+group+"?excludedAttributes=members", bodies[n%2], http.StatusOK)
	}
}

// createUsers creates users in the directory itself.
func createUsers(b testing.TB, d *tenant, n int) (ids []string) {
	b.Helper()
	for len(ids) < n {
		var made []string
		err := d.Update(context.Background(), func(tx *directory.Tx) error {
			made = nil
			for i := len(ids); i < min(n, len(ids)+1000); i++ {
				u := directory.User{UserName: fmt.Sprintf("user%07d@example.com", i), ExternalID: fmt.Sprintf("00000000-0000-4000-8000-%012d", i),
					Active: true, Document: []byte(person(i))}
				if err := tx.PutUser(&u); err != nil {
					return err
				}
				made = append(made, u.ID)
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
		ids = append(ids, made...)
	}
	return ids
}

// BenchmarkFind searches among few and among many users: a search by an index takes as long among many.
func BenchmarkFind(b *testing.B) {
	sizes := []int{1000}
	if os.Getenv("LARGE") != "" {
		sizes = append(sizes, 1_000_000)
	}
	for _, size := range sizes {
		b.Run(fmt.Sprintf("users=%d", size), func(b *testing.B) {
			base, token, d, _ := serveWith(b, settingsWithoutLimit)
			createUsers(b, d, size)
			q := newQuick(base, token)
			for i := range 100 {
				q.send(b, "POST", "/Groups", fmt.Sprintf(`{"displayName":"group %d","externalId":"g%d"}`, i, i), http.StatusCreated)
			}
			middle := size / 2
			for name, query := range map[string]string{
				"userName":    "/Users?filter=" + url.QueryEscape(fmt.Sprintf(`userName eq "USER%07d@example.com"`, middle)),
				"externalId":  "/Users?filter=" + url.QueryEscape(fmt.Sprintf(`externalId eq "00000000-0000-4000-8000-%012d"`, middle)),
				"email":       "/Users?filter=" + url.QueryEscape(fmt.Sprintf(`emails[type eq "work"].value eq "USER%07d@example.com"`, middle)),
				"displayName": "/Users?filter=" + url.QueryEscape(fmt.Sprintf(`displayName eq "USER %d"`, middle)),
				"group":       "/Groups?excludedAttributes=members&filter=" + url.QueryEscape(`displayName eq "GROUP 50"`),
				"a page":      "/Users?startIndex=1&count=100",
			} {
				b.Run(name, func(b *testing.B) {
					for b.Loop() {
						q.send(b, "GET", query, "", http.StatusOK)
					}
				})
			}
		})
	}
}

// serveMany serves a directory of 2,000 users, or of 100,000 if LARGE is set. It returns a client, and how many users there
// are.
func serveMany(b *testing.B) (q *quick, size int) {
	b.Helper()
	size = 2000
	if os.Getenv("LARGE") != "" {
		size = 100_000
	}
	base, token, d, _ := serveWith(b, settingsWithoutLimit)
	createUsers(b, d, size)
	return newQuick(base, token), size
}

// BenchmarkUnindexed reads all users: for a filter without an index, a sorted page, and the last page by
// startIndex.
func BenchmarkUnindexed(b *testing.B) {
	q, size := serveMany(b)
	for name, query := range map[string]string{
		"filter":        "/Users?filter=" + url.QueryEscape(`title eq "nobody"`),
		"userName co":   "/Users?filter=" + url.QueryEscape(`userName co "nobody"`),
		"userName sw":   "/Users?filter=" + url.QueryEscape(`userName sw "USER"`),
		"emails co":     "/Users?filter=" + url.QueryEscape(`emails co "nobody"`),
		"nickName eq":   "/Users?filter=" + url.QueryEscape(`nickName eq "nobody"`),
		"or by indexes": "/Users?filter=" + url.QueryEscape(`userName eq "user0000001@example.com" or externalId eq "00000000-0000-4000-8000-000000000002"`),
		"or":            "/Users?filter=" + url.QueryEscape(`nickName eq "nobody" or userName co "nobody"`),
		"active":        "/Users?filter=" + url.QueryEscape(`active eq true`),
		"sorted page":   "/Users?sortBy=userName&count=100",
		"the last page": fmt.Sprintf("/Users?startIndex=%d&count=100", size-100),
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				q.send(b, "GET", query, "", http.StatusOK)
			}
		})
	}
}

// BenchmarkScansAtOnce asks 16 queries at once that no index serves. It reports by how many bytes the heap in use grew at
// most meanwhile, garbage included, and what all of them allocated.
func BenchmarkScansAtOnce(b *testing.B) {
	const clients = 16
	q, _ := serveMany(b)
	query := "/Users?filter=" + url.QueryEscape(`nickName eq "nobody" or userName co "nobody"`)
	q.send(b, "GET", query, "", http.StatusOK)
	var peak, allocated uint64
	for b.Loop() {
		runtime.GC()
		before := readHeap()
		var asking sync.WaitGroup
		for range clients {
			asking.Go(func() { q.send(b, "GET", query, "", http.StatusOK) })
		}
		ended := make(chan struct{})
		go func() { asking.Wait(); close(ended) }()
		peak = max(peak, highestHeap(ended)-before.inUse)
		allocated = max(allocated, readHeap().allocated-before.allocated)
	}
	b.ReportMetric(float64(peak)/1e6, "peak-MB")
	b.ReportMetric(float64(allocated)/1e6, "allocated-MB")
}

// heap is a reading of the runtime's metrics, in bytes.
type heap struct{ inUse, allocated uint64 }

func readHeap() heap {
	read := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(read)
	return heap{read[0].Value.Uint64() + read[1].Value.Uint64(), read[2].Value.Uint64()}
}

// highestHeap returns the most that was in use of the heap until ended is closed.
func highestHeap(ended <-chan struct{}) (highest uint64) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		highest = max(highest, readHeap().inUse)
		select {
		case <-ended:
			return highest
		case <-tick.C:
		}
	}
}

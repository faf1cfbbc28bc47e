package main

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"sallyport/directory"
	"sallyport/store"
	"sallyport/store/bolt"
	"sallyport/store/postgres"
)

// databaseCost is what a database has done: counters at first, then rates a second.
type databaseCost struct {
	commits        float64
	syncs          float64 // times that the log was forced to the disk
	log            float64 // bytes of the write-ahead log
	received, sent float64 // bytes, over all connections
	cores          float64 // seconds of processor time of the server
	ownCores       float64 // of this process, which is all replicas
}

// readCost asks the database and the system for their counters.
func readCost(b *testing.B, url string) (c databaseCost) {
	ctx := b.Context()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(ctx)
	var backend, port int
	err = conn.QueryRow(ctx, `SELECT xact_commit, wal_sync, pg_current_wal_insert_lsn() - '0/0', pg_backend_pid(), inet_server_port()
FROM pg_stat_database, pg_stat_wal WHERE datname = current_database()`).Scan(&c.commits, &c.syncs, &c.log, &backend, &port)
	if err != nil {
		b.Fatal(err)
	}
	c.cores, c.ownCores = cpuTime(parent(backend)).Seconds(), cpuTime(os.Getpid()).Seconds()
	c.sent, c.received = transferred(b, port)
	return c
}

func (c databaseCost) since(before databaseCost, seconds float64) databaseCost {
	return databaseCost{
		commits: (c.commits - before.commits) / seconds, syncs: (c.syncs - before.syncs) / seconds, log: (c.log - before.log) / seconds,
		received: (c.received - before.received) / seconds, sent: (c.sent - before.sent) / seconds,
		cores: (c.cores - before.cores) / seconds, ownCores: (c.ownCores - before.ownCores) / seconds,
	}
}

// forgetReplicas deletes the rows of replicas that could not do so when they ended.
func forgetReplicas(b *testing.B, url string) {
	conn, err := pgx.Connect(b.Context(), url)
	if err == nil {
		defer conn.Close(context.WithoutCancel(b.Context()))
		_, err = conn.Exec(b.Context(), "DELETE FROM sallyport_replicas")
	}
	if err != nil {
		b.Fatal(err)
	}
}

// parent returns the parent of a process: of a backend, the server.
func parent(pid int) int {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(stat), ") ")
	id, _ := strconv.Atoi(append(strings.Fields(rest), "", "")[1])
	return id
}

var bytesOf = map[string]*regexp.Regexp{"sent": regexp.MustCompile(`bytes_sent:(\d+)`), "received": regexp.MustCompile(`bytes_received:(\d+)`)}

// transferred returns the bytes that the server at port has sent and received over the connections that are open, which
// is none if ss of iproute2 is not installed.
func transferred(b *testing.B, port int) (sent, received float64) {
	out, err := exec.CommandContext(b.Context(), "ss", "-tinH", fmt.Sprintf("sport = :%d", port)).Output()
	if err != nil {
		return 0, 0
	}
	sum := func(pattern *regexp.Regexp) (sum float64) {
		for _, m := range pattern.FindAllStringSubmatch(string(out), -1) {
			n, _ := strconv.ParseFloat(m[1], 64)
			sum += n
		}
		return sum
	}
	return sum(bytesOf["sent"]), sum(bytesOf["received"])
}

const fleetDocument = `{"userName":"user%07[1]d@example.com","externalId":"00000000-0000-4000-8000-%012[1]d","displayName":"User %[1]d","active":true,"emails":[{"type":"work","value":"user%07[1]d@example.com","primary":true}],"name":{"givenName":"Given","familyName":"Family"},"title":"Engineer"}`

// fill makes a directory in the database. It makes it in a file first, which has no round trips.
func fill(b *testing.B, url string, users, groups int) {
	ctx := b.Context()
	file, err := bolt.Open(filepath.Join(b.TempDir(), "store.db"), bolt.Options{Init: true})
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	if err := populate(ctx, file, users, groups); err != nil {
		b.Fatal(err)
	}
	urlFile := filepath.Join(b.TempDir(), "url")
	if err := os.WriteFile(urlFile, []byte(url), 0o600); err != nil {
		b.Fatal(err)
	}
	database, err := postgres.Open(ctx, postgres.Options{URLFile: urlFile, Init: true, Replica: "fill"})
	if err != nil {
		b.Fatal(err)
	}
	defer database.Close()
	err = file.View(ctx, func(r store.Reader) error { return copyAll(ctx, r, database) })
	if err != nil {
		b.Fatal(err)
	}
}

// populate makes users, each of whom is in some groups of a hundred.
func populate(ctx context.Context, st store.Store, users, groups int) error {
	d, err := directory.Open(ctx, st, "externalId")
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() { defer close(ended); _ = d.Run(ctx) }()
	defer func() { stop(); <-ended }()
	const members = 100
	for first := 0; first < users; first += members {
		err := d.Update(ctx, func(tx *directory.Tx) error {
			var ids []string
			for n := first; n < min(first+members, users); n++ {
				u := directory.User{UserName: fmt.Sprintf("user%07d@example.com", n), ExternalID: fmt.Sprintf("00000000-0000-4000-8000-%012d", n), Active: true, Document: fmt.Appendf(nil, fleetDocument, n)}
				if err := tx.PutUser(&u); err != nil {
					return err
				}
				ids = append(ids, u.ID)
			}
			for n := range groups {
				g := directory.Group{DisplayName: fmt.Sprintf("group %d of %d", n, first)}
				if err := tx.PutGroup(&g); err != nil {
					return err
				}
				if _, err := tx.AddMembers(g.ID, ids); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// copyAll copies every record.
func copyAll(ctx context.Context, from store.Reader, to store.Store) error {
	const chunk = 5000
	var entries []store.Entry
	write := func() error {
		_, err := to.Update(ctx, func(w store.Writer) error {
			for _, e := range entries {
				if err := w.Put(e.Key, e.Value); err != nil {
					return err
				}
			}
			return nil
		})
		entries = entries[:0]
		return err
	}
	for e, err := range from.Scan(nil, nil) {
		if err != nil {
			return err
		}
		if entries = append(entries, e); len(entries) == chunk {
			if err := write(); err != nil {
				return err
			}
		}
	}
	return write()
}

// far returns the address of a database as from a place that is some time away from it.
func far(b *testing.B, text string, delay time.Duration) string {
	u, err := url.Parse(text)
	if err != nil {
		b.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = listener.Close() })
	to := u.Host
	u.Host = listener.Addr().String()
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				_ = near.Close()
				continue
			}
			go carry(near, server, delay)
			go carry(server, near, delay)
		}
	}()
	return u.String()
}

// carry copies from one connection to another, some time later, until either ends.
func carry(from, to net.Conn, delay time.Duration) {
	type packet struct {
		due  time.Time
		data []byte
	}
	sent := make(chan packet, 10_000)
	go func() {
		defer to.Close()
		for p := range sent {
			time.Sleep(time.Until(p.due))
			if _, err := to.Write(p.data); err != nil {
				_ = from.Close() // which ends the loop below
			}
		}
	}()
	defer close(sent)
	for {
		data := make([]byte, 32<<10)
		n, err := from.Read(data)
		sent <- packet{time.Now().Add(delay), data[:n]}
		if err != nil {
			return
		}
	}
}

package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// result is the result of one round.
type result struct {
	perSecond float64
	cpu       time.Duration // of the proxy, per request
	p50, p99  time.Duration // with all connections busy
	single    time.Duration // median with a single connection
	resident  float64       // MiB, after the round
}

// measure runs one round with one subject.
func measure(ctx context.Context, s subject, o options) (r result, err error) {
	if _, err = load(ctx, s, o.connections, o.duration/8); err != nil { // to warm up
		return r, err
	}
	before, begun := cpuTime(s.pid), time.Now()
	took, err := load(ctx, s, o.connections, o.duration)
	if err != nil {
		return r, err
	}
	elapsed := time.Since(begun)
	r.cpu = (cpuTime(s.pid) - before) / time.Duration(len(took))
	r.perSecond = float64(len(took)) / elapsed.Seconds()
	r.p50, r.p99 = quantile(took, 0.5), quantile(took, 0.99)
	r.resident = resident(s.pid)
	single, err := load(ctx, s, 1, o.duration/4)
	r.single = quantile(single, 0.5)
	return r, err
}

// load sends requests over concurrent connections, each as soon as the previous response is complete, and returns the
// sorted durations.
func load(ctx context.Context, s subject, connections int, duration time.Duration) ([]time.Duration, error) {
	ctx, stop := context.WithTimeout(ctx, duration)
	defer stop()
	dial := dialPlain
	if s.h2 {
		dial = dialH2()
	}
	took := make([][]time.Duration, connections)
	errs := make([]error, connections)
	var all sync.WaitGroup
	for i := range connections {
		all.Go(func() {
			roundTrip, err := dial(s)
			for err == nil && ctx.Err() == nil {
				begun := time.Now()
				err = roundTrip()
				took[i] = append(took[i], time.Since(begun))
			}
			errs[i] = err
		})
	}
	all.Wait()
	list := slices.Concat(took...)
	if err := cmp.Or(errs...); err != nil {
		return nil, err
	}
	slices.Sort(list)
	return list, nil
}

func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(q*float64(len(sorted)-1))]
}

// dialPlain opens a connection of HTTP/1.1, over TLS for https. It does as little work as possible on the side of the client.
func dialPlain(s subject) (roundTrip func() error, err error) {
	u, err := url.Parse(s.url)
	if err != nil {
		return nil, err
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		return nil, err
	}
	if u.Scheme == "https" {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	}
	request := []byte("GET / HTTP/1.1\r\nHost: " + cmp.Or(s.host, appHost) + "\r\nAccept: application/json\r\nUser-Agent: bench\r\n" + line(s.header) + "\r\n")
	buffer := make([]byte, 16<<10)
	return func() error {
		if _, err := conn.Write(request); err != nil {
			return err
		}
		return readResponse(conn, buffer)
	}, nil
}

func line(header string) string {
	if header == "" {
		return ""
	}
	return header + "\r\n"
}

// readResponse reads one response, which must be 200 with a Content-Length.
func readResponse(conn io.Reader, buffer []byte) error {
	have, want := 0, -1
	for want < 0 || have < want {
		n, err := conn.Read(buffer[have:])
		if err != nil {
			return err
		}
		have += n
		if want >= 0 {
			continue
		}
		head, _, whole := strings.Cut(string(buffer[:have]), "\r\n\r\n")
		if !whole {
			continue
		}
		if !strings.HasPrefix(head, "HTTP/1.1 200 ") {
			return fmt.Errorf("responded with %q", head)
		}
		_, length, _ := strings.Cut(strings.ToLower(head)+"\r\n", "content-length: ")
		length, _, _ = strings.Cut(length, "\r\n")
		body, err := strconv.Atoi(length)
		if err != nil {
			return fmt.Errorf("no length: %q", head)
		}
		want = len(head) + 4 + body
	}
	return nil
}

// dialH2 returns a function that opens streams on one connection of HTTP/2 over TLS.
func dialH2() func(s subject) (func() error, error) {
	client := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	return func(s subject) (func() error, error) {
		r, err := http.NewRequest(http.MethodGet, s.url, nil)
		if err != nil {
			return nil, err
		}
		r.Host = appHost
		if key, value, ok := strings.Cut(s.header, ": "); ok {
			r.Header.Set(key, value)
		}
		return func() error {
			resp, err := client.Do(r)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			_, err = io.Copy(io.Discard, resp.Body)
			if resp.StatusCode != http.StatusOK || resp.ProtoMajor != 2 {
				return fmt.Errorf("responded with %s %s", resp.Proto, resp.Status)
			}
			return err
		}, nil
	}
}

// cpuTime returns the CPU time of a process and its children (proc(5), fields 14 and 15 of stat).
func cpuTime(pid int) (sum time.Duration) {
	for _, id := range family(pid) {
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", id))
		_, rest, _ := strings.Cut(string(stat), ") ")
		if fields := strings.Fields(rest); len(fields) > 12 {
			user, _ := strconv.Atoi(fields[11])
			system, _ := strconv.Atoi(fields[12])
			sum += time.Duration(user+system) * time.Second / clockTicks
		}
	}
	return sum
}

const clockTicks = 100 // per second; USER_HZ of Linux on all common platforms

// resident returns the resident memory of a process and its children, in MiB.
func resident(pid int) (sum float64) {
	for _, id := range family(pid) {
		statm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", id))
		if fields := strings.Fields(string(statm)); len(fields) > 1 {
			pages, _ := strconv.Atoi(fields[1])
			sum += float64(pages) * float64(os.Getpagesize()) / (1 << 20)
		}
	}
	return sum
}

// family returns a process and its children.
func family(pid int) []int {
	if pid == 0 {
		return nil
	}
	all := []int{pid}
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for word := range strings.FieldsSeq(string(text)) {
			child, _ := strconv.Atoi(word)
			all = append(all, child)
		}
	}
	return all
}

// report prints the medians of the rounds, and the ratios of CPU times to the stock proxy and to nginx.
func report(out io.Writer, subjects []subject, results [][]result) {
	median := func(i int, of func(result) float64) float64 {
		values := make([]float64, len(results[i]))
		for j, r := range results[i] {
			values[j] = of(r)
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	micros := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
	cpu := func(i int) float64 { return median(i, func(r result) float64 { return micros(r.cpu) }) }
	ratio := func(i int, to string) string {
		j := slices.IndexFunc(subjects, func(s subject) bool { return s.name == to })
		if j < 0 || cpu(j) == 0 {
			return "-"
		}
		return fmt.Sprintf("%.2f", cpu(i)/cpu(j))
	}
	version, _ := exec.Command("nginx", "-v").CombinedOutput()
	fmt.Fprintf(out, "%s, %s\n\n", time.Now().Format(time.DateOnly), strings.TrimSpace(string(version)))
	w := tabwriter.NewWriter(out, 0, 0, 1, ' ', 0)
	fmt.Fprintln(w, "| through\t| CPU µs/request\t| to stock\t| to nginx\t| to nginx h2\t| requests/s\t| p50 µs\t| p99 µs\t| p50 µs alone\t| MiB\t|")
	fmt.Fprintln(w, "|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|")
	for i, s := range subjects {
		fmt.Fprintf(w, "| %s\t| %.1f\t| %s\t| %s\t| %s\t| %.0f\t| %.0f\t| %.0f\t| %.0f\t| %.0f\t|\n", s.name, cpu(i), ratio(i, stockName), ratio(i, nginxName), ratio(i, nginxH2Name),
			median(i, func(r result) float64 { return r.perSecond }), median(i, func(r result) float64 { return micros(r.p50) }),
			median(i, func(r result) float64 { return micros(r.p99) }), median(i, func(r result) float64 { return micros(r.single) }),
			median(i, func(r result) float64 { return r.resident }))
	}
	_ = w.Flush()
}

// Command bench measures what a request costs Sallyport and other proxies, in one run on one machine.
//
// It starts an upstream, sallyport, a stock httputil.ReverseProxy, a lean prototype that is about the least that a proxy
// with sessions can do on the server of net/http, and, if it is installed, nginx. In several rounds, it sends the same load
// to each in turn, and prints medians with their range, and ratios to the others over the same transport. -only chooses rows
// by their keys; a run of few takes seconds:
//
//	go run ./bench -only stock,session -rounds 2 -for 1s
//	go run ./bench -only '*-h2'
//
// -calls counts system calls by perf, in place of times: they depend less on what else the machine does.
// -before FILE measures another build of sallyport in turn with that of this folder. -out FILE writes the figures for
// benchstat; make bench-compare compares them with stored ones.
//
// To compare a proxy that runs already: -peer NAME,URL,PID[,HEADER: VALUE].
//
// bench console measures the console instead, with a large company.
//
// The CPU time is that of the process of the proxy and its children, as the kernel accounts it.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"
)

func main() {
	if role := os.Getenv(roleVariable); role != "" {
		fail(serveRole(role))
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if len(os.Args) > 1 && os.Args[1] == "console" {
		fail(measureConsole(ctx, os.Args[2:]))
		return
	}
	var o options
	flag.IntVar(&o.rounds, "rounds", 5, "number of measurements of each proxy")
	flag.DurationVar(&o.duration, "for", 2*time.Second, "duration of one measurement")
	flag.IntVar(&o.connections, "connections", 32, "number of concurrent keep-alive connections")
	flag.StringVar(&o.only, "only", "", "keys of the rows to measure, with * for any text: "+keysOf(rows))
	flag.StringVar(&o.before, "before", "", "another build of sallyport, which is measured in turn with that of this folder")
	flag.BoolVar(&o.calls, "calls", false, "count system calls by perf, in place of the other figures")
	flag.StringVar(&o.out, "out", "", "the file to which the figures are written for benchstat")
	flag.Func("peer", "another proxy: NAME,URL,PID[,HEADER: VALUE]", func(text string) error {
		p, err := parsePeer(text)
		o.peers = append(o.peers, p)
		return err
	})
	flag.Parse()
	if flag.NArg() > 0 {
		fail(fmt.Errorf("%q is no flag; rows are chosen by -only", flag.Arg(0)))
	}
	fail(run(ctx, o))
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type options struct {
	rounds      int
	duration    time.Duration
	connections int
	only        string // "" for all rows
	before      string // a program; "" for none
	out         string // a file; "" for none
	calls       bool   // count system calls alone
	peers       []subject
}

// subject is one path to the upstream that is measured.
type subject struct {
	key       string
	name      string
	transport transport
	address   string
	host      string // "" for that of the usual application
	pid       int    // of the process whose CPU time counts; 0 for none
	header    string // one more header of each request
	status    int    // of the responses; 0 for 200
	metrics   string // URL of the process's metrics, which say what it allocates; "" for none
}

// wanted returns the status that the responses must have.
func (s subject) wanted() int { return cmp.Or(s.status, http.StatusOK) }

// benchmark returns the name of the subject's benchmark: that of the row, and which program was measured if there are two.
func (s subject) benchmark() string {
	if key, ok := strings.CutSuffix(s.key, beforeSuffix); ok {
		return "row=" + key + "/program=before"
	}
	return "row=" + s.key + "/program=this"
}

func parsePeer(text string) (p subject, err error) {
	parts := strings.SplitN(text, ",", 4)
	if len(parts) < 3 {
		return p, errors.New("write NAME,URL,PID[,HEADER: VALUE]")
	}
	scheme, address, _ := strings.Cut(strings.TrimSuffix(parts[1], "/"), "://")
	p = subject{key: parts[0], name: parts[0], transport: plainHTTP1, address: address}
	switch {
	case strings.Contains(address, "/") || scheme != "http" && scheme != "https":
		return p, fmt.Errorf("%q is not the URL of a server; write http://ADDRESS:PORT or https://ADDRESS:PORT", parts[1])
	case scheme == "https":
		p.transport = tlsHTTP1
	}
	if len(parts) == 4 {
		p.header = parts[3]
	}
	p.pid, err = strconv.Atoi(parts[2])
	return p, err
}

func run(ctx context.Context, o options) error {
	if o.rounds < 1 || o.connections < 1 || o.duration <= 0 {
		return errors.New("-rounds, -connections and -for must be greater than zero")
	}
	chosen, err := choose(rows, o.only)
	if err != nil {
		return err
	}
	s, err := newSetup(ctx)
	defer s.close()
	if err != nil {
		return err
	}
	subjects, err := s.start(ctx, withBefore(chosen, o.before))
	if err != nil {
		return err
	}
	subjects = append(subjects, o.peers...)
	if o.calls {
		return reportCalls(ctx, os.Stdout, s.dir, subjects, o)
	}
	f, err := measureAll(ctx, subjects, o)
	if err != nil {
		return err
	}
	f.report(os.Stdout)
	if o.out == "" {
		return nil
	}
	file, err := os.Create(o.out)
	if err != nil {
		return err
	}
	return errors.Join(f.benchmarks(file), file.Close())
}

// measureAll measures each subject in turn, in several rounds.
func measureAll(ctx context.Context, subjects []subject, o options) (figures, error) {
	f := figures{subjects, make([][]result, len(subjects))}
	if len(subjects) == 0 {
		return f, errors.New("there is nothing to measure")
	}
	for round := range o.rounds {
		for i, subject := range subjects {
			got, err := measure(ctx, subject, o)
			if err != nil {
				return f, fmt.Errorf("%s, round %d: %w", subject.key, round+1, err)
			}
			f.results[i] = append(f.results[i], got)
		}
	}
	return f, nil
}

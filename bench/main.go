// Command bench measures what a request costs Sallyport and other proxies, in one run on one machine.
//
// It starts an upstream, sallyport, a stock httputil.ReverseProxy and, if it is installed, nginx. In several rounds, it
// sends the same load to each in turn, and prints medians, and ratios to the stock proxy and to nginx over the same
// transport. -only chooses rows by their keys; a run of few takes seconds:
//
//	go run ./bench -only stock,session -rounds 2 -for 1s
//	go run ./bench -only '*-h2'
//
// To compare a proxy that runs already: -peer NAME,URL,PID[,HEADER: VALUE].
//
// bench console measures the console instead, with a large company.
//
// The CPU time is that of the process of the proxy and its children, as the kernel accounts it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
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
	flag.IntVar(&o.rounds, "rounds", 3, "number of measurements of each proxy")
	flag.DurationVar(&o.duration, "for", 4*time.Second, "duration of one measurement")
	flag.IntVar(&o.connections, "connections", 32, "number of concurrent keep-alive connections")
	flag.StringVar(&o.only, "only", "", "keys of the rows to measure, with * for any text: "+keysOf(rows))
	flag.Func("peer", "another proxy: NAME,URL,PID[,HEADER: VALUE]", func(text string) error {
		p, err := parsePeer(text)
		o.peers = append(o.peers, p)
		return err
	})
	flag.Parse()
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
	chosen, err := choose(rows, o.only)
	if err != nil {
		return err
	}
	s, err := newSetup(ctx)
	defer s.close()
	if err != nil {
		return err
	}
	subjects, err := s.start(ctx, chosen)
	if err != nil {
		return err
	}
	subjects = append(subjects, o.peers...)
	results := make([][]result, len(subjects))
	for round := range o.rounds {
		for i, subject := range subjects {
			got, err := measure(ctx, subject, o)
			if err != nil {
				return fmt.Errorf("%s, round %d: %w", subject.key, round+1, err)
			}
			results[i] = append(results[i], got)
		}
	}
	report(os.Stdout, subjects, results)
	return nil
}

// Command bench compares what one request costs Sallyport with what it costs others, in one run on one machine.
//
// It starts an upstream, the real sallyport, a stock httputil.ReverseProxy and, if it is installed, nginx; sends each
// the same load in turn, several rounds over; and prints medians, and ratios to the stock proxy and to nginx. A peer
// that runs already is compared too: -peer NAME,URL,PID[,HEADER: VALUE].
//
// The processor time is that of the proxy's process alone, with its children, as the kernel counts it.
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
		fail(play(role))
		return
	}
	var o options
	flag.IntVar(&o.rounds, "rounds", 3, "how often each is measured, in turn with the others")
	flag.DurationVar(&o.lasts, "for", 4*time.Second, "how long one measurement takes")
	flag.IntVar(&o.connections, "connections", 32, "keep-alive connections at once")
	flag.Func("peer", "another proxy: NAME,URL,PID[,HEADER: VALUE]", func(text string) error {
		p, err := parsePeer(text)
		o.peers = append(o.peers, p)
		return err
	})
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
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
	lasts       time.Duration
	connections int
	peers       []subject
}

// subject is one way to the upstream.
type subject struct {
	name   string
	url    string
	pid    int    // whose processor time counts; 0: nobody's
	header string // one more line of each request
	h2     bool   // over TLS and HTTP/2
}

func parsePeer(text string) (p subject, err error) {
	parts := strings.SplitN(text, ",", 4)
	if len(parts) < 3 {
		return p, errors.New("write NAME,URL,PID[,HEADER: VALUE]")
	}
	p = subject{name: parts[0], url: parts[1]}
	if len(parts) == 4 {
		p.header = parts[3]
	}
	p.pid, err = strconv.Atoi(parts[2])
	return p, err
}

func run(ctx context.Context, o options) error {
	s, err := newScene(ctx)
	defer s.close()
	if err != nil {
		return err
	}
	subjects := append(s.subjects, o.peers...)
	results := make([][]result, len(subjects))
	for round := range o.rounds {
		for i, one := range subjects {
			got, err := measure(ctx, one, o)
			if err != nil {
				return fmt.Errorf("%s, round %d: %w", one.name, round+1, err)
			}
			results[i] = append(results[i], got)
		}
	}
	report(os.Stdout, subjects, results)
	return nil
}

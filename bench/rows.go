package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
)

// transport is how the client speaks to a subject.
type transport string

// The transports.
const (
	plainHTTP1 transport = "HTTP/1.1"
	tlsHTTP1   transport = "TLS, HTTP/1.1"
	tlsHTTP2   transport = "TLS, HTTP/2"
)

// row is a row of the table: a subject that -only can choose by its key.
type row struct {
	key       string
	name      string
	transport transport
	start     startFunc
	program   string // the sallyport that is started; "": that of this folder
}

// startFunc starts a subject, and returns its addresses, its process and what its requests have.
type startFunc func(ctx context.Context, s *setup, r row) (subject, error)

// errMissing means that a program is not installed; its rows are left out.
var errMissing = errors.New("not installed")

// Names of rows that the others are compared with.
const (
	stockName = "stock ReverseProxy"
	leanName  = "lean prototype"
	nginxName = "nginx"
)

var rows = []row{
	{key: "upstream", name: "the upstream itself", transport: plainHTTP1, start: startUpstream},
	{key: "stock", name: stockName, transport: plainHTTP1, start: startChild("stock")},
	{key: "stock-tls", name: stockName, transport: tlsHTTP1, start: startChild("stock")},
	{key: "stock-h2", name: stockName, transport: tlsHTTP2, start: startChild("stock")},
	{key: "lean", name: leanName, transport: plainHTTP1, start: startLean},
	{key: "lean-tls", name: leanName, transport: tlsHTTP1, start: startLean},
	{key: "lean-h2", name: leanName, transport: tlsHTTP2, start: startLean},
	{key: "nginx", name: nginxName, transport: plainHTTP1, start: startNginx},
	{key: "nginx-tls", name: nginxName, transport: tlsHTTP1, start: startNginx},
	{key: "nginx-h2", name: nginxName, transport: tlsHTTP2, start: startNginx},
	{key: "open", name: "sallyport, open route", transport: plainHTTP1, start: startSallyport(kind{open: true})},
	{key: "session", name: "sallyport, session", transport: plainHTTP1, start: startSallyport(kind{})},
	{key: "session-tls", name: "sallyport, session", transport: tlsHTTP1, start: startSallyport(kind{})},
	{key: "session-h2", name: "sallyport, session", transport: tlsHTTP2, start: startSallyport(kind{})},
	{key: "bearer", name: "sallyport, bearer", transport: plainHTTP1, start: startSallyport(kind{bearer: true})},
	{key: "session-big", name: "sallyport, session, 20,000 others", transport: plainHTTP1, start: startSallyport(kind{big: true})},
	{key: "session-10-rules", name: "sallyport, session, 10 rules", transport: plainHTTP1, start: startSallyport(kind{rules: 10})},
	{key: "session-1000-rules", name: "sallyport, session, 1,000 rules", transport: plainHTTP1, start: startSallyport(kind{rules: 1000})},
	{key: "bare-401", name: "a handler that refuses", transport: plainHTTP1, start: startBare},
	{key: "refused", name: "sallyport, without a credential", transport: plainHTTP1, start: startSallyport(kind{refused: true})},
}

// beforeSuffix ends the keys of rows that measure the program of -before.
const beforeSuffix = "-before"

// withBefore puts a row behind each row of Sallyport that measures the same with another program.
func withBefore(all []row, program string) (both []row) {
	for _, r := range all {
		both = append(both, r)
		if program != "" && strings.HasPrefix(r.name, "sallyport") {
			r.key, r.name, r.program = r.key+beforeSuffix, r.name+", before", program
			both = append(both, r)
		}
	}
	return both
}

func keysOf(all []row) string {
	var keys []string
	for _, r := range all {
		keys = append(keys, r.key)
	}
	return strings.Join(keys, ", ")
}

// choose returns the rows whose keys match one of the patterns, all if there is none.
func choose(all []row, patterns string) (chosen []row, err error) {
	if patterns == "" {
		return all, nil
	}
	wanted := map[string]bool{}
	for pattern := range strings.SplitSeq(patterns, ",") {
		found := false
		for _, r := range all {
			if ok, err := path.Match(strings.TrimSpace(pattern), r.key); err != nil {
				return nil, fmt.Errorf("-only %s: %w", pattern, err)
			} else if ok {
				wanted[r.key], found = true, true
			}
		}
		if !found {
			return nil, fmt.Errorf("-only %s: no row has that key; there are %s", pattern, keysOf(all))
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(r row) bool { return !wanted[r.key] }), nil
}

// start starts the subjects of rows. Rows of programs that are not installed are left out.
func (s *setup) start(ctx context.Context, chosen []row) (subjects []subject, err error) {
	for _, r := range chosen {
		target, err := r.start(ctx, s, r)
		if errors.Is(err, errMissing) {
			fmt.Fprintf(os.Stderr, "bench: %s is left out: %v\n", r.key, err)
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.key, err)
		}
		target.key, target.name, target.transport = r.key, r.name, r.transport
		subjects = append(subjects, target)
	}
	return subjects, nil
}

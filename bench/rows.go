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
}

// startFunc starts a subject, and returns its address, its process and what its requests have.
type startFunc func(ctx context.Context, s *setup, r row) (subject, error)

// errMissing means that a program is not installed; its rows are left out.
var errMissing = errors.New("not installed")

var rows = []row{
	{"upstream", "the upstream itself", plainHTTP1, startUpstream},
	{"stock", "stock ReverseProxy", plainHTTP1, startChild("stock")},
	{"stock-tls", "stock ReverseProxy", tlsHTTP1, startChild("stock")},
	{"stock-h2", "stock ReverseProxy", tlsHTTP2, startChild("stock")},
	{"nginx", "nginx", plainHTTP1, startNginx},
	{"nginx-h2", "nginx", tlsHTTP2, startNginx},
	{"open", "sallyport, open route", plainHTTP1, startSallyport(kind{open: true})},
	{"session", "sallyport, session", plainHTTP1, startSallyport(kind{})},
	{"bearer", "sallyport, bearer", plainHTTP1, startSallyport(kind{bearer: true})},
	{"session-tls", "sallyport, session", tlsHTTP1, startSallyport(kind{})},
	{"session-h2", "sallyport, session", tlsHTTP2, startSallyport(kind{})},
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

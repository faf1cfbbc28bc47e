package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// trial is one of many attempts to break a promise, each with random choices of its own. docs/reliability.md lists the
// promises, and how many trials were run.
type trial struct {
	*testing.T
	*rand.Rand
	n     int // from 0
	tally map[string]int
}

// count counts that a trial had an outcome, for the line that is logged at the end.
func (c *trial) count(outcome string) { c.tally[outcome]++ }

// trials runs f few times, or as often as the environment variable TRIALS says. With SEED set to the seed of an earlier
// run, each trial makes the same choices as in that run, although keys, ids and times differ; FIRST is the number of the first.
func trials(t *testing.T, few int, f func(c *trial)) {
	t.Helper()
	seed := number64(t, "SEED", rand.Uint64N(1_000_000))
	first, count := int(number64(t, "FIRST", 0)), int(number64(t, "TRIALS", uint64(few)))
	tally, began := map[string]int{}, time.Now()
	report := func(n int) {
		var outcomes []string
		for _, outcome := range slices.Sorted(maps.Keys(tally)) {
			outcomes = append(outcomes, fmt.Sprintf("%d %s", tally[outcome], outcome))
		}
		t.Logf("%d trials with SEED=%d in %v: %s", n, seed, time.Since(began).Round(time.Second), strings.Join(outcomes, ", "))
	}
	failed := 0
	for n := first; n < first+count && failed < 5; n++ {
		ok := t.Run(strconv.Itoa(n), func(t *testing.T) {
			f(&trial{t, rand.New(rand.NewPCG(seed, uint64(n))), n, tally})
		})
		if !ok {
			t.Errorf("SEED=%d FIRST=%d TRIALS=1 repeats the choices of the trial that failed", seed, n)
			failed++
		}
		if done := n - first + 1; done%100 == 0 || done == count {
			report(done)
		}
	}
}

// number64 returns the number in an environment variable, or otherwise if it is not set.
func number64(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		t.Fatalf("%s=%s is not a number", name, text)
	}
	return n
}

// report fails the trial if there are problems.
func (c *trial) report(problems []string) {
	c.Helper()
	for _, problem := range problems {
		c.Error(problem)
	}
}

// pick returns one of choices.
func pick[T any](c *trial, choices []T) T { return choices[c.IntN(len(choices))] }

// within returns a random time that is less than limit.
func (c *trial) within(limit time.Duration) time.Duration {
	return time.Duration(c.Int64N(int64(limit)))
}

// newRandom returns a source of random choices for a goroutine of a trial.
func newRandom(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// getStatus sends a GET request, with a bearer token unless it is empty, reads all of the response, and returns its status.
func getStatus(c *http.Client, target, bearer string) (int, error) {
	req, err := http.NewRequest(http.MethodGet, target, nil)
	if err != nil {
		return 0, err
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	once := *c
	once.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := once.Do(req)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, errors.Join(err, resp.Body.Close())
}

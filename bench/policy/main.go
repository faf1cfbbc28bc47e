// Command policy measures what a decision costs Sallyport's package policy and other engines of policies, on the same rules
// and users, in one run:
//
//	go -C bench/policy run .
//
// The others are cel-go with one expression for each rule, cedar-go, casbin and OPA. cedar-go has the groups, and OPA the
// rules, in two ways. Before anything is measured, all engines must decide many requests alike.
//
// Sallyport remembers which rules are about a user while their record stays the same; a row of its own is about records that
// were never seen before. Each engine has what it needs of a user before, as Sallyport has its directory; a decision composes the rest of its input.
// This is a module of its own, so that Sallyport depends on none of the others.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"testing"
	"time"
)

func main() {
	testing.Init()
	rules := flag.String("rules", "10,1000,10000", "numbers of rules for groups")
	conditions := flag.String("conditions", "1,10,100", "numbers of rules that have a condition")
	groups := flag.Int("groups", 200, "number of groups that each user is in")
	rounds := flag.Int("rounds", 3, "number of measurements of each engine, in turn")
	duration := flag.Duration("for", 200*time.Millisecond, "duration of one measurement")
	checks := flag.Int("checks", 2000, "number of requests that all engines must decide alike; fewer with many rules")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := cmp.Or(flag.Set("test.benchtime", duration.String()), run(ctx, *rules, *conditions, *groups, *rounds, *checks))
	if err != nil {
		fmt.Fprintln(os.Stderr, "policy:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, rules, conditions string, groups, rounds, checks int) error {
	if groups < 2 || rounds < 1 {
		return fmt.Errorf("-groups %d -rounds %d: write at least 2 groups and 1 round", groups, rounds)
	}
	worlds, err := makeWorlds(rules, groups, newWorld)
	if err != nil {
		return err
	}
	more, err := makeWorlds(conditions, groups, newConditionalWorld)
	if err != nil {
		return err
	}
	var rows []row
	for _, w := range append(worlds, more...) {
		measured, err := compare(ctx, w, rounds, checks)
		if err != nil {
			return err
		}
		rows = append(rows, measured...)
	}
	report(os.Stdout, groups, rounds, rows)
	return nil
}

// makeWorlds makes a world for each number of rules.
func makeWorlds(sizes string, groups int, newOne func(n, groups int) *world) (worlds []*world, err error) {
	for text := range strings.SplitSeq(sizes, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q is not a list of numbers greater than zero, with commas between them", sizes)
		}
		worlds = append(worlds, newOne(n, groups))
	}
	return worlds, nil
}

// compare measures all engines in a world, once they decide alike.
func compare(ctx context.Context, w *world, rounds, checks int) ([]row, error) {
	engines, err := loadAll(ctx, w)
	if err != nil {
		return nil, err
	}
	many := max(50, min(checks, 2_000_000/len(w.rules)))
	allowed, err := agree(engines, w, many)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(os.Stderr, "%d %s: all engines decide %d requests alike; %d are allowed\n", len(w.rules), w.what, many, allowed)
	return measure(ctx, engines, w, rounds)
}

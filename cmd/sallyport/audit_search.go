package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sallyport/admin"
	"sallyport/audit"
)

// searchTime bounds for how long one command looks for lines of the record.
const searchTime = 10 * time.Second

// maxFound is how many lines one command finds at most.
const maxFound = 1000

// recordSearch asks for lines of the record.
type recordSearch struct {
	Filter admin.RecordFilter `json:"filter"`
	Limit  int                `json:"limit"`
}

func auditSearchCommand() *cobra.Command {
	var ask recordSearch
	var kinds []string
	since, until := boundValue{now: time.Now}, boundValue{now: time.Now, end: true}
	c := &cobra.Command{
		Use:   "search",
		Short: "Search the record of every replica from its newest line back; also for decisions",
		Long: "Search the record of every replica from its newest line back, as the pages of the console do: for decisions, too, with\n" +
			"--kind decision. The search is bounded in time: a note says if it stopped before the end, and how it goes on.\n" +
			"Exits with 1, and prints nothing, if nothing was found.",
		Example: "  sallyport audit search --kind decision --decision deny --route payroll --since 7d\n" +
			"  sallyport audit search --user ada@example.com --text grafana -n 20",
		Args: cobra.NoArgs,
	}
	f := &ask.Filter
	c.Flags().StringSliceVar(&kinds, "kind", nil, "only events of this `KIND`, such as decision; several with commas")
	c.Flags().StringVar(&f.Person, "user", "", "only events about this `USER`, and what they did: a userName, e-mail, externalId or id; or app: and a client ID")
	c.Flags().StringVar(&f.Actor, "actor", "", "only what this `NAME` or id did: an operator, a token, a user")
	c.Flags().StringVar(&f.Text, "text", "", "only lines with this `TEXT` anywhere, whatever the case; at least 4 bytes")
	c.Flags().StringVar(&f.Route, "route", "", "only events of this `ROUTE`")
	c.Flags().StringVar(&f.Reason, "reason", "", "only events with this `REASON`, such as unknown_user")
	c.Flags().StringVar(&f.Decision, "decision", "", "only this `DECISION`: allow or deny")
	c.Flags().StringVar(&f.Request, "request", "", "only events of the request with this `NUMBER`")
	c.Flags().Var(&since, "since", "only events since then: a time, a day such as 2026-05-03, or how far back, such as 12h or 30d")
	c.Flags().Var(&until, "until", "only events until then: a time, a day, which means its end, or how far back")
	c.Flags().IntVarP(&ask.Limit, "lines", "n", 100, "how many `LINES` at most, up to "+strconv.Itoa(maxFound))
	c.Flags().StringVar(&f.Before, "before", "", "go on at the `PLACE` that the note of a search names")
	for flag, words := range map[string][]string{"kind": kindNames(), "reason": reasonNames(), "decision": {"allow", "deny"}} {
		_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
	}
	for _, flag := range []string{"actor", "text", "request", "since", "until", "lines", "before"} {
		_ = c.RegisterFlagCompletionFunc(flag, cobra.NoFileCompletions)
	}
	addOutputFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		f.Since, f.Until = since.at, until.at
		for _, kind := range kinds {
			f.Kinds = append(f.Kinds, audit.Kind(kind))
		}
		if err := ask.check(cmd); err != nil {
			return err
		}
		client, err := newControlClient(cmd)
		if err != nil {
			return err
		}
		var found admin.RecordLines
		if err := client.call(cmd.Context(), http.MethodPost, "/record/search", ask, &found); err != nil {
			return err
		}
		return printFound(cmd, found)
	}
	return c
}

// check returns what is wrong with the flags.
func (s *recordSearch) check(cmd *cobra.Command) error {
	for _, name := range []string{"kind", "user", "actor", "text", "route", "reason", "decision", "request", "before"} {
		if flag := cmd.Flags().Lookup(name); flag.Changed && strings.Trim(flag.Value.String(), "[]") == "" { // as of a variable of the shell that is not set
			return fmt.Errorf("--%s is empty, which would select everything; leave it out if that is meant", name)
		}
	}
	f := &s.Filter
	for _, kind := range f.Kinds {
		if !slices.Contains(kindNames(), string(kind)) {
			return fmt.Errorf("no events are of the kind %q; the kinds are %s", kind, strings.Join(kindNames(), ", "))
		}
	}
	switch {
	case f.Reason != "" && !slices.Contains(reasonNames(), f.Reason): // no error: the record may be of another version
		fmt.Fprintf(cmd.ErrOrStderr(), "note: this version records no event with the reason %q; docs/audit.md lists the reasons, and so does `sallyport audit schema`\n", printable(f.Reason))
	case f.Decision != "" && f.Decision != "allow" && f.Decision != "deny":
		return fmt.Errorf("--decision %s: write allow or deny", f.Decision)
	case f.Request != "" && !admin.IsRequestNumber(f.Request):
		return fmt.Errorf("--request: %w", errNoNumber(f.Request))
	case !f.Since.IsZero() && !f.Until.IsZero() && f.Until.Before(f.Since):
		return fmt.Errorf("--until (%s) is before --since (%s)", formatTime(&f.Until), formatTime(&f.Since))
	}
	return s.checkLimit()
}

func (s *recordSearch) checkLimit() error {
	if s.Limit < 1 || s.Limit > maxFound {
		return fmt.Errorf("--lines %d is not between 1 and %d", s.Limit, maxFound)
	}
	return nil
}

func errNoNumber(text string) error {
	return fmt.Errorf("%q is no number of a request: those have 32 characters of 0-9 and a-f", text)
}

// printFound prints lines of the record. None is an error.
func printFound(cmd *cobra.Command, found admin.RecordLines) error {
	noteMissing(cmd, found.Missing)
	stopped := ""
	if !found.CutOff.IsZero() && found.Next != "" {
		stopped = fmt.Sprintf("lines before %s were not looked at, since that takes too long; --before '%s' goes on there", formatTime(&found.CutOff), printable(found.Next))
	}
	if len(found.Lines) == 0 {
		if stopped != "" {
			return errors.New("no line of the record was found: " + stopped)
		}
		return errors.New("no line of the record was found")
	}
	if stopped == "" && found.Next != "" {
		stopped = fmt.Sprintf("there may be older ones; --before '%s' lists them", printable(found.Next))
	}
	if stopped != "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "note: %s\n", stopped)
	}
	t := table{heads: []string{"time", "line", "kind", "decision", "reason", "user", "by", "route", "asked", "rule", "address", "request"}, values: found}
	for _, l := range found.Lines {
		number := strconv.FormatUint(l.Seq, 10)
		if l.Of != "" {
			number += " of " + l.Of
		}
		t.rows = append(t.rows, []string{l.Time.UTC().Format("2006-01-02T15:04:05.000Z"), number, string(l.Kind), l.Decision, l.Reason, cmp.Or(l.UserName, l.User),
			strings.TrimSpace(string(l.Actor.Kind) + " " + l.Actor.Name), l.Route, strings.TrimSpace(l.Method + " " + l.Host + l.Path), l.Rule, l.Address, l.Request})
	}
	return printTable(cmd, t)
}

func (c *control) searchRecord(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	ask, err := decodeBody[recordSearch](r)
	if err != nil {
		return nil, err
	}
	if err := ask.checkLimit(); err != nil {
		return nil, err
	}
	found, err := c.admin.SearchRecordFor(ctx, actor, ask.Filter, ask.Limit, searchTime)
	return found, err
}

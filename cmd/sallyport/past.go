package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"sallyport/access"
	"sallyport/admin"
	"sallyport/directory"
	"sallyport/policy"
)

// people are the users and groups, as they are or as they were.
type people interface {
	policy.Organization
	Users() []*directory.User
	Groups() []directory.Group
}

// asOf is what a question is about beside the rules: people, and what was granted to them, at a time.
type asOf struct {
	people
	time   time.Time
	grants access.GrantsOf
	user   func(name string) (*directory.User, error)
	facts  *asOfFacts // nil for now
}

// asOfFacts say what an answer about the past rests on.
type asOfFacts struct {
	Time     time.Time `json:"time"`
	Revision uint64    `json:"revision"` // that the directory had
	Rules    string    `json:"rules"`
}

// present returns what is true now.
func (q *questions) present(ctx context.Context, actor admin.Actor) asOf {
	return asOf{people: q.directory, time: time.Now().UTC(), grants: q.grants.Of,
		user: func(name string) (*directory.User, error) { return q.user(ctx, actor, name) }}
}

func (a asOf) scope(b reachRequest) access.Scope {
	return access.Scope{Method: b.Method, Path: b.Path, Address: b.Address, Time: a.time, Organization: a, Grants: a.grants}
}

// asOf returns what is true at a time; nil is now.
func (q *questions) asOf(ctx context.Context, actor admin.Actor, at *time.Time) (asOf, error) {
	if at == nil {
		return q.present(ctx, actor), nil
	}
	past, err := q.directory.At(ctx, *at)
	if err != nil {
		return asOf{}, err
	}
	grants, err := q.grants.At(ctx, *at)
	if err != nil {
		return asOf{}, err
	}
	return asOf{people: past, time: past.Time, grants: grants,
		user:  func(name string) (*directory.User, error) { return admin.FindPastUser(past, name) },
		facts: &asOfFacts{past.Time, past.Revision, "in force today"}}, nil
}

// note tells what an answer about the past rests on, in the formats that have no place for it.
func (f *asOfFacts) note(cmd *cobra.Command) {
	if format, _ := cmd.Flags().GetString("output"); f != nil && (format == "table" || format == "csv") {
		fmt.Fprintf(cmd.ErrOrStderr(), "note: the directory, grants and reviews are those of %s, revision %d; the rules are those %s\n",
			f.Time.UTC().Format(time.RFC3339), f.Revision, f.Rules)
	}
}

// timeValue is the value of a flag: a time, or a day, which means its end in UTC.
type timeValue struct{ at **time.Time }

// addAtFlag adds the flag --at to c. Without it, at stays nil.
func addAtFlag(c *cobra.Command, at **time.Time, usage string) {
	c.Flags().Var(&timeValue{at}, "at", usage+", such as 2026-05-03T18:00:00+02:00, or a day such as 2026-05-03, which means its end in UTC, or now if it is today")
}

// Type implements the interface of a flag's value.
func (*timeValue) Type() string { return "TIME" }

// String implements the interface of a flag's value.
func (v *timeValue) String() string {
	if v.at == nil || *v.at == nil {
		return ""
	}
	return (*v.at).Format(time.RFC3339)
}

// Set implements the interface of a flag's value.
func (v *timeValue) Set(text string) error {
	at, err := parseAt(text, time.Now())
	if err == nil {
		*v.at = &at
	}
	return err
}

var dayPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^\d{4}-\d{2}-\d{2}$`) })

// parseAt parses a time or a day. A day means its last nanosecond, or now if that is in the future.
func parseAt(text string, now time.Time) (time.Time, error) {
	if dayPattern().MatchString(text) {
		if day, err := time.Parse(time.DateOnly, text); err == nil {
			end := day.AddDate(0, 0, 1).Add(-1)
			if now = now.UTC(); end.After(now) && !day.After(now) {
				return now, nil
			}
			return end, nil
		}
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is no time; write one such as 2026-05-03T18:00:00+02:00, or a day such as 2026-05-03", text)
	}
	return at.UTC(), nil
}

// atQuery returns the query of a request about a time.
func atQuery(at *time.Time) string {
	return "?at=" + url.QueryEscape(at.UTC().Format(time.RFC3339Nano))
}

// timeOf returns the time that a request is about; ok is false if that is now.
func timeOf(r *http.Request) (at time.Time, ok bool, err error) {
	text := r.URL.Query().Get("at")
	if text == "" {
		return time.Time{}, false, nil
	}
	at, err = time.Parse(time.RFC3339Nano, text)
	return at, err == nil, err
}

// showAtCommand adds the flag --at to a command that shows one thing. past prints the thing as it was.
func showAtCommand(c *cobra.Command, usage string, past func(cmd *cobra.Command, name string, at *time.Time) error) *cobra.Command {
	var at *time.Time
	addAtFlag(c, &at, usage)
	present := c.RunE
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if at == nil {
			return present(cmd, args)
		}
		return past(cmd, args[0], at)
	}
	return c
}

func showPastGroup(cmd *cobra.Command, name string, at *time.Time) error {
	client, err := newControlClient(cmd)
	if err != nil {
		return err
	}
	var g admin.PastGroup
	if err := client.call(cmd.Context(), http.MethodGet, "/groups/"+url.PathEscape(name)+atQuery(at), nil, &g); err != nil {
		return err
	}
	noteRevision(cmd, fmt.Sprintf("the group %s (%s) had %d members", g.Name, g.ID, len(g.Members)), g.Time, g.Revision)
	t := table{heads: []string{"member", "kind", "since", "by", "revision"}, values: g}
	for _, m := range g.Members {
		since, by, revision := "before the history begins", "", ""
		if m.Since != nil {
			since, revision = m.Since.UTC().Format(time.RFC3339), strconv.FormatUint(m.Revision, 10)
		}
		if m.By != nil {
			by = cmp.Or(strings.TrimSpace(m.By.Kind+" "+m.By.Name), "not recorded")
		}
		t.rows = append(t.rows, []string{cmp.Or(m.Name, m.ID), m.Kind, since, by, revision})
	}
	return printTable(cmd, t)
}

func showPastUser(cmd *cobra.Command, name string, at *time.Time) error {
	client, err := newControlClient(cmd)
	if err != nil {
		return err
	}
	var u admin.PastUser
	if err := client.call(cmd.Context(), http.MethodGet, "/users/"+url.PathEscape(name)+atQuery(at), nil, &u); err != nil {
		return err
	}
	noteRevision(cmd, "the user was", u.Time, u.Revision)
	return printTable(cmd, table{heads: append(userHeads(), "groups"), rows: [][]string{append(userRow(u.User), strings.Join(u.Groups, ", "))}, values: u})
}

// noteRevision tells of which time and revision a table is.
func noteRevision(cmd *cobra.Command, what string, at time.Time, revision uint64) {
	if format, _ := cmd.Flags().GetString("output"); format == "table" || format == "csv" {
		fmt.Fprintf(cmd.ErrOrStderr(), "note: %s at %s, revision %d\n", printable(what), at.UTC().Format(time.RFC3339), revision)
	}
}

// errBearerAt means that a token is asked about at a time that is over.
var errBearerAt = errors.New("--at goes with --user, --app and --anonymous: whether a token was valid then is not known")

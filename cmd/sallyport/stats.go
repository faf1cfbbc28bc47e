package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sallyport/admin"
	"sallyport/audit/rollup"
	"sallyport/duration"
)

// The control socket's operations about figures.

func (c *control) figures(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	q, err := decodeBody[admin.FiguresQuery](r)
	if err != nil {
		return nil, err
	}
	return c.admin.Figures(ctx, actor, q)
}

func (c *control) lastUses(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	q, err := decodeBody[rollup.UsesQuery](r)
	if err != nil {
		return nil, err
	}
	for i, name := range q.Users {
		if strings.HasPrefix(name, "app:") {
			continue
		}
		if q.Users[i], err = c.admin.FindUser(ctx, actor, name); err != nil {
			return nil, err
		}
	}
	return c.admin.LastUses(ctx, actor, q)
}

// heatRequest asks for the heat map of a route.
type heatRequest struct{ Route, Zone string }

func (c *control) heat(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	q, err := decodeBody[heatRequest](r)
	if err != nil {
		return nil, err
	}
	return c.admin.Heat(ctx, actor, q.Route, q.Zone)
}

func statsCommand() *cobra.Command {
	c := &cobra.Command{Use: "stats", Short: "Print figures of the running server: requests, rules, last uses, busy hours",
		Long: "Print figures of the running server, or of all replicas. They come from the audit record and are held in memory: after a start\n" +
			"the record is read again, the newest lines first."}
	c.AddCommand(statsRequestsCommand(), statsRulesCommand(), statsUsesCommand(), statsHoursCommand(), statsReplicasCommand())
	return c
}

// askStats asks the running server for figures, and says of which replicas they are not.
func askStats[T any](cmd *cobra.Command, method, path string, ask any, out *T, from func(T) admin.Sources) error {
	client, err := newControlClient(cmd)
	if err != nil {
		return err
	}
	if err := client.call(cmd.Context(), method, path, ask, out); err != nil {
		return err
	}
	for _, m := range from(*out).Missing {
		fmt.Fprintf(cmd.ErrOrStderr(), "note: without %s: %s\n", printable(m.Replica), printable(m.Why))
	}
	return nil
}

func statsRequestsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "requests",
		Short: "Print how many requests were allowed and denied and why, how long they took, pushes and cuts",
		Long: "Print how many requests were allowed and denied and why, how long they took, how many pushes there were, and how many requests were\n" +
			"cut and how soon after the push. Denied requests of nobody who is signed in are not counted here: /metrics has them. -o json has the figures over time.",
		Example: "  sallyport stats requests --since 7d\n" +
			"  sallyport stats requests --by route -o json",
		Args: cobra.NoArgs,
	}
	addOutputFlag(c)
	since := c.Flags().String("since", "24h", "how far `BACK`, such as 90m or 7d; at most 400d")
	route := c.Flags().String("route", "", "of this `ROUTE` alone")
	by := c.Flags().String("by", "reason", "tell requests apart by `WHAT`: reason or route")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		span, err := duration.Parse(*since)
		if err != nil {
			return err
		}
		ask := admin.FiguresQuery{Since: span}
		ask.Route = *route
		switch *by {
		case "route":
			ask.By = rollup.ByRoute
		case "reason":
		default:
			return fmt.Errorf("requests cannot be told apart by %q; write reason or route", *by)
		}
		if span <= 0 {
			return errors.New("--since must be a time back from now, such as 24h")
		}
		var f admin.Figures
		if err := askStats(cmd, http.MethodPost, "/figures", ask, &f, func(f admin.Figures) admin.Sources { return f.Sources }); err != nil {
			return err
		}
		if f.Begins.After(f.From) {
			fmt.Fprintf(cmd.ErrOrStderr(), "note: what happened before %s is not counted\n", f.Begins.UTC().Format(time.RFC3339))
		}
		return printTable(cmd, figuresTable(f))
	}
	return c
}

// figuresTable returns the sums of figures as a table.
func figuresTable(f admin.Figures) table {
	t := table{heads: []string{"figure", "value"}, values: f}
	row := func(name string, value any) { t.rows = append(t.rows, []string{name, fmt.Sprint(value)}) }
	for _, one := range f.Requests {
		decision := "denied: "
		if one.Allow {
			decision = "allowed: "
		}
		row(decision+one.Route+one.Reason, one.Total)
	}
	summary := f.Summarize()
	row("requests allowed", summary.Allowed)
	row("requests denied", summary.Denied)
	for _, took := range []struct {
		name string
		took *time.Duration
	}{
		{"half of the requests took at most", summary.P50}, {"99 % of the requests took at most", summary.P99},
		{"half of the cuts came within", summary.RevokeP50}, {"99 % of the cuts came within", summary.RevokeP99},
	} {
		if took.took != nil {
			row(took.name, rounded(*took.took))
		}
	}
	row("pushes", summary.Pushes)
	row("requests cut", summary.Cuts)
	return t
}

// rounded returns a duration with three digits or so.
func rounded(d time.Duration) string {
	for unit := time.Microsecond; ; unit *= 10 {
		if d < 1000*unit {
			return d.Round(unit).String()
		}
	}
}

func statsRulesCommand() *cobra.Command {
	c := &cobra.Command{Use: "rules", Short: "Print how often each rule decided, and when last", Example: "  sallyport stats rules", Args: cobra.NoArgs}
	addOutputFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		var uses admin.RuleUses
		if err := askStats(cmd, http.MethodGet, "/rule-uses", nil, &uses, func(u admin.RuleUses) admin.Sources { return u.Sources }); err != nil {
			return err
		}
		t := table{heads: []string{"rule", "hits", "reported", "last"}, values: uses}
		for _, u := range uses.Rules {
			t.rows = append(t.rows, []string{u.Rule, strconv.FormatUint(u.Hits, 10), strconv.FormatUint(u.Reported, 10), formatTime(&u.Last)})
		}
		return printTable(cmd, t)
	}
	return c
}

func statsUsesCommand() *cobra.Command {
	c := &cobra.Command{Use: "uses", Short: "Print who used which route last, and when", Example: "  sallyport stats uses --route grafana", Args: cobra.NoArgs}
	addOutputFlag(c)
	route := c.Flags().String("route", "", "of this `ROUTE` alone")
	user := c.Flags().String("user", "", "of this `USER` alone: a userName, e-mail address, externalId or id; or app: and the client id of an application")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		ask := rollup.UsesQuery{Route: *route}
		if *user != "" {
			ask.Users = []string{*user}
		}
		var uses admin.Uses
		if err := askStats(cmd, http.MethodPost, "/uses", ask, &uses, func(u admin.Uses) admin.Sources { return u.Sources }); err != nil {
			return err
		}
		t := table{heads: []string{"user", "route", "last"}, values: uses}
		for _, u := range uses.Uses {
			t.rows = append(t.rows, []string{cmp.Or(u.Name, u.User), u.Route, formatTime(&u.Time)})
		}
		return printTable(cmd, t)
	}
	return c
}

func statsHoursCommand() *cobra.Command {
	c := &cobra.Command{Use: "hours", Short: "Print at which hours of the week requests were allowed, over 14 days", Example: "  sallyport stats hours --route grafana --zone Europe/Berlin", Args: cobra.NoArgs}
	addOutputFlag(c)
	route := c.Flags().String("route", "", "of this `ROUTE` alone")
	zone := c.Flags().String("zone", "UTC", "the time `ZONE`, such as Europe/Berlin")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		var heat admin.Heat
		if err := askStats(cmd, http.MethodPost, "/heat", heatRequest{*route, *zone}, &heat, func(h admin.Heat) admin.Sources { return h.Sources }); err != nil {
			return err
		}
		t := table{heads: []string{"day"}, values: heat}
		for hour := range 24 {
			t.heads = append(t.heads, fmt.Sprintf("%02d", hour))
		}
		for day, hours := range heat.Heat {
			row := []string{time.Weekday(day).String()[:3]}
			for _, n := range hours {
				row = append(row, strconv.FormatUint(n, 10))
			}
			t.rows = append(t.rows, row)
		}
		return printTable(cmd, t)
	}
	return c
}

func statsReplicasCommand() *cobra.Command {
	c := &cobra.Command{Use: "replicas", Short: "Print how each replica is: version, live requests, upstreams that are down, certificates", Example: "  sallyport stats replicas -o json", Args: cobra.NoArgs}
	addOutputFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		var all admin.Replicas
		if err := askStats(cmd, http.MethodGet, "/replicas", nil, &all, func(r admin.Replicas) admin.Sources { return admin.Sources{Missing: r.Missing} }); err != nil {
			return err
		}
		t := table{heads: []string{"replica", "version", "started", "state", "live", "down", "certificate_ends"}, values: all}
		for _, r := range all.Replicas {
			t.rows = append(t.rows, replicaRow(r))
		}
		return printTable(cmd, t)
	}
	return c
}

func replicaRow(r admin.ReplicaFacts) []string {
	state, ends := cmp.Or(r.Stale, r.Record, r.Store, "ready"), "none"
	var down []string
	for _, u := range r.Upstreams {
		if u.Down > 0 {
			down = append(down, fmt.Sprintf("%s %d/%d", u.Route, u.Down, u.Targets))
		}
	}
	var first time.Time
	for _, c := range r.Certificates {
		if first.IsZero() || c.Expires.Before(first) {
			first, ends = c.Expires, c.Expires.UTC().Format(time.DateOnly)
		}
	}
	return []string{cmp.Or(r.Replica, "this server"), r.Version, formatTime(&r.Started), state, strconv.Itoa(r.Live), cmp.Or(strings.Join(down, ", "), "none"), ends}
}

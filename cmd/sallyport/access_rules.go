package main

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sallyport/access"
	"sallyport/admin"
)

// settled calls ask until what it returns was computed since the call, or ctx ends.
func settled[V any](ctx context.Context, ask func() (V, admin.Computed)) (V, error) {
	began := time.Now()
	for {
		value, state := ask()
		if state.Err != "" || !state.At.IsZero() && (!state.Renewing || state.At.After(began)) {
			return value, state.Error()
		}
		if ctx.Err() != nil {
			return value, ctx.Err()
		}
		time.Sleep(time.Millisecond) // ask waits longer, unless a computation rests
	}
}

func (c *control) routeCounts(ctx context.Context, actor admin.Actor) ([]admin.RouteCount, error) {
	return settled(ctx, func() ([]admin.RouteCount, admin.Computed) { return c.admin.RouteCounts(ctx, actor) })
}

// wayIn is how many people reach a route as members of a group by a rule.
type wayIn struct {
	Group   string `json:"group,omitempty"` // displayName; "" for no membership
	ID      string `json:"group_id,omitempty"`
	Members int    `json:"members,omitempty"` // of the group
	Rule    string `json:"rule"`
	Effect  string `json:"effect"`
	Text    string `json:"text"`
	People  int    `json:"people"` // whom the rule lets in, or keeps out of a part
}

// waysIn responds with the numbers of the picture of a route.
func (c *control) waysIn(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	route, err := c.admin.Route(ctx, actor, r.PathValue("route"))
	if err != nil {
		return nil, noSuchRoute(r.PathValue("route"), c.questions.rules().Routes())
	}
	picture, err := settled(ctx, func() (access.Picture, admin.Computed) {
		picture, state, err := c.admin.RoutePicture(ctx, actor, route.Name)
		if err != nil {
			state.Err = err.Error()
		}
		return picture, state
	})
	if err != nil {
		return nil, err
	}
	groups, rules, list := map[string]access.PictureGroup{}, map[string]access.PictureRule{}, []wayIn{}
	for _, g := range picture.Groups {
		groups[g.Group.ID] = g
	}
	for _, rule := range picture.Rules {
		rules[rule.Name] = rule
	}
	for _, e := range picture.Edges {
		g, rule := groups[e.Group].Group, rules[e.Rule]
		list = append(list, wayIn{g.DisplayName, g.ID, g.Members, e.Rule, rule.Effect, rule.Text, e.Users})
	}
	for _, rule := range picture.Rules {
		if rule.Effect == "deny" {
			list = append(list, wayIn{Rule: rule.Name, Effect: rule.Effect, Text: rule.Text, People: rule.Users})
		}
	}
	return list, nil
}

// ruleFacts are a rule in force, and what the directory shows about it.
type ruleFacts struct {
	admin.RuleView

	Findings []admin.Fault `json:"findings,omitempty"`
}

func (c *control) ruleFacts(ctx context.Context, actor admin.Actor) ([]ruleFacts, error) {
	findings, err := settled(ctx, func() ([]admin.Fault, admin.Computed) { return c.admin.Findings(ctx, actor) })
	if err != nil {
		return nil, err
	}
	list := []ruleFacts{}
	for _, v := range c.admin.RuleViews(ctx, actor) {
		list = append(list, ruleFacts{v, v.Of(findings)})
	}
	return list, nil
}

func accessRoutesCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "routes",
		Short:   "List the routes in force, and how many people and applications reach each",
		Example: "  sallyport access routes",
		Args:    cobra.NoArgs,
	}
	addOutputFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		var list []admin.RouteCount
		if err := callGet(cmd, "/routes", &list); err != nil {
			return err
		}
		t := table{heads: []string{"route", "place", "people", "applications", "anyone", "policies", "owner"}, values: list}
		for _, r := range list {
			t.rows = append(t.rows, []string{r.Name, r.Host + r.Path, strconv.Itoa(r.Reach.Users), strings.Join(r.Reach.Apps, ", "), yesNo(r.Reach.Anyone), strings.Join(r.Policies, ", "), r.Owner})
		}
		return printTable(cmd, t)
	}
	return c
}

func accessHowCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "how",
		Short:   "Say by which groups and rules people reach a route, in numbers",
		Long:    "Say by which groups and rules people reach a route, in numbers. A person in two groups counts in both. Without a group stands whom\na rule lets in by no membership; of a deny rule, the number is of those whom it keeps out of a part.",
		Example: "  sallyport access how --route grafana",
		Args:    cobra.NoArgs,
	}
	route := c.Flags().String("route", "", "the `NAME` of the route (required)")
	_ = c.MarkFlagRequired("route")
	addOutputFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		var list []wayIn
		if err := callGet(cmd, "/routes/"+url.PathEscape(*route), &list); err != nil {
			return err
		}
		t := table{heads: []string{"group", "members", "rule", "effect", "text", "people"}, values: list}
		for _, w := range list {
			members := ""
			if w.ID != "" {
				members = strconv.Itoa(w.Members)
			}
			t.rows = append(t.rows, []string{w.Group, members, w.Rule, w.Effect, w.Text, strconv.Itoa(w.People)})
		}
		return printTable(cmd, t)
	}
	return c
}

func accessRulesCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "rules",
		Short: "List the rules in force, which routes use them, and what is odd about them",
		Long: "List the rules in force, which routes use them, and what is odd about them: rules that others make superfluous or void, and groups, users\n" +
			"and roles that nobody pushed. `sallyport stats rules` prints how often each decided.",
		Example: "  sallyport access rules -o json",
		Args:    cobra.NoArgs,
	}
	addOutputFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		var list []ruleFacts
		if err := callGet(cmd, "/rules", &list); err != nil {
			return err
		}
		t := table{heads: []string{"rule", "effect", "text", "routes", "odd"}, values: list}
		for _, r := range list {
			odd := r.Notes
			for _, f := range r.Findings {
				odd = append(odd, f.Problem)
			}
			effect := strings.TrimSpace(r.Effect + " " + r.Mode)
			t.rows = append(t.rows, []string{r.Rule, effect, r.Text, strings.Join(r.Routes, ", "), strings.Join(odd, "; ")})
		}
		return printTable(cmd, t)
	}
	return c
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"sallyport/admin"
)

func scimShowCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "show NUMBER",
		Short: "Show one push: request, response, what it changed and how it deviated from the RFCs; no values",
		Long: "Show one push: its request, its response, what it changed and how it deviated from the RFCs. Values that were sent are not\n" +
			"remembered. `scim log` prints the number of each push.",
		Example: "  sallyport scim show 1207",
		Args:    cobra.ExactArgs(1),
	}
	addOutputFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if _, err := pushNumber(args[0]); err != nil {
			return err
		}
		var p admin.Push
		if err := callGet(cmd, "/exchanges/"+url.PathEscape(args[0]), &p); err != nil {
			return err
		}
		return printPush(cmd, p)
	}
	return c
}

func printPush(cmd *cobra.Command, p admin.Push) error {
	t := table{heads: []string{"fact", "value"}, values: p}
	add := func(fact, value string) {
		if value != "" {
			t.rows = append(t.rows, []string{fact, value})
		}
	}
	add("number", strconv.FormatUint(p.Number, 10))
	add("time", formatTime(&p.Time))
	add("token", p.Token)
	add("from", p.Address)
	add("request", p.Method+" "+p.Target)
	add("response", strconv.Itoa(p.Code)+" in "+strconv.FormatFloat(p.Milliseconds, 'f', 1, 64)+" ms")
	add("outcome", p.Outcome)
	add("problem", p.Problem)
	add("resource", strings.TrimSpace(p.Kind+" "+p.Resource))
	add("name", p.Name)
	for _, change := range p.Changes {
		add("changed", change)
	}
	for _, quirk := range p.QuirkNames() {
		add("quirk", quirk)
	}
	add("enforced", p.Enforced)
	return printTable(cmd, t)
}

func pushNumber(text string) (uint64, error) {
	number, err := strconv.ParseUint(text, 10, 64)
	if err != nil || number == 0 {
		return 0, fmt.Errorf("%q is no number of a push; `sallyport scim log` prints them", text)
	}
	return number, nil
}

func (c *control) push(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	number, err := pushNumber(r.PathValue("number"))
	if err != nil {
		return nil, err
	}
	p, err := c.admin.Push(ctx, actor, number)
	if errors.Is(err, admin.ErrNoPush) {
		return nil, fmt.Errorf("%w; `sallyport scim log` prints them", err)
	}
	return p, err
}

// held responds with every held deactivation, and what each person would lose.
func (c *control) held(ctx context.Context, actor admin.Actor, _ *http.Request) (any, error) {
	return c.admin.HeldPeople(ctx, actor, 0, maxHeld)
}

// maxHeld is how many held deactivations are listed: what each person would lose is computed. Those that wait longest come first.
const maxHeld = 1_000

// losses says in words what a person would lose.
func losses(p admin.HeldPerson) string {
	if p.Barred != "" {
		return "nothing: " + p.Barred
	}
	var parts []string
	for _, list := range []struct {
		what  string
		names []string
		count int
	}{{"groups", p.Groups, p.GroupCount}, {"routes", p.Routes, p.RouteCount}} {
		if list.count == 0 {
			continue
		}
		text := list.what + ": " + strings.Join(list.names, ", ")
		if more := list.count - len(list.names); more > 0 {
			text += fmt.Sprintf(" and %d more", more)
		}
		parts = append(parts, text)
	}
	if p.Sessions > 0 {
		parts = append(parts, fmt.Sprintf("sessions: %d", p.Sessions))
	}
	if p.Grants > 0 {
		parts = append(parts, fmt.Sprintf("grants: %d", p.Grants))
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, "; ")
}

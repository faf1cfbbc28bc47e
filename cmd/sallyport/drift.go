package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"sallyport/admin"
)

func scimDriftCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "drift",
		Short: "List the groups that rules name and that were not pushed, and people who signed in and were not pushed",
		Long: "List the groups that rules name and that were not pushed, and people who signed in at the identity provider in the last 30 days\n" +
			"and were not pushed. The people are looked for in the record, for a bounded time: a note says if older sign-ins were not looked at.\n" +
			"While the server runs, the groups that the newest tokens of people name are compared with those that were pushed, too.",
		Example: "  sallyport scim drift",
		Args:    cobra.NoArgs,
	}
	addOutputFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		var d admin.Drift
		if err := callGet(cmd, "/drift", &d); err != nil {
			return err
		}
		noteMissing(cmd, d.Missing)
		noteTokens(cmd, d.Tokens)
		if d.More {
			fmt.Fprintf(cmd.ErrOrStderr(), "note: there may be more people; sign-ins before %s were not looked at\n", formatTime(&d.Since))
		}
		return printTable(cmd, driftTable(d))
	}
	return c
}

func driftTable(d admin.Drift) table {
	t := table{heads: []string{"kind", "name", "id", "because", "last"}, values: d}
	for _, g := range d.Groups {
		t.rows = append(t.rows, []string{"group", g.Name, g.ID, "named by " + strings.Join(g.Policies, ", "), ""})
	}
	for _, s := range d.Strangers {
		because := fmt.Sprintf("denied %d times", s.Count)
		if s.Claim != "" {
			because += fmt.Sprintf(": no user has the claim %s as %s", s.Claim, s.Attribute)
		}
		t.rows = append(t.rows, []string{"person", cmp.Or(s.Name, s.Value), s.Value, because, formatTime(&s.Last)})
	}
	if d.Tokens == nil {
		return t
	}
	for _, g := range d.Tokens.Groups {
		t.rows = append(t.rows, []string{"token group", g.Name, "", fmt.Sprintf("tokens of %d people name it, and it was not pushed", g.Users), ""})
	}
	for _, p := range d.Tokens.People {
		var because []string
		if p.Unpushed.Total > 0 {
			because = append(because, "not pushed into "+someGroups(p.Unpushed))
		}
		if p.Unnamed.Total > 0 {
			because = append(because, "the token does not name "+someGroups(p.Unnamed))
		}
		t.rows = append(t.rows, []string{"token person", p.UserName, p.ID, strings.Join(because, "; "), formatTime(&p.At)})
	}
	return t
}

// someGroups names some of the groups of a list, and says how many more there are.
func someGroups(list admin.GroupList) string {
	var names []string
	for _, g := range list.Groups {
		names = append(names, cmp.Or(g.Name, g.ID))
	}
	text := strings.Join(names, ", ")
	if more := list.Total - len(names); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// noteTokens says what the comparison with tokens leaves out.
func noteTokens(cmd *cobra.Command, tokens *admin.TokenDrift) {
	if tokens == nil {
		return
	}
	noteMissing(cmd, tokens.Missing)
	if tokens.MoreGroups {
		fmt.Fprintf(cmd.ErrOrStderr(), "note: tokens name more groups that were not pushed than these\n")
	}
	if len(tokens.People) < tokens.Differing {
		fmt.Fprintf(cmd.ErrOrStderr(), "note: tokens of %d people name other groups than were pushed; these are %d of them\n", tokens.Differing, len(tokens.People))
	}
}

// noteMissing names the replicas that did not respond.
func noteMissing(cmd *cobra.Command, missing []admin.Missing) {
	for _, m := range missing {
		fmt.Fprintf(cmd.ErrOrStderr(), "note: without what the replica %s has: %s\n", printable(cmp.Or(m.Replica, "of unknown name")), printable(m.Why))
	}
}

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
			"and were not pushed. The people are looked for in the record, for a bounded time: a note says if older sign-ins were not looked at.",
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
	return t
}

// noteMissing names the replicas that did not respond.
func noteMissing(cmd *cobra.Command, missing []admin.Missing) {
	for _, m := range missing {
		fmt.Fprintf(cmd.ErrOrStderr(), "note: without what the replica %s has: %s\n", printable(cmp.Or(m.Replica, "of unknown name")), printable(m.Why))
	}
}

package main

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sallyport/scim"
)

func scimCommand() *cobra.Command {
	c := &cobra.Command{Use: "scim", Short: "What the identity provider pushes"}
	held := &cobra.Command{Use: "held", Short: "Deactivations beyond scim.max_deactivations, which wait for a human"}
	held.AddCommand(heldListCommand(),
		heldDecisionCommand("release", "Carry held deactivations out now: of the users named, or of all", "released"),
		heldDecisionCommand("reject", "Refuse held deactivations for a day, of the users named, or of all: they stay active", "rejected"))
	c.AddCommand(held, scimLogCommand())
	return c
}

func heldListCommand() *cobra.Command {
	return listCommand("list", "List the users whose deactivation is held, and those for whom it was rejected", "/held",
		[]string{"id", "userName", "since", "rejected"}, func(h heldView) []string {
			rejected := ""
			if h.Rejected != nil {
				rejected = moment(h.Rejected)
			}
			return []string{h.ID, h.UserName, moment(&h.Since), rejected}
		})
}

func heldDecisionCommand(verb, short, done string) *cobra.Command {
	return &cobra.Command{
		Use:   verb + " [USER...]",
		Short: short,
		Long:  short + ". A USER is a userName or an id of `scim held list`.",
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := newOperator(cmd)
			if err != nil {
				return err
			}
			n := map[string]int{}
			if err := o.ask(cmd.Context(), http.MethodPost, "/held/"+verb, decision{args}, &n); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d %s\n", n[done], done)
			return nil
		},
	}
}

func scimLogCommand() *cobra.Command {
	c := &cobra.Command{Use: "log", Short: "What the identity provider asked for lately, and what came of it (no values, only names)", Args: cobra.NoArgs}
	n := c.Flags().Int("last", 100, "how many exchanges to show; 10,000 are kept")
	refused := c.Flags().Bool("refused", false, "only those that were refused")
	addOutputFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		o, err := newOperator(cmd)
		if err != nil {
			return err
		}
		var entries []scim.LogEntry
		if err := o.ask(cmd.Context(), http.MethodGet, "/exchanges?n="+strconv.Itoa(*n), nil, &entries); err != nil {
			return err
		}
		if *refused {
			entries = slices.DeleteFunc(entries, func(e scim.LogEntry) bool { return e.Code < 400 })
		}
		slices.Reverse(entries) // the newest stands where one looks
		return show(cmd, logTable(entries))
	}
	return c
}

func logTable(entries []scim.LogEntry) table {
	t := table{heads: []string{"time", "token", "request", "code", "ms", "changes", "quirks"}, values: entries}
	for _, e := range entries {
		outcome := strings.Join(e.Changes, ", ")
		if e.Problem != "" {
			outcome = e.Problem
		}
		t.rows = append(t.rows, []string{e.Time.UTC().Format(time.RFC3339), e.Token, e.Method + " " + e.Target, strconv.Itoa(e.Code),
			strconv.FormatFloat(e.Milliseconds, 'f', 1, 64), outcome, strings.Join(e.QuirkNames(), " ")})
	}
	return t
}

package main

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sallyport/admin"
	"sallyport/scim"
)

func scimCommand() *cobra.Command {
	c := &cobra.Command{Use: "scim", Short: "Show what the identity provider pushed and what it did not, and decide about held deactivations"}
	held := &cobra.Command{Use: "held", Short: "Decide about deactivations beyond scim.max_deactivations, which wait for an operator"}
	held.AddCommand(heldListCommand(), heldReleaseCommand(), heldRejectCommand())
	c.AddCommand(held, scimLogCommand(), scimShowCommand(), scimDriftCommand())
	return c
}

func heldListCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "list",
		Short:   "List the users whose deactivation is held or was rejected, and what each would lose",
		Long:    fmt.Sprintf("List the users whose deactivation is held or was rejected, and what each would lose: %d of them at most, those first that\nwait longest.", maxHeld),
		Example: "  sallyport scim held list",
		Args:    cobra.NoArgs,
	}
	addOutputFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		client, err := newControlClient(cmd)
		if err != nil {
			return err
		}
		var found admin.HeldPeople
		if err := client.call(cmd.Context(), http.MethodGet, "/held", nil, &found); err != nil {
			return err
		}
		if all := found.Waiting + found.Rejected; len(found.People) < all {
			fmt.Fprintf(cmd.ErrOrStderr(), "note: %d of %d, of which %d wait; decide about these, then list the others\n", len(found.People), all, found.Waiting)
		}
		return printTable(cmd, heldTable(found.People))
	}
	return c
}

// heldTable returns held deactivations as a table.
func heldTable(people []admin.HeldPerson) table {
	t := table{heads: []string{"id", "userName", "since", "rejected", "loses"}, values: people}
	for _, h := range people {
		rejected := ""
		if h.Rejected != nil {
			rejected = formatTime(h.Rejected)
		}
		t.rows = append(t.rows, []string{h.ID, h.UserName, formatTime(&h.Since), rejected, losses(h)})
	}
	return t
}

func heldReleaseCommand() *cobra.Command {
	return heldCommand("release", "sallyport scim held release ada@example.com", "Carry out held deactivations now: of the named users, or of all",
		func(cmd *cobra.Command, client *controlClient, users []string) error {
			var count releasedCount
			err := client.call(cmd.Context(), http.MethodPost, "/held/release", holdDecision{users}, &count)
			return printDecided(cmd, count.Released, "released", err)
		})
}

func heldRejectCommand() *cobra.Command {
	return heldCommand("reject", "sallyport scim held reject ada@example.com", "Reject held deactivations for a day, of the named users, or of all: they stay active",
		func(cmd *cobra.Command, client *controlClient, users []string) error {
			var count rejectedCount
			err := client.call(cmd.Context(), http.MethodPost, "/held/reject", holdDecision{users}, &count)
			return printDecided(cmd, count.Rejected, "rejected", err)
		})
}

// printDecided prints how many holds were decided about. None is an error.
func printDecided(cmd *cobra.Command, n int, decision string, err error) error {
	switch {
	case err != nil:
		return err
	case n == 0:
		return fmt.Errorf("no deactivation waits for a decision; nothing was %s", decision)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%d %s\n", n, decision)
	return nil
}

func heldCommand(use, example, short string, decide func(*cobra.Command, *controlClient, []string) error) *cobra.Command {
	return &cobra.Command{
		Use:     use + " [USER...]",
		Short:   short,
		Example: "  " + example,
		Long:    short + ". A USER is a userName or an ID, as `scim held list` shows them.",
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := newControlClient(cmd)
			if err != nil {
				return err
			}
			return decide(cmd, client, args)
		},
	}
}

func scimLogCommand() *cobra.Command {
	c := &cobra.Command{Use: "log", Short: "Show the latest pushes and their results: names of attributes, but no values", Example: "  sallyport scim log --refused", Args: cobra.NoArgs}
	n := c.Flags().Int("last", 100, "how many `PUSHES` to show; 10,000 are kept")
	refused := c.Flags().Bool("refused", false, "only those that were refused, of all that are kept")
	addOutputFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		client, err := newControlClient(cmd)
		if err != nil {
			return err
		}
		path := "/exchanges?n=" + strconv.Itoa(*n)
		if *refused {
			path += "&refused"
		}
		var entries []scim.LogEntry
		if err := client.call(cmd.Context(), http.MethodGet, path, nil, &entries); err != nil {
			return err
		}
		slices.Reverse(entries) // the newest last, next to the prompt
		return printTable(cmd, logTable(entries))
	}
	return c
}

func logTable(entries []scim.LogEntry) table {
	t := table{heads: []string{"time", "token", "request", "code", "ms", "changes", "quirks", "number"}, values: entries}
	for _, e := range entries {
		result := strings.Join(e.Changes, ", ")
		if e.Problem != "" {
			result = e.Problem
		}
		if e.Enforced != "" && e.Problem == "" {
			result += "; " + e.Enforced
		}
		if e.Address != "" {
			result += ", from " + e.Address
		}
		t.rows = append(t.rows, []string{e.Time.UTC().Format(time.RFC3339), e.Token, e.Method + " " + e.Target, strconv.Itoa(e.Code),
			strconv.FormatFloat(e.Milliseconds, 'f', 1, 64), result, strings.Join(e.QuirkNames(), " "), strconv.FormatUint(e.Number, 10)})
	}
	return t
}

package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

func usersCommand() *cobra.Command {
	c := &cobra.Command{Use: "users", Short: "The users your identity provider pushed"}
	c.AddCommand(listCommand("list", "List the users", "/users", []string{"id", "userName", "externalId", "name", "active", "suspended"},
		func(u userView) []string {
			return []string{u.ID, u.UserName, u.ExternalID, u.Name, strconv.FormatBool(u.Active), u.Suspended}
		}), suspendCommand(), unsuspendCommand())
	return c
}

func groupsCommand() *cobra.Command {
	c := &cobra.Command{Use: "groups", Short: "The groups your identity provider pushed"}
	c.AddCommand(listCommand("list", "List the groups", "/groups", []string{"id", "name", "externalId", "members"},
		func(g groupView) []string { return []string{g.ID, g.Name, g.ExternalID, strconv.Itoa(g.Members)} }))
	return c
}

func sessionsCommand() *cobra.Command {
	c := &cobra.Command{Use: "sessions", Short: "Who is signed in"}
	c.AddCommand(listCommand("list", "List the live sessions", "/sessions", []string{"id", "user", "address", "began", "used", "expires"},
		func(s sessionView) []string {
			return []string{s.ID, s.UserName, s.Address, moment(&s.Began), moment(&s.Used), moment(&s.Expires)}
		}), sessionsEndCommand())
	return c
}

func sessionsEndCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "end ID",
		Short: "End a session (or all of one user's, with --user) on every host at once",
		Args:  cobra.MaximumNArgs(1),
	}
	user := c.Flags().String("user", "", "end every session of the user with this `ID`")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if (*user == "") == (len(args) == 0) {
			return fmt.Errorf("say which: a session ID, or --user ID")
		}
		path := "/users/" + url.PathEscape(*user) + "/sessions"
		if *user == "" {
			path = "/sessions/" + url.PathEscape(args[0])
		}
		o, err := newOperator(cmd)
		if err != nil {
			return err
		}
		var n struct{ Ended int }
		if err := o.ask(cmd.Context(), http.MethodDelete, path, nil, &n); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%d ended\n", n.Ended)
		return nil
	}
	return c
}

// listCommand is a verb that shows what GET path answers, one row a thing.
func listCommand[T any](use, short, path string, heads []string, row func(T) []string) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs}
	addOutputFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		o, err := newOperator(cmd)
		if err != nil {
			return err
		}
		var things []T
		if err := o.ask(cmd.Context(), http.MethodGet, path, nil, &things); err != nil {
			return err
		}
		t := table{heads: heads, values: things}
		for _, thing := range things {
			t.rows = append(t.rows, row(thing))
		}
		return show(cmd, t)
	}
	return c
}

// moment prints a time, or "never" where there is none.
func moment(t *time.Time) string {
	if t == nil {
		return "never"
	}
	return t.UTC().Format(time.RFC3339)
}

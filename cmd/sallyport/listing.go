package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

func tokenCommand() *cobra.Command {
	c := &cobra.Command{Use: "token", Short: "Tokens that let an identity provider push users and groups"}
	c.AddCommand(tokenCreateCommand(), tokenListCommand(), tokenRevokeCommand())
	return c
}

func tokenCreateCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a token and print it, once",
		Long:  "Make a token and print it, once. Only a digest is kept. Several tokens live side by side, so that one can be replaced without a gap.",
		Args:  cobra.ExactArgs(1),
	}
	ttl := c.Flags().Duration("expires-in", 365*24*time.Hour, "how long it is valid; 0 for ever")
	addOutputFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		o, err := newOperator(cmd)
		if err != nil {
			return err
		}
		var t tokenView
		if err := o.ask(cmd.Context(), http.MethodPost, "/tokens", tokenRequest{args[0], *ttl}, &t); err != nil {
			return err
		}
		fmt.Fprintln(cmd.ErrOrStderr(), "This token is shown once. Paste it into the provisioning settings as the secret token.")
		return show(cmd, table{[]string{"id", "name", "token", "expires"},
			[][]string{{t.ID, t.Name, t.Token, moment(t.Expires)}}, t})
	}
	return c
}

func tokenListCommand() *cobra.Command {
	return listCommand("list", "List the tokens, their age and last use", "/tokens", []string{"id", "name", "created", "expires", "last used"},
		func(t tokenView) []string {
			return []string{t.ID, t.Name, moment(&t.Created), moment(t.Expires), moment(t.LastUsed)}
		})
}

func tokenRevokeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "revoke ID",
		Short: "Make a token worthless at once",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := newOperator(cmd)
			if err != nil {
				return err
			}
			return o.ask(cmd.Context(), http.MethodDelete, "/tokens/"+url.PathEscape(args[0]), nil, nil)
		},
	}
}

func scimCommand() *cobra.Command {
	c := &cobra.Command{Use: "scim", Short: "What the identity provider pushes"}
	held := &cobra.Command{Use: "held", Short: "Deactivations beyond scim.max_deactivations, which wait for a human"}
	held.AddCommand(listCommand("list", "List the users whose deactivation is held", "/held", []string{"userName"},
		func(h heldView) []string { return []string{h.UserName} }), releaseCommand())
	c.AddCommand(held)
	return c
}

func releaseCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "release",
		Short: "Let deactivations through again; the identity provider sends them anew by itself",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := newOperator(cmd)
			if err != nil {
				return err
			}
			var n struct{ Released int }
			if err := o.ask(cmd.Context(), http.MethodDelete, "/held", nil, &n); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d released\n", n.Released)
			return nil
		},
	}
}

func usersCommand() *cobra.Command {
	c := &cobra.Command{Use: "users", Short: "The users your identity provider pushed"}
	c.AddCommand(listCommand("list", "List the users", "/users", []string{"id", "userName", "externalId", "name", "active"},
		func(u userView) []string {
			return []string{u.ID, u.UserName, u.ExternalID, u.Name, strconv.FormatBool(u.Active)}
		}))
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

package main

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"sallyport/admin"
)

func sessionsCommand() *cobra.Command {
	c := &cobra.Command{Use: "sessions", Short: "List and end sessions"}
	c.AddCommand(listCommand("list", "List the live sessions", "sessions list", "/sessions",
		[]string{"id", "user", "address", "began", "used", "expires"},
		func(s admin.Session) []string {
			if s.BreakGlass != "" {
				s.UserName += " (break-glass)"
			}
			return []string{s.ID, s.UserName, s.Address, formatTime(&s.Began), formatTime(&s.Used), formatTime(&s.Expires)}
		}), sessionsEndCommand())
	return c
}

func sessionsEndCommand() *cobra.Command {
	return endCommand("sessions", "a session ID", "session", "end every session of this `USER`: a userName, e-mail address, externalId or id", &cobra.Command{
		Use:   "end ID",
		Short: "End a session, or all sessions of a user (--user), on every host at once",
		Example: "  sallyport sessions end 3q2-7wEjRz0\n" +
			"  sallyport sessions end --user ada@example.com",
	})
}

// endCommand makes c a command that ends one of a kind, by its id, or all of a user. kind is the path of the kind on the
// control socket; id and name are what its ids and its members are called; usage describes the flag --user.
func endCommand(kind, id, name, usage string, c *cobra.Command) *cobra.Command {
	c.Args = cobra.MaximumNArgs(1)
	user := c.Flags().String("user", "", usage)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if (*user == "") == (len(args) == 0) {
			return fmt.Errorf("say which: %s, or --user USER", id)
		}
		path := "/users/" + url.PathEscape(*user) + "/" + kind
		if *user == "" {
			path = "/" + kind + "/" + url.PathEscape(args[0])
		}
		client, err := newControlClient(cmd)
		if err != nil {
			return err
		}
		var count endedCount
		if err := client.call(cmd.Context(), http.MethodDelete, path, nil, &count); err != nil {
			return err
		}
		if count.Ended == 0 {
			return fmt.Errorf("%s has no live %s; nothing was ended", *user, name)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%d ended\n", count.Ended)
		return nil
	}
	return c
}

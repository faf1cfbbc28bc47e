package main

import (
	"errors"
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
	c := &cobra.Command{
		Use:   "end ID",
		Short: "End a session, or all sessions of a user (--user), on every host at once",
		Example: "  sallyport sessions end 3q2-7wEjRz0\n" +
			"  sallyport sessions end --user ada@example.com",
		Args: cobra.MaximumNArgs(1),
	}
	user := c.Flags().String("user", "", "end every session of this `USER`: a userName, e-mail address, externalId or id")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if (*user == "") == (len(args) == 0) {
			return errors.New("say which: a session ID, or --user USER")
		}
		path := "/users/" + url.PathEscape(*user) + "/sessions"
		if *user == "" {
			path = "/sessions/" + url.PathEscape(args[0])
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
			return fmt.Errorf("%s has no live session; nothing was ended", *user)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%d ended\n", count.Ended)
		return nil
	}
	return c
}

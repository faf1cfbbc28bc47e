package main

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"sallyport/admin"
)

func tokenCommand() *cobra.Command {
	c := &cobra.Command{Use: "token", Short: "Create, list, rotate and revoke the tokens with which an identity provider pushes"}
	c.AddCommand(tokenCreateCommand(), tokenListCommand(), tokenRotateCommand(), tokenRevokeCommand())
	return c
}

const (
	defaultTokenTTL     = 365 * 24 * time.Hour
	defaultTokenOverlap = 24 * time.Hour
)

func tokenCreateCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "create NAME",
		Short: "Create a token and print it, once",
		Long: "Create a token and print it, once. Only a digest of it is stored. Several tokens can be valid at the same time, so that one can be\n" +
			"replaced without a gap.",
		Example: "  sallyport token create entra --expires-in 90d",
		Args:    cobra.ExactArgs(1),
	}
	ttl := durationFlag(c, "expires-in", defaultTokenTTL, "how `LONG` it is valid, such as 90d or 12h; 0 for ever")
	addOutputFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		return printNewToken(cmd, "/tokens", newToken{args[0], *ttl})
	}
	return c
}

// printNewToken has the control socket create a token and prints it.
func printNewToken(cmd *cobra.Command, path string, in any) error {
	client, err := newControlClient(cmd)
	if err != nil {
		return err
	}
	var t admin.Token
	if err := client.call(cmd.Context(), http.MethodPost, path, in, &t); err != nil {
		return err
	}
	fmt.Fprintln(cmd.ErrOrStderr(), "This token is shown once. Paste it into the provisioning settings as the secret token.")
	return printTable(cmd, table{[]string{"id", "name", "token", "expires"},
		[][]string{{t.ID, t.Name, string(t.Text), formatTime(t.Expires)}}, t})
}

func tokenRotateCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "rotate TOKEN",
		Short: "Create the successor of a token and print it, once; the old token stays valid for a while",
		Long: "Create the successor of a token and print it, once. The old token stays valid for a while (--overlap). TOKEN is the name or the id of the\n" +
			"old one, as `sallyport token list` shows them.",
		Example: "  sallyport token rotate entra --overlap 2h",
		Args:    cobra.ExactArgs(1),
	}
	ttl := durationFlag(c, "expires-in", defaultTokenTTL, "how `LONG` the new token is valid, such as 90d or 12h; 0 for ever")
	overlap := durationFlag(c, "overlap", defaultTokenOverlap, "how `LONG` the old token stays valid, such as 2h")
	addOutputFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		return printNewToken(cmd, "/tokens/"+url.PathEscape(args[0])+"/successor", rotation{*ttl, *overlap})
	}
	return c
}

// formatAge returns how long ago t was, in the largest unit that fits twice.
func formatAge(t time.Time) string {
	d := time.Since(t)
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dm", d/time.Minute)
}

func tokenListCommand() *cobra.Command {
	c := listCommand("list", "List the tokens, their age, and whether they were used", "token list", "/tokens",
		[]string{"id", "name", "age", "state", "expires", "last used (to 10 minutes)"},
		func(t admin.Token) []string {
			state := "valid"
			if t.Expired {
				state = "expired"
			}
			if t.Damaged {
				state = "damaged"
			}
			return []string{t.ID, t.Name, formatAge(t.Created), state, formatTime(t.Expires), formatTime(t.LastUsed)}
		})
	c.Long = c.Short + ". A use is stored once in ten minutes, so the last one may be that much later\nthan is shown."
	return c
}

func tokenRevokeCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "revoke TOKEN",
		Short:   "Make a token invalid at once",
		Long:    "Make a token invalid at once. TOKEN is its name or its id, as `sallyport token list` shows them.",
		Example: "  sallyport token revoke entra",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := newControlClient(cmd)
			if err != nil {
				return err
			}
			var t admin.Token
			if err := client.call(cmd.Context(), http.MethodDelete, "/tokens/"+url.PathEscape(args[0]), nil, &t); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "revoked %s (%s)\n", t.Name, t.ID)
			return nil
		},
	}
}

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
		Args: cobra.ExactArgs(1),
	}
	ttl := c.Flags().Duration("expires-in", defaultTokenTTL, "how long it is valid; 0 for ever")
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
		Use:   "rotate ID",
		Short: "Create the successor of a token and print it, once; the old token stays valid for a while",
		Args:  cobra.ExactArgs(1),
	}
	ttl := c.Flags().Duration("expires-in", defaultTokenTTL, "how long the new token is valid; 0 for ever")
	overlap := c.Flags().Duration("overlap", defaultTokenOverlap, "how long the old token stays valid")
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
	return listCommand("list", "List the tokens, their age and last use", "/tokens", []string{"id", "name", "age", "expires", "last used"},
		func(t admin.Token) []string {
			return []string{t.ID, t.Name, formatAge(t.Created), formatTime(t.Expires), formatTime(t.LastUsed)}
		})
}

func tokenRevokeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "revoke ID",
		Short: "Make a token invalid at once",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := newControlClient(cmd)
			if err != nil {
				return err
			}
			return client.call(cmd.Context(), http.MethodDelete, "/tokens/"+url.PathEscape(args[0]), nil, nil)
		},
	}
}

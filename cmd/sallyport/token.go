package main

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"
)

func tokenCommand() *cobra.Command {
	c := &cobra.Command{Use: "token", Short: "Tokens that let an identity provider push users and groups"}
	c.AddCommand(tokenCreateCommand(), tokenListCommand(), tokenRotateCommand(), tokenRevokeCommand())
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
		return mint(cmd, "/tokens", tokenRequest{args[0], *ttl})
	}
	return c
}

// mint asks for a new token and prints it.
func mint(cmd *cobra.Command, path string, in any) error {
	o, err := newOperator(cmd)
	if err != nil {
		return err
	}
	var t tokenView
	if err := o.ask(cmd.Context(), http.MethodPost, path, in, &t); err != nil {
		return err
	}
	fmt.Fprintln(cmd.ErrOrStderr(), "This token is shown once. Paste it into the provisioning settings as the secret token.")
	return show(cmd, table{[]string{"id", "name", "token", "expires"},
		[][]string{{t.ID, t.Name, t.Token, moment(t.Expires)}}, t})
}

func tokenRotateCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "rotate ID",
		Short: "Make a token's successor and print it, once; the old one lives on for a while",
		Args:  cobra.ExactArgs(1),
	}
	ttl := c.Flags().Duration("expires-in", 365*24*time.Hour, "how long the new one is valid; 0 for ever")
	overlap := c.Flags().Duration("overlap", 24*time.Hour, "how long the old one lives on")
	addOutputFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		return mint(cmd, "/tokens/"+url.PathEscape(args[0])+"/successor", rotation{*ttl, *overlap})
	}
	return c
}

// age is how long ago t was, in its largest unit.
func age(t time.Time) string {
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
		func(t tokenView) []string {
			return []string{t.ID, t.Name, age(t.Created), moment(t.Expires), moment(t.LastUsed)}
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

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"sallyport/admin"
	"sallyport/policy"
)

func removeUserCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "remove USER",
		Short: "Delete a user whom the identity provider forgot to delete",
		Long: "Delete a user whom the identity provider forgot to delete, with every membership and session. USER is a userName, an e-mail address,\n" +
			"an externalId or an id. To shut somebody out, suspend them instead: who is still pushed comes back as a new user.",
		Example: "  sallyport users remove ada@example.com",
		Args:    cobra.ExactArgs(1),
	}
	yes := addYesFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := newControlClient(cmd)
		if err != nil {
			return err
		}
		var u admin.User
		if err := client.call(cmd.Context(), http.MethodGet, "/users/"+url.PathEscape(args[0]), nil, &u); err != nil {
			return err
		}
		state := "inactive"
		if u.Active {
			state = "active"
		}
		if err := confirm(cmd, *yes, fmt.Sprintf("the %s user %s (id %s)", state, u.UserName, u.ID), u.UserName); err != nil {
			return err
		}
		var count suspendedCount
		if err := client.call(cmd.Context(), http.MethodDelete, "/users/"+u.ID, nil, &count); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s removed; %d sessions ended\n", printable(u.UserName), count.SessionsEnded)
		return nil
	}
	return c
}

func removeGroupCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "remove GROUP",
		Short: "Delete a group that the identity provider forgot to delete",
		Long: "Delete a group that the identity provider forgot to delete, with every membership. GROUP is a name, an externalId or an id.\n" +
			"A group that a rule names is not removed: a rule that denies its members would deny nobody.",
		Example: "  sallyport groups remove \"Old project\"",
		Args:    cobra.ExactArgs(1),
	}
	yes := addYesFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := newControlClient(cmd)
		if err != nil {
			return err
		}
		var g admin.Group
		if err := client.call(cmd.Context(), http.MethodGet, "/groups/"+url.PathEscape(args[0]), nil, &g); err != nil {
			return err
		}
		if client.rulesName(g) {
			return fmt.Errorf("a rule names the group %s; take it out of the rules first", printable(g.Name))
		}
		if err := confirm(cmd, *yes, fmt.Sprintf("the group %s (id %s) with %d members", g.Name, g.ID, g.Members), g.Name); err != nil {
			return err
		}
		if err := client.call(cmd.Context(), http.MethodDelete, "/groups/"+g.ID, nil, nil); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s removed\n", printable(g.Name))
		return nil
	}
	return c
}

// rulesName reports whether a rule of the configuration names the group; false if the file cannot be read.
func (c *controlClient) rulesName(g admin.Group) bool {
	if c.file == nil {
		return false
	}
	for _, ref := range policy.GroupsIn(append(slices.Clone(c.file.Policies), c.file.Console.Policy())) {
		if ref.ID != "" && ref.ID == g.ExternalID || ref.ID == "" && strings.EqualFold(ref.Name, g.Name) {
			return true
		}
	}
	return false
}

func addYesFlag(c *cobra.Command) *bool {
	return c.Flags().Bool("yes", false, "do not ask for the name again")
}

// maxConfirmation bounds what is read of a confirmation, in bytes.
const maxConfirmation = 8 << 10

// confirm returns nil if --yes is given or the operator writes the name of what is to be removed again.
func confirm(cmd *cobra.Command, yes bool, what, name string) error {
	if yes {
		return nil
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "This removes %s for good.\nWrite its name again to confirm: ", printable(what))
	line, err := bufio.NewReader(io.LimitReader(cmd.InOrStdin(), maxConfirmation)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading the confirmation: %w", err)
	}
	if strings.TrimSpace(line) != strings.TrimSpace(name) {
		return fmt.Errorf("nothing was removed: %q is not the name that was asked for; write %s, or run the command with --yes", strings.TrimSpace(line), printable(name))
	}
	return nil
}

func (c *control) user(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	at, past, err := timeOf(r)
	switch {
	case err != nil:
		return nil, err
	case past:
		return c.admin.UserAt(ctx, actor, r.PathValue("user"), at)
	}
	return c.admin.UserFacts(ctx, actor, r.PathValue("user"))
}

func (c *control) removeUser(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	ended, err := c.admin.RemoveUser(ctx, actor, r.PathValue("user"))
	return suspendedCount{ended}, err
}

func (c *control) group(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	at, past, err := timeOf(r)
	switch {
	case err != nil:
		return nil, err
	case past:
		return c.admin.GroupAt(ctx, actor, r.PathValue("group"), at)
	}
	return c.admin.GroupFacts(ctx, actor, r.PathValue("group"))
}

func (c *control) removeGroup(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	return struct{}{}, c.admin.RemoveGroup(ctx, actor, r.PathValue("group"))
}

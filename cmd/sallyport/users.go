package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"sallyport/admin"
)

func usersCommand() *cobra.Command {
	c := &cobra.Command{Use: "users", Short: "List, find, show, suspend, unsuspend and remove users"}
	c.AddCommand(findUsersCommand(listCommand("list", "List the users that the identity provider pushed, and deleted ones who are suspended", "users list -o csv\n  sallyport users list --search lovelace", "/users", userHeads(), userRow)),
		showAtCommand(showCommand("show USER", "Show a user, by userName, e-mail address, externalId or id", "users show ada@example.com", "/users/", userHeads(),
			func(u admin.UserFacts) []string { return userRow(u.User) }),
			"the user as they were at a `TIME`", showPastUser),
		historyCommand("history USER", "List what changed about a user, and who changed it", "users history ada@example.com", "users"),
		suspendCommand(), unsuspendCommand(), removeUserCommand())
	return c
}

func userHeads() []string {
	return []string{"id", "userName", "externalId", "name", "active", "suspended"}
}

func userRow(u admin.User) []string {
	suspended := u.Suspended
	if u.Deleted {
		suspended += " (deleted)"
	}
	active := strconv.FormatBool(u.Active)
	if u.Damaged {
		active = "damaged"
	}
	return []string{u.ID, u.UserName, u.ExternalID, u.Name, active, suspended}
}

func groupsCommand() *cobra.Command {
	c := &cobra.Command{Use: "groups", Short: "List, find, show and remove groups"}
	c.AddCommand(findGroupsCommand(listCommand("list", "List the groups that the identity provider pushed", "groups list\n  sallyport groups list --search payroll", "/groups", groupHeads(), groupRow)),
		showAtCommand(showCommand("show GROUP", "Show a group, by name, externalId or id", "groups show Payroll --at 2026-05-03", "/groups/", groupHeads(),
			func(g admin.GroupFacts) []string { return groupRow(g.Group) }),
			"the group's members at a `TIME`, since when, and who made them members", showPastGroup),
		historyCommand("history GROUP", "List what changed about a group and its members, and who changed it", "groups history Payroll", "groups"), removeGroupCommand())
	return c
}

func groupHeads() []string { return []string{"id", "name", "externalId", "members"} }

func groupRow(g admin.Group) []string {
	return []string{g.ID, g.Name, g.ExternalID, strconv.Itoa(g.Members)}
}

func suspendCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "suspend USER",
		Short: "Deny a user everything at once, whatever the identity provider says, until unsuspend",
		Long: "Deny a user everything at once, whatever the identity provider says, until unsuspend. USER is a userName, an e-mail address, an\n" +
			"externalId or an id. Their live requests are cut, and their sessions end for ever. A suspension survives a restart and every push, and whoever is\n" +
			"deleted and created again with the same externalId or userName is still suspended.",
		Example: "  sallyport users suspend ada@example.com --reason \"laptop stolen\"",
		Args:    cobra.ExactArgs(1),
	}
	reason := c.Flags().String("reason", "", "`WHY`; it is recorded (required)")
	_ = c.MarkFlagRequired("reason")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := newControlClient(cmd)
		if err != nil {
			return err
		}
		var count suspendedCount
		if err := client.call(cmd.Context(), http.MethodPost, suspensionPath(args[0]), suspension{*reason}, &count); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "suspended; %d sessions ended\n", count.SessionsEnded)
		return nil
	}
	return c
}

func unsuspendCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "unsuspend USER",
		Short:   "End a suspension: the user may do again what the rules allow, after signing in again",
		Example: "  sallyport users unsuspend ada@example.com",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := newControlClient(cmd)
			if err != nil {
				return err
			}
			if err := client.call(cmd.Context(), http.MethodDelete, suspensionPath(args[0]), nil, nil); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is no longer suspended\n", args[0])
			return nil
		},
	}
}

func suspensionPath(user string) string { return "/users/" + url.PathEscape(user) + "/suspension" }

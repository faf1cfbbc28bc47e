package main

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sallyport/admin"
)

func requestCommand() *cobra.Command {
	c := &cobra.Command{Use: "request", Short: "List, show, approve and deny requests for access"}
	show := showCommand("show ID", "Show a request, who may approve it, when the person last had the access, and who else has it", "request show 5d0f1c2ab9e04d11", "/requests/",
		[]string{"id", "user", "policy", "route", "state", "approvals", "made", "expires", "url", "reason", "approvers", "last until", "others"}, requestDetail)
	c.AddCommand(listCommand("list", "List the requests for access, the newest first", "request list -o json", "/requests",
		[]string{"id", "user", "policy", "route", "state", "approvals", "made", "reason"}, requestRow), show, approveCommand(), denyCommand())
	return c
}

func requestRow(v admin.RequestView) []string {
	return []string{v.ID, v.Person.UserName, v.Policy, v.Route, string(v.State), approvalsText(v), formatTime(&v.Made), v.Reason}
}

func approvalsText(v admin.RequestView) string {
	if v.Needed == 0 { // the policy cannot be requested any more
		return fmt.Sprint(len(v.Approvals))
	}
	return fmt.Sprintf("%d of %d", len(v.Approvals), v.Needed)
}

func requestDetail(v admin.RequestView) []string {
	last := "never"
	if v.LastGrant != nil {
		end := v.LastGrant.End()
		last = formatTime(&end)
	}
	others := strings.Join(v.Others, " ")
	if more := v.OthersCount - len(v.Others); more > 0 {
		others += fmt.Sprintf(" and %d more", more)
	}
	return []string{v.ID, v.Person.UserName, v.Policy, v.Route, string(v.State), approvalsText(v), formatTime(&v.Made), formatTime(&v.Expires), v.URL, v.Reason,
		strings.Join(v.Approvers, " "), last, others}
}

func approveCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "approve ID",
		Short: "Approve a request for access: the person is let in until the time is over",
		Long: "Approve a request for access. An operator counts as all who must approve, so that the grant begins at once: the person is let in as the\n" +
			"policy says until the time is over, they leave or are suspended, or the grant is revoked (`sallyport grants revoke`).",
		Example: "  sallyport request approve 5d0f1c2ab9e04d11 --for 4h --reason \"on call tonight\"",
		Args:    cobra.ExactArgs(1),
	}
	lasting := durationFlag(c, "for", 0, "how `LONG` the access lasts, at most the policy's max (default 1h, or max if that is less)")
	reason := c.Flags().String("reason", "", "`WHY`; it is recorded")
	addOutputFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := newControlClient(cmd)
		if err != nil {
			return err
		}
		if cmd.Flags().Changed("for") && *lasting < time.Minute {
			return admin.ErrDuration
		}
		var g admin.Grant
		if err := client.call(cmd.Context(), http.MethodPost, requestPath(args[0])+"/approval", approval{*reason, *lasting}, &g); err != nil {
			return err
		}
		return printTable(cmd, table{grantHeads, [][]string{grantRow(g)}, g})
	}
	return c
}

func denyCommand() *cobra.Command {
	return refuseCommand("deny ID", "Deny a request for access", `sallyport request deny 5d0f1c2ab9e04d11 --reason "ask your manager first"`, "denied", func(id string) string { return requestPath(id) + "/denial" })
}

// refuseCommand returns a command that posts the reason for which an operator takes something away.
func refuseCommand(use, short, example, done string, path func(id string) string) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Example: "  " + example, Args: cobra.ExactArgs(1)}
	reason := c.Flags().String("reason", "", "`WHY`; it is recorded, and the person can read it (required)")
	_ = c.MarkFlagRequired("reason")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := newControlClient(cmd)
		if err != nil {
			return err
		}
		if err := client.call(cmd.Context(), http.MethodPost, path(args[0]), refusal{*reason}, nil); err != nil {
			return err
		}
		fmt.Fprintln(cmd.OutOrStdout(), done)
		return nil
	}
	return c
}

func requestPath(id string) string { return "/requests/" + url.PathEscape(id) }

func grantsCommand() *cobra.Command {
	c := &cobra.Command{Use: "grants", Short: "List and revoke grants: access for a while, which was asked for"}
	c.AddCommand(grantsListCommand(), refuseCommand("revoke ID", "End a grant at once: live requests that only it lets in are cut", `sallyport grants revoke 5d0f1c2ab9e04d11 --reason "the incident is over"`, "revoked",
		func(id string) string { return "/grants/" + url.PathEscape(id) + "/revocation" }))
	return c
}

func grantsListCommand() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List the grants that are open, the newest first", Example: "  sallyport grants list --all", Args: cobra.NoArgs}
	all := c.Flags().Bool("all", false, "list those of the last 400 days that have ended, too")
	addOutputFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		grants, err := listGrants(cmd, *all)
		if err != nil {
			return err
		}
		t := table{heads: grantHeads, values: grants}
		for _, g := range grants {
			t.rows = append(t.rows, grantRow(g))
		}
		return printTable(cmd, t)
	}
	return c
}

func listGrants(cmd *cobra.Command, all bool) (grants []admin.Grant, err error) {
	client, err := newControlClient(cmd)
	if err != nil {
		return nil, err
	}
	path := "/grants"
	if all {
		path += "?all"
	}
	return grants, client.call(cmd.Context(), http.MethodGet, path, nil, &grants)
}

var grantHeads = []string{"id", "user", "policy", "route", "state", "began", "until", "approved by", "why it ended"}

func grantRow(g admin.Grant) []string {
	end := g.End()
	return []string{g.ID, g.Person.UserName, g.Policy, g.Route, string(g.State), formatTime(&g.Began), formatTime(&end), strings.Join(g.By, ", "), endText(g)}
}

// endText says who ended a grant, and why; "" for one that is open or ended by itself.
func endText(g admin.Grant) string {
	return strings.Join(slices.DeleteFunc([]string{g.EndedBy, g.Why}, func(s string) bool { return s == "" }), ": ")
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sallyport/admin"
	"sallyport/grant"
)

func accessReviewCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "review",
		Short: "Review who still needs the access that they have",
		Long: "Review who still needs the access that they have: a row for each user who reaches a route and each rule that lets them\n" +
			"in, with the time at which the rule last did. To revoke a row makes its memberships of groups stop counting at once,\n" +
			"until the identity provider has removed them.",
	}
	c.AddCommand(reviewStartCommand(), reviewListCommand(), reviewShowCommand(),
		reviewDecideCommand(grant.DecisionKeep, "Keep access: note that it is still needed, or lift a revocation",
			"Note that the access of rows is still needed. Of rows that were revoked, this lifts the revocation: the memberships count\nagain, unless another row revoked them too or the identity provider has removed them."),
		reviewDecideCommand(grant.DecisionRevoke, "Revoke the memberships of rows, at once",
			"Revoke the memberships of rows: from now on they do not count in any allow rule of any route, open requests that depended\non them are cut, and it stays so until the identity provider has removed them (`memberships` lists them for its\nadministrator). They still count in deny rules and in unless_groups."),
		reviewDecideCommand(grant.DecisionAsk, "Note that somebody is asked before rows are decided",
			"Note that somebody is asked before rows are decided. It changes nobody's access."),
		reviewMembershipsCommand(), reviewExportCommand(), reviewKeyCommand(), reviewVerifyCommand(), reviewCloseCommand())
	return c
}

func reviewStartCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "start",
		Short:   "Start a review of everybody who reaches a route",
		Long:    "Start a review of everybody who reaches a route by the rules in force and the directory of now, and print its rows' number.",
		Example: "  sallyport access review start --route payroll --due 14d --reviewer manager",
		Args:    cobra.NoArgs,
	}
	var ask reviewStart
	c.Flags().StringVar(&ask.Route, "route", "", "the `NAME` of the route (required)")
	_ = c.MarkFlagRequired("route")
	due := durationFlag(c, "due", 14*day, "for how `LONG` the review is open before it is overdue, such as 14d")
	c.Flags().StringVar((*string)(&ask.Reviewer), "reviewer", "", "`WHO` decides beside operators: manager (of each user) or owner (of the route)")
	files := addRecordFlag(c)
	addOutputFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		ask.Due = *due
		if ask.Files, err = absolutePaths(*files); err != nil {
			return err
		}
		var started admin.ReviewView
		if err := callReview(cmd, http.MethodPost, "/reviews", ask, &started); err != nil {
			return err
		}
		if !started.Begins.IsZero() {
			fmt.Fprintf(cmd.ErrOrStderr(), "note: the record begins at %s; a rule that was never used was not used since then\n", started.Begins.UTC().Format(time.RFC3339))
		}
		return printReviews(cmd, []admin.ReviewView{started}, started)
	}
	return c
}

func callReview(cmd *cobra.Command, method, path string, in, out any) error {
	client, err := newControlClient(cmd)
	if err != nil {
		return err
	}
	return client.call(cmd.Context(), method, path, in, out)
}

func reviewPath(id, more string) string { return "/reviews/" + url.PathEscape(id) + more }

func printReviews(cmd *cobra.Command, list []admin.ReviewView, values any) error {
	t := table{heads: []string{"id", "route", "state", "due", "rows", "undecided", "keep", "revoke", "ask", "by"}, values: values}
	for _, r := range list {
		state := string(r.State)
		if r.Overdue {
			state = "overdue"
		}
		n := r.Counts
		t.rows = append(t.rows, []string{r.ID, r.Route, state, r.Due.UTC().Format(time.RFC3339), strconv.Itoa(n.Total()), strconv.Itoa(n.Open),
			strconv.Itoa(n.Keep), strconv.Itoa(n.Revoke), strconv.Itoa(n.Ask), r.By})
	}
	return printTable(cmd, t)
}

func reviewListCommand() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List the reviews, and how far each is", Example: "  sallyport access review list", Args: cobra.NoArgs}
	addOutputFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		var list []admin.ReviewView
		if err := callReview(cmd, http.MethodGet, "/reviews", nil, &list); err != nil {
			return err
		}
		return printReviews(cmd, list, list)
	}
	return c
}

func reviewShowCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "show ID",
		Short:   "Show the rows of a review: who reaches the route, by which rule, and when they last did",
		Example: "  sallyport access review show 5d0f1c2ab9e04d11 --decision open",
		Args:    cobra.ExactArgs(1),
	}
	only := c.Flags().String("decision", "", "show only the rows with this `DECISION`: open, keep, revoke or ask")
	addOutputFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if *only != "" && !slices.Contains([]grant.Decision{grant.DecisionOpen, grant.DecisionKeep, grant.DecisionRevoke, grant.DecisionAsk}, grant.Decision(*only)) {
			return fmt.Errorf("--decision %q is not known; write open, keep, revoke or ask", *only)
		}
		var review admin.ReviewView
		if err := callReview(cmd, http.MethodGet, reviewPath(args[0], ""), nil, &review); err != nil {
			return err
		}
		if *only != "" {
			review.Rows = slices.DeleteFunc(review.Rows, func(r admin.ReviewRow) bool { return r.Decision != grant.Decision(*only) })
		}
		t := table{heads: []string{"row", "user", "name", "active", "rule", "memberships", "last use", "reviewer", "decision", "by", "why"}, values: review}
		for _, r := range review.Rows {
			t.rows = append(t.rows, []string{strconv.Itoa(r.Number), r.User.UserName, r.User.DisplayName, yesNo(r.Active), r.Rule, membershipsText(r), lastUse(r.LastUse),
				r.Reviewer, string(r.Decision), r.By, r.Why})
		}
		return printTable(cmd, t)
	}
	return c
}

func lastUse(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format(time.RFC3339)
}

// membershipsText names the groups of a row, and says of which the membership was revoked or removed.
func membershipsText(r admin.ReviewRow) string {
	var texts []string
	for _, m := range r.Memberships {
		text := m.Name
		switch {
		case slices.Contains(r.Revoked, m.Name):
			text += " (revoked)"
		case !m.Removed.IsZero():
			text += " (removed)"
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, ", ")
}

// reviewDecideCommand returns the command for one decision.
func reviewDecideCommand(decision grant.Decision, short, long string) *cobra.Command {
	c := &cobra.Command{
		Use:     string(decision) + " ID ROW...",
		Short:   short,
		Long:    long,
		Example: fmt.Sprintf("  sallyport access review %s 5d0f1c2ab9e04d11 3 7-9 --reason \"asked their manager\"", decision),
		Args:    cobra.MinimumNArgs(2),
	}
	reason := c.Flags().String("reason", "", "`WHY`, for the record and the export (required)")
	_ = c.MarkFlagRequired("reason")
	addOutputFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		rows, err := parseRows(args[1:])
		if err != nil {
			return err
		}
		var before []admin.ReviewRow
		if err := callReview(cmd, http.MethodPost, reviewPath(args[0], "/decisions"), reviewDecision{rows, decision, *reason}, &before); err != nil {
			return err
		}
		t := table{heads: []string{"row", "user", "rule", "was", "now", "effect"}, values: before}
		for _, r := range before {
			t.rows = append(t.rows, []string{strconv.Itoa(r.Number), r.User.UserName, r.Rule, string(r.Decision), string(decision), effectText(r, decision)})
		}
		return printTable(cmd, t)
	}
	return c
}

// effectText says what a decision changed for the access of a row's user.
func effectText(before admin.ReviewRow, d grant.Decision) string {
	switch {
	case d == grant.DecisionRevoke:
		return "revoked: " + membershipsText(admin.ReviewRow{Row: before.Row})
	case d == grant.DecisionKeep && before.Decision == grant.DecisionRevoke && len(before.Revoked) == 0:
		return "none: the identity provider has removed the membership"
	case d == grant.DecisionKeep && before.Decision == grant.DecisionRevoke && before.Others:
		return "none yet: another row revoked the same membership"
	case d == grant.DecisionKeep && before.Decision == grant.DecisionRevoke:
		return "the revocation is lifted"
	}
	return "none"
}

// maxRowNumber bounds the rows that are named, before the server counts them.
const maxRowNumber = 1_000_000

// parseRows parses the numbers of rows, and ranges such as 3-7.
func parseRows(args []string) (rows []int, err error) {
	for _, arg := range args {
		from, to, isRange := strings.Cut(arg, "-")
		if !isRange {
			to = from
		}
		first, err1 := strconv.Atoi(from)
		last, err2 := strconv.Atoi(to)
		if err := errors.Join(err1, err2); err != nil || first < 1 || last < first || last > maxRowNumber {
			return nil, fmt.Errorf("%q is no row; write a number such as 3, or a range such as 3-7", arg)
		}
		for n := first; n <= last; n++ {
			rows = append(rows, n)
		}
	}
	return rows, nil
}

func reviewMembershipsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "memberships ID",
		Short:   "Print the revoked memberships that the identity provider still has, as CSV for its administrator",
		Example: "  sallyport access review memberships 5d0f1c2ab9e04d11 > remove.csv",
		Args:    cobra.ExactArgs(1),
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		var review admin.ReviewView
		if err := callReview(cmd, http.MethodGet, reviewPath(args[0], ""), nil, &review); err != nil {
			return err
		}
		return writeMemberships(cmd.OutOrStdout(), review)
	}
	return c
}

// writeMemberships writes each membership that is to be removed, once.
func writeMemberships(out io.Writer, review admin.ReviewView) error {
	t, seen := table{heads: []string{"userPrincipalName", "userObjectId", "groupName", "groupObjectId"}}, map[[2]string]bool{}
	for _, r := range review.Rows {
		for _, m := range r.Memberships {
			key := [2]string{r.User.ID, m.Group}
			if r.Decision != grant.DecisionRevoke || !m.Removed.IsZero() || seen[key] {
				continue
			}
			seen[key] = true
			t.rows = append(t.rows, []string{r.User.UserName, r.User.ExternalID, m.Name, m.ObjectID})
		}
	}
	return writeCSV(out, t)
}

func reviewCloseCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "close ID",
		Short:   "Close a review; what was revoked stays so until the identity provider has removed it",
		Example: "  sallyport access review close 5d0f1c2ab9e04d11",
		Args:    cobra.ExactArgs(1),
	}
	addOutputFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		var closed admin.ReviewView
		if err := callReview(cmd, http.MethodPost, reviewPath(args[0], "/close"), nil, &closed); err != nil {
			return err
		}
		if n := closed.Counts.Open + closed.Counts.Ask; n > 0 {
			fmt.Fprintf(cmd.ErrOrStderr(), "note: %d rows were not decided, and the export says so\n", n)
		}
		return printReviews(cmd, []admin.ReviewView{closed}, closed)
	}
	return c
}

// checkReviews warns of reviews that are late. Most installations have none, of which nothing is said.
func (d *doctor) checkReviews(ctx context.Context) {
	var list []admin.ReviewView
	if err := d.client.call(ctx, http.MethodGet, "/reviews", nil, &list); err != nil {
		d.callFailed("reviews", "run `sallyport access review list`, which says more", err)
		return
	}
	var late []string
	for _, r := range list {
		if r.Overdue {
			late = append(late, fmt.Sprintf("%s of %s, %d of %d rows undecided", r.ID, r.Route, r.Counts.Open+r.Counts.Ask, r.Counts.Total()))
		}
	}
	switch {
	case len(late) > 0:
		d.report("reviews", stateWarn, "decide the rows, then `sallyport access review close`", "overdue: %s", someOf(late))
	case len(list) > 0:
		d.pass("reviews", "none is overdue")
	}
}

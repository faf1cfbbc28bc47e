package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"sallyport/access"
	"sallyport/admin"
)

func auditShowCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "show REQUEST",
		Short: "Show one decision by the number of its request, explained as it was made and as it would be made now",
		Long: "Show what the records of all replicas have of one request, by the number on the page that its sender saw: its decision and\n" +
			"whether it was cut. The decision is explained by the directory and the grants of then, and by those of now; the rules are those in\n" +
			"force, since the record does not have those of then: a note says if they may have changed. Exits with 1 if nothing was found.",
		Example: "  sallyport audit show 4f0c2a9b8d7e6f5a4b3c2d1e0f9a8b7c\n" +
			"  sallyport audit show 4f0c2a9b8d7e6f5a4b3c2d1e0f9a8b7c -o json",
		Args: cobra.ExactArgs(1),
	}
	addOutputFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if !admin.IsRequestNumber(args[0]) {
			return errNoNumber(args[0])
		}
		var shown admin.RequestShown
		if err := callGet(cmd, "/decisions/"+url.PathEscape(args[0]), &shown); err != nil {
			return err
		}
		return printShown(cmd, shown)
	}
	return c
}

func (c *control) showRequest(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	return c.admin.ShowRequest(ctx, actor, r.PathValue("request"), searchTime)
}

// printShown prints the events of a request, and for people the explanations of its decision.
func printShown(cmd *cobra.Command, shown admin.RequestShown) error {
	noteMissing(cmd, shown.Story.Missing)
	if shown.Story.Decision == nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "note: the decision was not found\n")
	}
	t := table{heads: []string{"time", "line", "kind", "user", "asked", "route", "decision", "reason", "rule", "rev", "by"}, values: shown}
	for _, e := range shown.Story.Events {
		t.rows = append(t.rows, []string{e.Time.UTC().Format(time.RFC3339Nano), strconv.FormatUint(e.Seq, 10), string(e.Kind), e.UserName, e.Method + " " + e.Host + e.Path, e.Route,
			e.Decision, e.Reason, e.Rule, strconv.FormatUint(e.Revision, 10), e.Actor.Name})
	}
	if err := printTable(cmd, t); err != nil {
		return err
	}
	if format, _ := cmd.Flags().GetString("output"); format == "table" && shown.Then != nil {
		printThenAndNow(cmd, shown)
	}
	return nil
}

func printThenAndNow(cmd *cobra.Command, shown admin.RequestShown) {
	out := cmd.OutOrStdout()
	explanation := func(head string, e *access.Explanation, problem string) {
		fmt.Fprintf(out, "\n%s\n", head)
		if e == nil {
			fmt.Fprintf(out, "cannot be said: %s\n", printable(problem))
			return
		}
		writeExplanation(out, *e)
	}
	then := shown.Then
	head := "THEN, by the rules in force now"
	if then.Explanation != nil {
		head = fmt.Sprintf("THEN, by the directory at revision %d and the rules in force now", then.Revision)
	}
	explanation(head, then.Explanation, then.Problem)
	switch {
	case len(then.Loads) > 0:
		fmt.Fprintf(out, "since the decision, the server was started or its configuration read again %d times: the rules may have been others\n", len(then.Loads))
	case !then.LoadsKnown:
		fmt.Fprintln(out, "whether the rules have changed since the decision is not known here")
	}
	if shown.Changed {
		fmt.Fprintln(out, "by these rules, it would have been decided otherwise than it was")
	}
	explanation("NOW, for somebody who signed in just now", shown.Now, shown.Problem)
}

package main

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"sallyport/admin"
	"sallyport/audit"
	"sallyport/config"
)

func accessReplayCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "replay NEW",
		Short: "Decide the recorded requests again by the rules of a configuration file",
		Long: "Decide the recorded requests again by the rules of the configuration file NEW and the directory of today, and list those\n" +
			"that would be decided otherwise. In the column ALREADY, yes means that the rules in force decide so today, too.\n" +
			"Exits with 2 if there are any.",
		Example:     "  sallyport access replay new.yaml --since 30d",
		Annotations: exits(exitDenied, "recorded requests would be decided otherwise"),
		Args:        cobra.ExactArgs(1),
	}
	since := durationFlag(c, "since", 7*day, "how far back (`LONG`), such as 30d or 12h")
	files := addRecordFlag(c)
	addOutputFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		text, _, err := config.ReadRules(args[0])
		if err != nil {
			return err
		}
		var result admin.Replayed
		if err := callRecord(cmd, "/access/replay", recordRequest{Since: *since, New: namedText{args[0], string(text)}, Files: *files}, &result); err != nil {
			return err
		}
		noteBegin(cmd, *since, result.Begins)
		noteNotRead(cmd, result.Replica, result.NotRead)
		return printFlips(cmd, result)
	}
	return c
}

func callRecord(cmd *cobra.Command, path string, ask recordRequest, out any) error {
	if ask.Since < 0 {
		return errors.New("--since is negative; write how far back, such as 30d")
	}
	var err error
	if ask.Files, err = absolutePaths(ask.Files); err != nil {
		return err
	}
	client, err := newControlClient(cmd)
	if err != nil {
		return err
	}
	return client.call(cmd.Context(), http.MethodPost, path, ask, out)
}

// noteBegin says that the record does not go back as far as asked.
func noteBegin(cmd *cobra.Command, since time.Duration, begins time.Time) {
	if time.Since(begins) < since {
		fmt.Fprintf(cmd.ErrOrStderr(), "note: the record begins at %s; what was recorded before is in files that were put aside, if anywhere\n", begins.UTC().Format(time.RFC3339))
	}
}

func printFlips(cmd *cobra.Command, result admin.Replayed) error {
	if result.Decisions == 0 {
		return errors.New("the record has no decision of that time, so nothing was asked again")
	}
	t := table{heads: []string{"times", "caller", "request", "recorded", "new", "already", "last"}, values: result}
	for _, f := range result.Flips {
		t.rows = append(t.rows, []string{strconv.Itoa(f.Times), f.Caller, f.Method + " " + f.URL, f.Recorded, f.New, yesNo(f.InForce), f.Last.UTC().Format(time.RFC3339)})
	}
	if err := printTable(cmd, t); err != nil {
		return err
	}
	if n := len(result.Flips); n > 0 {
		return fmt.Errorf("%w: %d kinds of requests would be decided otherwise, of %d decisions", errDenied, n, result.Decisions)
	}
	return nil
}

func accessUnusedCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "unused",
		Short: "List the rules, and the groups in rules, that decided no recorded request",
		Long: "List the rules in force that decided no recorded request, and the groups of allow rules of which no member of today\n" +
			"made one. A rule that nobody used may still be wanted: read it before you remove it.",
		Example: "  sallyport access unused --since 90d",
		Args:    cobra.NoArgs,
	}
	since := durationFlag(c, "since", 90*day, "how far back (`LONG`), such as 30d or 12h")
	files := addRecordFlag(c)
	addOutputFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		result := admin.UnusedRules{}
		if err := callRecord(cmd, "/access/unused", recordRequest{Since: *since, Files: *files}, &result); err != nil {
			return err
		}
		noteBegin(cmd, *since, result.Begins)
		noteNotRead(cmd, result.Replica, result.NotRead)
		t := table{heads: []string{"route", "rule", "group"}, values: result}
		for _, u := range result.Unused {
			t.rows = append(t.rows, []string{u.Route, u.Rule, u.Group})
		}
		return printTable(cmd, t)
	}
	return c
}

// explainRequestID prints what the record says of one request.
func explainRequestID(cmd *cobra.Command, id string) error {
	var events []audit.Event
	if err := callRecord(cmd, "/explain/request", recordRequest{Request: id}, &events); err != nil {
		return err
	}
	t := table{heads: []string{"time", "kind", "caller", "request", "route", "decision", "reason", "rule", "rev"}, values: events}
	denied := false
	for _, e := range events {
		denied = denied || e.Decision == "deny"
		t.rows = append(t.rows, []string{e.Time.UTC().Format(time.RFC3339Nano), string(e.Kind), e.UserName, e.Method + " " + e.Host + e.Path, e.Route,
			e.Decision, e.Reason, e.Rule, strconv.FormatUint(e.Revision, 10)})
	}
	if err := printTable(cmd, t); err != nil {
		return err
	}
	if denied {
		return errDenied
	}
	return nil
}

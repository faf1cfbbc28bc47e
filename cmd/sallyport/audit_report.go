package main

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"sallyport/audit"
	"sallyport/audit/receipt"
)

func auditReportCommand() *cobra.Command {
	format := choice{"table", []string{"table", "json", "yaml", "csv", "html"}}
	since, until := boundValue{now: time.Now}, boundValue{now: time.Now, end: true}
	c := &cobra.Command{
		Use:   "report [FILE...]",
		Short: "Print the offboardings of a time, how long they took, and what an auditor asks about",
		Long: "Print the offboardings of a time out of the record, or out of the files named: how many, how long it took from the push to the end of\n" +
			"the last request, and the exceptions: slow ones, cuts without a push, held deactivations, gaps in the record, break-glass codes,\n" +
			"grants for long, an older store that was put in place, and lines that are not signed. In csv there is one row for each offboarding\n" +
			"and each exception. The chain is not checked; see `sallyport audit verify`.",
		Example: "  sallyport audit report --since 90d\n" +
			"  sallyport audit report --since 2026-01-01 --until 2026-03-31 -o html > quarter.html",
		Annotations: exits(exitDenied, "a line of the record was changed"),
	}
	c.Flags().Var(&since, "since", "since when: a time, a day such as 2026-05-03, or how far back, such as 90d; otherwise 90d")
	c.Flags().Var(&until, "until", "until when; otherwise now")
	slow := durationFlag(c, "slow", 5*time.Second, "an offboarding that took longer than `LONG` is an exception")
	grant := durationFlag(c, "grant-over", day, "a grant for longer than `LONG` is an exception")
	for _, name := range []string{"since", "until", "slow", "grant-over"} {
		_ = c.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
	format.addFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		s := receipt.ReportSettings{Since: since.at, Until: until.at, Slow: *slow, Grant: *grant}
		if s.Until.IsZero() {
			s.Until = time.Now().UTC()
		}
		if s.Since.IsZero() {
			s.Since = time.Now().UTC().Add(-90 * day)
		}
		if s.Until.Before(s.Since) {
			return fmt.Errorf("--until (%s) is before --since (%s)", s.Until.Format(time.RFC3339), s.Since.Format(time.RFC3339))
		}
		record, err := findRecord(cmd, args)
		if err != nil {
			return err
		}
		defer record.Close()
		noteAlone(cmd, record)
		made, err := receipt.Make(cmd.Context(), record, s)
		if errors.Is(err, audit.ErrBroken) {
			return fmt.Errorf("%w: %w", errDenied, err)
		}
		if err != nil {
			return err
		}
		if made.Record.Begins.After(s.Since) {
			fmt.Fprintf(cmd.ErrOrStderr(), "note: the record begins at %s", made.Record.Begins.UTC().Format(time.RFC3339))
			if len(made.Replicas) == 0 {
				fmt.Fprintf(cmd.ErrOrStderr(), ", with line %d", made.Record.First)
			}
			fmt.Fprintln(cmd.ErrOrStderr())
		}
		return printReport(cmd, &made, format.value)
	}
	return c
}

func printReport(cmd *cobra.Command, r *receipt.Report, format string) error {
	out := cmd.OutOrStdout()
	switch format {
	case "json":
		return writeJSON(out, r)
	case "yaml":
		return writeYAML(out, r)
	case "html":
		return r.WritePage(out)
	case "csv":
		return writeCSV(out, reportRows(r))
	}
	for _, fact := range r.Facts() {
		fmt.Fprintf(out, "%-30s %s\n", fact[0], fact[1])
	}
	if len(r.Exceptions) == 0 {
		return nil
	}
	fmt.Fprintln(out)
	t := table{heads: []string{"exception", "time", "user", "by", "what", "line", "replica"}}
	for _, e := range r.Exceptions {
		t.rows = append(t.rows, []string{e.Kind, e.Time.UTC().Format(time.RFC3339), e.UserName, e.Actor, e.What, strconv.FormatUint(e.Line, 10), e.Replica})
	}
	return writeTable(out, t)
}

// reportRows returns each offboarding and each exception as a row.
func reportRows(r *receipt.Report) table {
	t := table{heads: []string{"row", "kind", "time", "user", "user_name", "by", "milliseconds", "sessions", "cuts", "returned", "what", "line", "replica"}}
	for _, o := range r.List {
		returned := ""
		if o.Returned != nil {
			returned = o.Returned.UTC().Format(time.RFC3339Nano)
		}
		t.rows = append(t.rows, []string{"offboarding", o.What, o.Time.UTC().Format(time.RFC3339Nano), o.User, o.UserName, o.Actor, strconv.FormatInt(o.Milliseconds, 10),
			strconv.Itoa(o.Sessions), strconv.Itoa(o.Cuts), returned, "", strconv.FormatUint(o.Line, 10), o.Replica})
	}
	for _, e := range r.Exceptions {
		t.rows = append(t.rows, []string{"exception", e.Kind, e.Time.UTC().Format(time.RFC3339Nano), e.User, e.UserName, e.Actor, "", "", "", "", e.What, strconv.FormatUint(e.Line, 10), e.Replica})
	}
	return t
}

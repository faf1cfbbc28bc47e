package main

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"sallyport/access"
	"sallyport/config"
)

func accessCommand() *cobra.Command {
	c := &cobra.Command{Use: "access", Short: "Say who can reach what, and what new rules would change"}
	c.AddCommand(accessWhoCommand(), accessWhatCommand(), accessDiffCommand(), accessReplayCommand(), accessUnusedCommand(), accessRoutesCommand(), accessHowCommand(), accessRulesCommand(), accessReviewCommand())
	return c
}

func accessWhoCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "who",
		Short: "List every user and application that reaches a route, and by which rules",
		Long: "List every user and application that reaches a route, and by which rules. What is not known of the request is a\n" +
			"condition: `sre[0] if methods GET, HEAD`. Exits with 1 if nobody reaches the route.",
		Example:     "  sallyport access who --route payroll --path /salaries --method GET",
		Annotations: exits(exitError, "an error, or nobody reaches the route"),
		Args:        cobra.NoArgs,
	}
	var ask reachRequest
	c.Flags().StringVar(&ask.Route, "route", "", "the `NAME` of the route; every route when absent")
	addScopeFlags(c, &ask)
	addOutputFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error { return printReach(cmd, "/access/who", ask) }
	return c
}

func accessWhatCommand() *cobra.Command {
	c := &cobra.Command{
		Use:         "what",
		Short:       "List the routes that a user reaches, and by which rules",
		Long:        "List the routes that a user reaches, and by which rules. Exits with 1 if there are none.",
		Example:     "  sallyport access what --user ada@example.com",
		Annotations: exits(exitError, "an error, or there is no such route"),
		Args:        cobra.NoArgs,
	}
	var ask reachRequest
	c.Flags().StringVar(&ask.User, "user", "", "the `USER`, by userName, e-mail address, externalId or id (required)")
	_ = c.MarkFlagRequired("user")
	addScopeFlags(c, &ask)
	addOutputFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error { return printReach(cmd, "/access/what", ask) }
	return c
}

func addScopeFlags(c *cobra.Command, ask *reachRequest) {
	c.Flags().StringVar(&ask.Method, "method", "", "the `METHOD` of the requests; any when absent")
	c.Flags().StringVar(&ask.Path, "path", "", "the `PATH` of the requests; any when absent")
	c.Flags().StringVar(&ask.Address, "from", "", "the `ADDRESS` of the client; any when absent")
	addAtFlag(c, &ask.At, "who the users were at a `TIME`, by today's rules")
}

func printReach(cmd *cobra.Command, path string, ask reachRequest) error {
	if err := checkMethod(ask.Method); err != nil {
		return err
	}
	client, err := newControlClient(cmd)
	if err != nil {
		return err
	}
	var list []access.Reach
	var past pastReach
	t := table{heads: []string{"route", "caller", "by"}}
	if ask.At == nil {
		err = client.call(cmd.Context(), http.MethodPost, path, ask, &list)
		t.values = list
	} else {
		err = client.call(cmd.Context(), http.MethodPost, path, ask, &past)
		list, t.values = past.Reaches, past
	}
	if err != nil {
		return err
	}
	past.AsOf.note(cmd)
	for _, reach := range list {
		t.rows = append(t.rows, []string{reach.Route, reach.Caller(), reach.String()})
	}
	if err := printTable(cmd, t); err != nil {
		return err
	}
	if len(list) == 0 {
		return fmt.Errorf("nothing to list: %s", ask.nothing())
	}
	return nil
}

// nothing says what an empty list means.
func (b reachRequest) nothing() string {
	if b.User != "" {
		return "the rules let " + b.User + " reach no route"
	}
	return "the rules let nobody in who was pushed"
}

func accessDiffCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "diff [OLD] NEW",
		Short: "Say who gains and who loses access by the rules of a configuration file",
		Long: "Say who gains and who loses access by the rules of the configuration file NEW, against those of OLD or, without it,\n" +
			"those in force. Every user of the directory counts. Only the rules of the files matter, and not the files that they name.",
		Example: "  sallyport access diff new.yaml\n" +
			"  sallyport access diff old.yaml new.yaml -o json",
		Args: cobra.RangeArgs(1, 2),
	}
	addOutputFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		ask := diffRequest{NewName: args[len(args)-1]}
		if err := readRules(ask.NewName, &ask.New); err != nil {
			return err
		}
		if len(args) == 2 {
			ask.OldName = args[0]
			if err := readRules(ask.OldName, &ask.Old); err != nil {
				return err
			}
		}
		return printDiff(cmd, ask)
	}
	return c
}

func readRules(path string, text *string) error {
	data, _, err := config.ReadRules(path)
	*text = string(data)
	return err
}

func printDiff(cmd *cobra.Command, ask diffRequest) error {
	client, err := newControlClient(cmd)
	if err != nil {
		return err
	}
	var list []access.Difference
	if err := client.call(cmd.Context(), http.MethodPost, "/access/diff", ask, &list); err != nil {
		return err
	}
	t := table{heads: []string{"route", "change", "callers", "who"}, values: list}
	for _, d := range list {
		if d.Moved != "" {
			t.rows = append(t.rows, []string{d.Route, "moved", "", d.Moved})
		}
		for _, change := range []struct {
			name string
			who  []string
		}{{"gain access", d.Gained}, {"lose access", d.Lost}, {"other conditions", d.Changed}} {
			if n := len(change.who); n > 0 {
				t.rows = append(t.rows, []string{d.Route, change.name, strconv.Itoa(n), someOf(change.who)})
			}
		}
	}
	if format, _ := cmd.Flags().GetString("output"); format == "table" && len(list) == 0 {
		fmt.Fprintln(cmd.OutOrStdout(), "nobody gains or loses access")
		return nil
	}
	return printTable(cmd, t)
}

const maxNames = 10 // that a table shows

func someOf(names []string) string {
	if len(names) > maxNames {
		return strings.Join(names[:maxNames], ", ") + fmt.Sprintf(" and %d more", len(names)-maxNames)
	}
	return strings.Join(names, ", ")
}

package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/spf13/cobra"

	"sallyport/admin"
	"sallyport/config"
)

// checkResult is what doctor found out about one thing.
type checkResult struct {
	Check  string `json:"check"`
	State  string `json:"state"` // one of the states
	Detail string `json:"detail"`
}

// The states of a checkResult.
const (
	stateOK   = "ok"
	stateWarn = "warn"
	stateFail = "fail"
)

// doctor collects the results of its checks.
type doctor struct {
	file    *config.File
	client  *controlClient
	results []checkResult
}

func doctorCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Check that sign-in and provisioning fit together",
		Long: "Check that sign-in and provisioning fit together, as far as this server can see: the identity provider's metadata, keys and clock, the tokens,\n" +
			"what was pushed and when, and whether rules name groups that exist. Exits with 2 if a check fails.",
		Args: cobra.NoArgs,
	}
	addOutputFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		client, err := newControlClient(cmd)
		if err != nil {
			return err
		}
		d := &doctor{file: client.file, client: client}
		d.checkAll(cmd.Context())
		if err := printTable(cmd, d.table()); err != nil {
			return err
		}
		if slices.ContainsFunc(d.results, func(r checkResult) bool { return r.State == stateFail }) {
			return fmt.Errorf("%w: at least one check failed", errDenied)
		}
		return nil
	}
	return c
}

func (d *doctor) table() table {
	t := table{heads: []string{"check", "state", "detail"}, values: d.results}
	for _, r := range d.results {
		t.rows = append(t.rows, []string{r.Check, r.State, r.Detail})
	}
	return t
}

func (d *doctor) report(check, state, format string, args ...any) {
	d.results = append(d.results, checkResult{check, state, fmt.Sprintf(format, args...)})
}

func (d *doctor) checkAll(ctx context.Context) {
	d.checkProvider(ctx)
	d.checkCertificate(ctx)
	d.checkTokens(ctx)
	var stats admin.Stats
	if err := d.client.call(ctx, http.MethodGet, "/facts", nil, &stats); err != nil {
		d.report("directory", stateFail, "%v", err)
		return
	}
	d.checkUsers(stats)
	d.checkPushes(stats)
	d.checkGroups(ctx, stats)
	d.checkTokenVersion(ctx)
}

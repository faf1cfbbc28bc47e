package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"sallyport/access"
	"sallyport/admin"
	"sallyport/config"
)

// checkResult is what doctor found out about one thing.
type checkResult struct {
	Check  string `json:"check"`
	State  string `json:"state"`         // one of the states
	Detail string `json:"detail"`        // ends with the fix
	Fix    string `json:"fix,omitempty"` // what to do; empty if the state is ok
}

// The states of a checkResult.
const (
	stateOK      = "ok"
	stateWarn    = "warn"
	stateFail    = "fail"
	stateUnknown = "unknown" // the check could not be made
)

// withoutConfiguration is why checks that need the configuration cannot be made, and correctIt the fix.
const (
	withoutConfiguration = "the configuration cannot be used"
	correctIt            = "correct the mistakes that `sallyport validate` lists"
)

// doctor collects the results of its checks.
type doctor struct {
	path    string       // of the configuration file
	file    *config.File // nil if it has a fault
	client  *controlClient
	scimURL string // where the identity provider pushes; "": a guess
	results []checkResult
	within  *findings // the doctor of a running server; nil: it is a command
}

func doctorCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Check that sign-in and provisioning fit together",
		Long: "Check that sign-in and provisioning fit together, as far as this server can see: the identity provider's metadata, keys and clock, whether\n" +
			"it accepts the client secret and the redirect URI, the SCIM address, the tokens, what was pushed and when, whether rules name groups\n" +
			"that exist, certificates, sinks and the newest backup. Nobody is signed in and nothing is changed. A check that could not be made is\n" +
			"unknown. Every line that is not ok ends with what to do. Exits with 2 if a check fails.",
		Example: "  sallyport doctor\n" +
			"  sallyport doctor --scim-url https://scim.example.com:8444/scim/v2\n" +
			"  sallyport doctor -o json",
		Annotations: exits(exitDenied, "a check fails"),
		Args:        cobra.NoArgs,
	}
	addOutputFlag(c)
	scimURL := c.Flags().String("scim-url", "", "the `URL` at which the identity provider pushes, to try whether it leads to this server")
	_ = c.RegisterFlagCompletionFunc("scim-url", cobra.NoFileCompletions)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if *scimURL != "" {
			if err := checkSCIMURL(*scimURL); err != nil {
				return err
			}
		}
		client, err := newControlClient(cmd)
		if err != nil {
			return err
		}
		d := &doctor{path: configPath(cmd), client: client, scimURL: *scimURL}
		if client.err == nil {
			d.file = client.file
		}
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

// pass reports that nothing is wrong.
func (d *doctor) pass(check, format string, args ...any) {
	d.results = append(d.results, checkResult{Check: check, State: stateOK, Detail: fmt.Sprintf(format, args...)})
}

// report reports a state other than ok. The detail ends with the fix, which says what to do.
func (d *doctor) report(check, state, fix, format string, args ...any) {
	d.results = append(d.results, checkResult{check, state, fmt.Sprintf(format, args...) + "; " + fix, fix})
}

// callFailed reports a check that could not be made because the server, or the store if none runs, did not respond.
func (d *doctor) callFailed(check, fix string, err error) {
	if errors.As(err, new(config.Faults)) {
		d.unknown("no running server was found, and "+withoutConfiguration, correctIt, check)
		return
	}
	d.report(check, stateUnknown, fix, "%v", err)
}

// unknown reports checks that could not be made.
func (d *doctor) unknown(why, fix string, checks ...string) {
	for _, check := range checks {
		d.report(check, stateUnknown, fix, "%s", why)
	}
}

func (d *doctor) checkAll(ctx context.Context) {
	d.checkConfiguration()
	d.checkReady(ctx)
	d.checkDatabase(ctx) // before checks that open the store themselves if no server runs
	d.checkProvider(ctx)
	d.checkCertificate(ctx)
	d.checkStore(ctx)
	d.checkBackup(ctx)
	d.checkSinks(ctx)
	d.checkSCIMAddress(ctx)
	d.checkTokens(ctx)
	var stats admin.Stats
	if err := d.client.call(ctx, http.MethodGet, "/facts", nil, &stats); err != nil {
		fix := "`sallyport store check` says more"
		if errors.As(err, new(config.Faults)) {
			fix = correctIt
			err = errors.New("no running server was found, and " + withoutConfiguration)
		}
		d.report("directory", stateFail, fix, "%v", err)
		d.unknown("the directory cannot be read", fix, "users", "last push", "groups in rules")
		return
	}
	d.checkUsers(stats)
	d.checkPushes(stats)
	d.checkGroups(ctx, stats)
	d.checkReviews(ctx)
	d.checkTests(ctx)
	d.checkTokenVersion(ctx)
}

// startServer is the fix where a running server is needed.
const startServer = "start the server with `sallyport serve`"

// checkReady reports what the running server says of itself.
func (d *doctor) checkReady(ctx context.Context) {
	status, body, err := d.client.getOps(ctx, "/readyz")
	switch {
	case err != nil:
		d.report("readiness", stateUnknown, startServer, "no server responds on the ops listener: %v", err)
	case status != http.StatusOK:
		d.report("readiness", stateFail, "look for the cause in the server's log", "%s", strings.ReplaceAll(strings.TrimSpace(body), "\n", "; "))
	case strings.TrimSpace(body) != readyText:
		d.report("readiness", stateWarn, "free some space or bring the database back, whichever it says; the server's log says more", "%s", strings.ReplaceAll(strings.TrimSpace(body), "\n", "; "))
	default:
		d.pass("readiness", "decisions can be made and recorded, and changes stored")
	}
}

// checkConfiguration reports whether the file as it is now could be put in force.
func (d *doctor) checkConfiguration() {
	var faults config.Faults
	switch err := d.client.err; {
	case errors.As(err, &faults):
		d.report("configuration", stateFail, "correct them", "%d mistakes, which `sallyport validate` lists; the first: %s", len(faults), faults[0])
	case err != nil:
		d.report("configuration", stateFail, "`sallyport validate` says more", "%v", err)
	default:
		d.pass("configuration", "%d routes, %d policies", len(d.file.Routes), len(d.file.Policies))
	}
}

// checkTests reports whether the rules in the file pass the tests in it: a reload would be refused otherwise.
func (d *doctor) checkTests(ctx context.Context) {
	if d.file == nil || len(d.file.Tests) == 0 {
		return
	}
	var results []access.Result
	ask, err := readTests(d.path, nil)
	if err == nil {
		err = d.client.call(ctx, http.MethodPost, "/access/test", ask, &results)
	}
	if err != nil {
		d.callFailed("tests", "run `sallyport test`, which says more", err)
		return
	}
	if failed := access.Failed(results); len(failed) > 0 {
		d.report("tests", stateFail, "correct the rules or the tests; `sallyport test` runs them", "%d of %d fail, so that a reload is refused; the first: %s: want %s, got %s",
			len(failed), len(results), failed[0].Case, failed[0].Want, failed[0].Got)
		return
	}
	d.pass("tests", "all %d tests in the file pass", len(results))
}

// checkStore reports whether every record of the store is sound.
func (d *doctor) checkStore(ctx context.Context) {
	if d.within != nil {
		d.checkStoreWithin()
		return
	}
	var found inspection
	switch err := d.client.call(ctx, http.MethodGet, "/faults", nil, &found); {
	case err != nil:
		d.callFailed("store", "run `sallyport store check`, which says more", err)
	case found.Count > 0:
		d.report("store", stateFail, "restore a backup", "%d of %d records are not as they should be, and whom they are about may be denied; the first: %s",
			found.Count, found.Records, found.Faults[0])
	default:
		d.pass("store", "%d records, all of them sound", found.Records)
	}
}

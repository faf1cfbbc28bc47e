package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/admin"
	"sallyport/audit"
	"sallyport/audit/sink"
	"sallyport/config"
	"sallyport/oidc"
)

// demandResult demands that a check has a result with this state, and a detail that contains text.
func (d *doctor) demandResult(t *testing.T, check, state, text string) {
	t.Helper()
	demandFixes(t, d.results)
	for _, r := range d.results {
		if r.Check == check {
			if r.State != state || !strings.Contains(r.Detail, text) {
				t.Errorf("%s is %s: %s", check, r.State, r.Detail)
			}
			return
		}
	}
	t.Errorf("there is no result of %s", check)
}

// demandFixes demands that every result that is not ok ends with what to do about it, as an instruction or a command.
func demandFixes(t *testing.T, results []checkResult) {
	t.Helper()
	for _, r := range results {
		switch first, _, _ := strings.Cut(strings.TrimPrefix(r.Fix, "if that is the identity provider, "), " "); {
		case r.State == stateOK:
			if r.Fix != "" {
				t.Errorf("%s is ok, and says what to do: %s", r.Check, r.Fix)
			}
		case !strings.HasSuffix(r.Detail, "; "+r.Fix) || len(r.Detail) <= len(r.Fix)+2:
			t.Errorf("the line of %s does not end with what to do: %s", r.Check, r.Detail)
		case !strings.HasPrefix(r.Fix, "`sallyport ") && !slices.Contains(instructions, first):
			t.Errorf("%s does not say what to do, but %q", r.Check, r.Fix)
		}
	}
}

// instructions are the first words of what the doctor says to do.
var instructions = strings.Fields("assign check correct create find free give look make map put register release renew replace restart restore run set sign start write")

// brokenFile is a configuration of which nothing works but its syntax.
const brokenFile = `public_url: https://login.test
listen: {public: 127.0.0.1:0, scim: 127.0.0.1:0, ops: 127.0.0.1:1}
tls: {cert_file: tls.crt, key_file: tls.key}
store: {bolt: {path: data/sallyport.db}}
control: {socket: data/control.sock}
audit: {sinks: [{name: siem, syslog: {address: "127.0.0.1:1", ca_file: ca.pem, cert_file: tls.crt, key_file: tls.key}}]}
oidc: {issuer: "https://127.0.0.1:1", client_id: x, client_secret_file: secrets/oidc, ca_file: ca.pem}
policies: [{name: all, rules: [{allow: {groups: [{id: 61503835-0000-0000-0000-000000000009, name: Nobody}]}}]}]
tests: [{as: nobody@example.com, get: app.test/, want: allow}]
routes: [{name: app, host: app.test, upstream: "http://127.0.0.1:1", policy: [all]}]
`

// TestDoctor_EveryFindingEndsWithTheFix in an installation of which nothing works: without a store, then with an empty one,
// and with a mistake in the file.
func TestDoctor_EveryFindingEndsWithTheFix(t *testing.T) {
	w := newWorld(t)
	cert, key := w.ca.issueFor(t, -time.Minute, loginHost)
	writeFile(t, w.dir, "tls.crt", cert)
	writeFile(t, w.dir, "tls.key", key)
	diagnose := func() {
		t.Helper()
		out, code := (&running{t: t, dir: w.dir}).try("doctor", "-o", "json")
		var results []checkResult
		decodeJSON(t, out, &results)
		demandFixes(t, results)
		if code != exitDenied || len(results) < 12 {
			t.Errorf("doctor exits with %d, and finds %d things:\n%s", code, len(results), out)
		}
		for _, r := range results {
			if r.State == stateOK && r.Check != "configuration" && r.Check != "store" {
				t.Errorf("%s is ok in an installation that is broken: %s", r.Check, r.Detail)
			}
		}
	}
	writeFile(t, w.dir, "sallyport.yaml", []byte(brokenFile))
	diagnose()
	w.configure(w.group)
	w.start("--init").kill()
	writeFile(t, w.dir, "sallyport.yaml", []byte(brokenFile))
	diagnose()
	if err := os.Remove(filepath.Join(w.dir, "secrets/oidc")); err != nil {
		t.Fatal(err)
	}
	diagnose()
}

func TestDoctor_RedirectURI(t *testing.T) {
	const uri = "https://login.test/.sallyport/callback"
	for state, err := range map[string]error{stateOK: nil, stateWarn: fmt.Errorf("%w: 400", oidc.ErrNotRegistered), stateUnknown: errors.New("a login page")} {
		d := new(doctor)
		d.judgeRedirect(uri, "login_required", err)
		d.demandResult(t, "redirect URI", state, uri)
	}
	d := new(doctor)
	d.judgeRedirect(uri, "", oidc.ErrAnyRedirect)
	d.demandResult(t, "redirect URI", stateWarn, "register exactly "+uri)
}

func TestDoctor_SinksThatFailOrAreBehind(t *testing.T) {
	now := time.Now()
	fault := &sink.Fault{Time: now.Add(-time.Minute), Error: "connection refused"}
	recovered := &sink.Fault{Time: now.Add(-time.Hour), Error: "connection refused", Recovered: true}
	for name, c := range map[string]struct {
		status      sink.Status
		state, text string
	}{
		"current":      {sink.Status{}, stateOK, "0 lines behind, by 0s; no attempt has failed"},
		"recovered":    {sink.Status{Fault: recovered}, stateOK, "the last failed attempt was 1h0m0s ago: connection refused"},
		"fails":        {sink.Status{Lines: 3, Lag: time.Minute, Fault: fault}, stateWarn, "3 lines behind, by 1m0s; the attempt of 1m0s ago failed: connection refused"},
		"fails_long":   {sink.Status{Lines: 3, Lag: 2 * time.Hour, Fault: fault}, stateFail, "by 2h0m0s"},
		"slow":         {sink.Status{Lines: 900, Lag: 6 * time.Minute}, stateWarn, "too slow"},
		"lost_forever": {sink.Status{Lost: 4}, stateWarn, "4 lines since the start"},
	} {
		t.Run(name, func(t *testing.T) {
			d := new(doctor)
			c.status.Name = "siem"
			d.judgeSink(c.status, now)
			d.demandResult(t, "sink siem", c.state, c.text)
		})
	}
}

// TestDoctor_AgeOfTheNewestBackup comes from the record, and is never too small.
func TestDoctor_AgeOfTheNewestBackup(t *testing.T) {
	day, now := 24*time.Hour, time.Now()
	copied := func(age time.Duration) audit.Event {
		return audit.Event{Time: now.Add(-age).UTC(), Kind: audit.KindBackup, Reason: "copied", Actor: audit.Actor{Kind: audit.ActorOperator, Name: "root"}}
	}
	failed := func(age time.Duration) audit.Event {
		e := copied(age)
		e.Reason, e.Detail = "failed", map[string]string{"action": "copied", "error": "disk full"}
		return e
	}
	for name, c := range map[string]struct {
		events      []audit.Event
		state, text string
	}{
		"never":               {nil, stateWarn, "tells of none"},
		"today":               {[]audit.Event{copied(20 * day), copied(time.Hour)}, stateOK, "1h0m0s ago"},
		"a_week_ago":          {[]audit.Event{copied(8 * day)}, stateWarn, "8 days ago"},
		"the_newest_failed":   {[]audit.Event{copied(9 * day), copied(time.Hour), failed(time.Hour)}, stateWarn, "9 days ago"},
		"all_failed":          {[]audit.Event{failed(2 * time.Hour), copied(time.Hour), failed(time.Hour)}, stateWarn, "tells of none"},
		"clock_was_a_year_on": {[]audit.Event{copied(30 * day), copied(-365 * day)}, stateWarn, "30 days ago"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "audit.jsonl")
			log, err := audit.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range c.events {
				if err := log.Write(e); err != nil {
					t.Fatal(err)
				}
			}
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
			d := &doctor{client: &controlClient{installation: installation{run: &runFile{Audit: path}, err: errors.New("not read")}}}
			d.checkBackup(t.Context())
			d.demandResult(t, "backup", c.state, c.text)
		})
	}
}

func TestDoctor_ClockIsUnknownUnlessTheProviderTellsTheTime(t *testing.T) {
	second, hour := time.Second, -time.Hour
	for state, skew := range map[string]*time.Duration{stateOK: &second, stateFail: &hour, stateUnknown: nil} {
		d := new(doctor)
		d.checkClock(skew)
		d.demandResult(t, "clock", state, "")
	}
}

func TestDoctor_TokensAreOnlyGoodIfTheyAreUsed(t *testing.T) {
	now := time.Now()
	old, recent := now.Add(-72*time.Hour), now.Add(-time.Minute)
	for name, c := range map[string]struct {
		tokens      []admin.Token
		state, text string
	}{
		"none":           {nil, stateFail, "no token"},
		"expired":        {[]admin.Token{{Expires: &old, Expired: true, LastUsed: &recent}}, stateFail, "no token"},
		"never_used":     {[]admin.Token{{}}, stateUnknown, "1 valid, none of which was ever used"},
		"long_unused":    {[]admin.Token{{LastUsed: &old}, {}}, stateWarn, "none of which was used for 72h"},
		"used":           {[]admin.Token{{LastUsed: &old}, {LastUsed: &recent}}, stateOK, "2 valid, last used 1m"},
		"used_other_way": {[]admin.Token{{Expired: true, LastUsed: &recent}, {}}, stateUnknown, "1 valid, none"},
	} {
		t.Run(name, func(t *testing.T) {
			d := &doctor{file: new(config.File)}
			d.judgeTokens(c.tokens)
			d.demandResult(t, "tokens", c.state, c.text)
		})
	}
}

func TestDoctor_FailsIfEveryPushIsRefused(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		stats       admin.Stats
		state, text string
	}{
		"some":    {admin.Stats{Refused: 3, Exchanges: 500}, stateWarn, "3 of the latest 500"},
		"all":     {admin.Stats{Refused: 4, RefusedInRow: 4, Exchanges: 4}, stateFail, "every one of the latest 4"},
		"newest":  {admin.Stats{Refused: 40, RefusedInRow: 30, Exchanges: 500}, stateFail, "the latest 30, one after the other"},
		"the_end": {admin.Stats{Refused: 40, RefusedInRow: 1, Exchanges: 500}, stateWarn, "40 of the latest 500"},
	} {
		t.Run(name, func(t *testing.T) {
			d, stats := new(doctor), c.stats
			stats.LastPush = &now
			d.checkPushes(stats)
			d.demandResult(t, "refused pushes", c.state, c.text)
			if stats.RefusedInRow > 0 {
				d.demandResult(t, "last push", stateWarn, "refused")
			} else {
				d.demandResult(t, "last push", stateOK, "")
			}
		})
	}
}

// TestDoctor_ReportsRejectedTokens: a failure if the identity provider is likely the one that is rejected.
func TestDoctor_ReportsRejectedTokens(t *testing.T) {
	ago := func(d time.Duration) time.Time { return time.Now().Add(-d) }
	hour, days := ago(time.Hour), ago(48*time.Hour)
	rejected := func(at time.Time, token string) *admin.Rejection {
		return &admin.Rejection{Time: at, Address: "192.0.2.1", Token: token, Reason: "the token has expired"}
	}
	for name, c := range map[string]struct {
		stats admin.Stats
		want  string
	}{
		"none":                              {admin.Stats{LastPush: &hour}, ""},
		"long ago":                          {admin.Stats{LastPush: &hour, Rejected: rejected(days, "entra")}, ""},
		"ours, and no push since":           {admin.Stats{LastPush: &hour, Rejected: rejected(ago(time.Minute), "entra")}, "fail"},
		"ours, but a push since":            {admin.Stats{LastPush: &hour, Rejected: rejected(ago(2*time.Hour), "entra")}, "warn"},
		"a stranger's, between two pushes":  {admin.Stats{LastPush: &hour, Rejected: rejected(ago(time.Minute), "")}, "warn"},
		"a stranger's, and no push ever":    {admin.Stats{Rejected: rejected(ago(time.Minute), "")}, "fail"},
		"a stranger's, and no push in days": {admin.Stats{LastPush: &days, Rejected: rejected(ago(time.Minute), "")}, "fail"},
	} {
		t.Run(name, func(t *testing.T) {
			d := &doctor{}
			d.checkRejected(c.stats)
			demandFixes(t, d.results)
			if c.want == "" {
				if len(d.results) > 0 {
					t.Errorf("the report is %+v", d.results)
				}
				return
			}
			if len(d.results) != 1 || d.results[0].State != c.want || !strings.HasPrefix(d.results[0].Detail, "the token has expired") || !strings.Contains(d.results[0].Detail, "from 192.0.2.1") {
				t.Errorf("the report is %+v, want %s", d.results, c.want)
			}
		})
	}
}

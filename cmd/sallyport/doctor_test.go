package main

import (
	"strings"
	"testing"
	"time"

	"sallyport/admin"
	"sallyport/config"
)

// demandResult demands that a check has a result with this state, and a detail that contains text.
func (d *doctor) demandResult(t *testing.T, check, state, text string) {
	t.Helper()
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

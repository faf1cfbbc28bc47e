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

package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"sallyport/admin"
	"sallyport/policy"
)

const (
	tokenWarning    = 30 * 24 * time.Hour // before the end of a token
	maxPushAge      = 24 * time.Hour
	minObjectIDs    = 90 // percent
	namedInReport   = 5
	manyRefused     = 20 // pushes in a row, with which no push succeeds any more
	externalIDField = "externalId"
	refusedSaysWhy  = "`sallyport scim log --refused` says why"
)

// checkTokens reports whether an identity provider can push, and for how long.
func (d *doctor) checkTokens(ctx context.Context) {
	var tokens []admin.Token
	if err := d.client.call(ctx, http.MethodGet, "/tokens", nil, &tokens); err != nil {
		d.callFailed("tokens", "`sallyport store check` says more", err)
		return
	}
	d.judgeTokens(tokens)
}

func (d *doctor) judgeTokens(tokens []admin.Token) {
	valid, expiring, used := 0, "", time.Time{}
	for _, t := range tokens {
		if t.Expired || t.Damaged {
			continue
		}
		valid++
		if t.LastUsed != nil && t.LastUsed.After(used) {
			used = *t.LastUsed
		}
		if t.Expires != nil && time.Until(*t.Expires) < tokenWarning && t.Issued == "" {
			expiring = fmt.Sprintf("%s expires on %s", t.Name, t.Expires.Format(time.DateOnly))
		}
	}
	oauth := d.file != nil && d.file.SCIM.OAuth != nil // whose tokens are not listed
	switch {
	case valid == 0 && d.file == nil:
		d.unknown("none is valid, and it is not known whether those of an authorization server are: "+withoutConfiguration, correctIt, "tokens")
	case valid == 0 && !oauth:
		d.report("tokens", stateFail, "create one with `sallyport token create entra`", "no token lets an identity provider push")
	case expiring != "":
		d.report("tokens", stateWarn, "replace it without a gap with `sallyport token rotate`", "%s", expiring)
	case valid == 0:
		d.unknown("those of the authorization server (scim.oauth) are not listed here", "look at the last push, below, to see whether one is accepted", "tokens")
	case used.IsZero():
		d.report("tokens", stateUnknown, "start provisioning there, or use its connection test", "%d valid, none of which was ever used; whether the identity provider has the right one shows once it pushes", valid)
	case time.Since(used) > maxPushAge && !oauth:
		d.report("tokens", stateWarn, "check at the identity provider that provisioning runs; if its token is none of them, give it a new one of `sallyport token create`",
			"%d valid, none of which was used for %s", valid, time.Since(used).Round(time.Hour))
	default:
		d.pass("tokens", "%d valid, last used %s ago (to ten minutes)", valid, time.Since(used).Round(time.Second))
	}
}

// checkUsers reports whether those who sign in are found among those who were pushed.
func (d *doctor) checkUsers(s admin.Stats) {
	if s.Users == 0 {
		d.report("users", stateFail, "assign users and groups to the provisioning application and start it", "no user was pushed yet")
		return
	}
	d.pass("users", "%d, of whom %d are active", s.Users, s.Active)
	switch {
	case d.file == nil:
		d.unknown(withoutConfiguration, correctIt, "externalId")
		return
	case d.file.OIDC.UserAttribute != externalIDField:
		return
	}
	if d.file.OIDC.UserClaim == "oid" {
		d.reportObjectIDs(100 * s.GUIDs / s.Users)
	} else if s.WithoutExternalID > 0 {
		d.report("externalId", stateWarn, "map it in the provisioning application", "%d users have none and cannot sign in", s.WithoutExternalID)
	}
	if s.Shared > 0 {
		d.report("externalId shared", stateWarn, "find the second account at the identity provider and change it", "%d active users have the same one as another; none of them can sign in", s.Shared)
	}
}

func (d *doctor) reportObjectIDs(percent int) {
	const fix = "map externalId to objectId in the provisioning application, then restart provisioning"
	switch {
	case percent < minObjectIDs:
		d.report("externalId", stateFail, fix, "%d%% are object IDs (GUIDs), by which users are found", percent)
	case percent < 100:
		d.report("externalId", stateWarn, fix, "%d%% are object IDs (GUIDs), by which users are found", percent)
	default:
		d.pass("externalId", "%d%% are object IDs (GUIDs), by which users are found", percent)
	}
}

func (d *doctor) checkPushes(s admin.Stats) {
	switch {
	case s.LastPush == nil:
		d.report("last push", stateFail, "start provisioning there, with the SCIM address and a token of `sallyport token create`", "the identity provider has not sent any request yet")
	case time.Since(*s.LastPush) > maxPushAge:
		d.report("last push", stateWarn, "look at the identity provider whether provisioning is paused or in quarantine, and start it", "%s ago; Entra pushes changes about every 40 minutes", time.Since(*s.LastPush).Round(time.Hour))
	case s.RefusedInRow > 0:
		d.report("last push", stateWarn, refusedSaysWhy, "%s ago, and it was refused", time.Since(*s.LastPush).Round(time.Second))
	default:
		d.pass("last push", "%s ago", time.Since(*s.LastPush).Round(time.Second))
	}
	d.checkRejected(s)
	switch {
	case s.RefusedInRow == s.Exchanges && s.Exchanges > 0:
		d.report("refused pushes", stateFail, refusedSaysWhy, "every one of the latest %d", s.Exchanges)
	case s.RefusedInRow >= manyRefused:
		d.report("refused pushes", stateFail, refusedSaysWhy, "the latest %d, one after the other", s.RefusedInRow)
	case s.Refused > 0:
		d.report("refused pushes", stateWarn, refusedSaysWhy, "%d of the latest %d", s.Refused, s.Exchanges)
	}
	if s.Held > 0 {
		d.report("held", stateWarn, "`sallyport scim held list` shows them; release or reject them", "%d deactivations wait for an operator", s.Held)
	}
}

// checkRejected reports whether requests with a token that is not valid came lately. It is a failure if such a request
// is newer than any push and its token was ours, or if no push came for long: then the identity provider is likely the
// one that is rejected.
func (d *doctor) checkRejected(s admin.Stats) {
	if s.Rejected == nil || time.Since(s.Rejected.Time) > maxPushAge {
		return
	}
	state := stateWarn
	newer := s.LastPush == nil || s.LastPush.Before(s.Rejected.Time)
	if newer && (s.Rejected.Token != "" || s.LastPush == nil || time.Since(*s.LastPush) > maxPushAge) {
		state = stateFail
	}
	name := ""
	if s.Rejected.Token != "" {
		name = " (" + s.Rejected.Token + ")"
	}
	d.report("rejected tokens", state, "if that is the identity provider, give it a new token of `sallyport token create`", "%s%s, in a request from %s %s ago",
		s.Rejected.Reason, name, s.Rejected.Address, time.Since(s.Rejected.Time).Round(time.Second))
}

// checkGroups reports whether the groups that rules name were pushed and have members, none of which are groups.
func (d *doctor) checkGroups(ctx context.Context, s admin.Stats) {
	if d.file == nil {
		d.unknown(withoutConfiguration, correctIt, "groups in rules")
		return
	}
	var groups []admin.Group
	if err := d.client.call(ctx, http.MethodGet, "/groups", nil, &groups); err != nil {
		d.callFailed("groups in rules", "`sallyport store check` says more", err)
		return
	}
	switch missing, empty := compareGroups(policy.GroupsIn(d.file.Policies), groups); {
	case len(missing) > 0:
		d.report("groups in rules", stateWarn, "assign them to the provisioning application, or correct the id", "never pushed, so that the rules that name them match nobody: %s", strings.Join(missing, ", "))
	case len(empty) > 0:
		d.report("groups in rules", stateWarn, "assign people to them; if the people are in groups within them, assign those groups and name them in the rules", "without members: %s", strings.Join(empty, ", "))
	default:
		d.pass("groups in rules", "%d groups were pushed; all that rules name are among them", len(groups))
	}
	if len(s.Nested) > 0 {
		d.report("nested groups", stateWarn, "assign those groups themselves", "%s: members of the groups within them are not members here, and Entra does not push them",
			strings.Join(s.Nested[:min(namedInReport, len(s.Nested))], ", "))
	}
}

// compareGroups returns labels of the named groups that were not pushed, and of those that have no members.
func compareGroups(named []policy.GroupRef, pushed []admin.Group) (missing, empty []string) {
	for _, ref := range named {
		i := slices.IndexFunc(pushed, func(g admin.Group) bool {
			return ref.ID != "" && g.ExternalID == ref.ID || ref.ID == "" && g.Name == ref.Name
		})
		switch label := strings.TrimSpace(ref.ID + " " + ref.Name); {
		case i < 0:
			missing = append(missing, label)
		case pushed[i].Members == 0:
			empty = append(empty, label)
		}
	}
	return missing, empty
}

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
)

// checkTokens reports whether an identity provider can push, and for how long.
func (d *doctor) checkTokens(ctx context.Context) {
	var tokens []admin.Token
	if err := d.client.call(ctx, http.MethodGet, "/tokens", nil, &tokens); err != nil {
		d.report("tokens", stateUnknown, "%v", err)
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
		d.unknown("none is valid, and it is not known whether those of an authorization server are; "+withoutConfiguration, "tokens")
	case valid == 0 && !oauth:
		d.report("tokens", stateFail, "no token lets an identity provider push; create one with `sallyport token create entra`")
	case expiring != "":
		d.report("tokens", stateWarn, "%s; replace it without a gap with `sallyport token rotate`", expiring)
	case valid == 0:
		d.unknown("those of the authorization server (scim.oauth) are not listed here", "tokens")
	case used.IsZero():
		d.report("tokens", stateUnknown, "%d valid, none of which was ever used; whether the identity provider has the right one shows once it pushes", valid)
	case time.Since(used) > maxPushAge && !oauth:
		d.report("tokens", stateWarn, "%d valid, none of which was used for %s; is the token at the identity provider one of them?", valid, time.Since(used).Round(time.Hour))
	default:
		d.report("tokens", stateOK, "%d valid, last used %s ago (to ten minutes)", valid, time.Since(used).Round(time.Second))
	}
}

// checkUsers reports whether those who sign in are found among those who were pushed.
func (d *doctor) checkUsers(s admin.Stats) {
	if s.Users == 0 {
		d.report("users", stateFail, "no user was pushed yet; assign users and groups to the provisioning application and start it")
		return
	}
	d.report("users", stateOK, "%d, of whom %d are active", s.Users, s.Active)
	switch {
	case d.file == nil:
		d.unknown(withoutConfiguration, "externalId")
		return
	case d.file.OIDC.UserAttribute != externalIDField:
		return
	}
	if d.file.OIDC.UserClaim == "oid" {
		d.reportObjectIDs(100 * s.GUIDs / s.Users)
	} else if s.WithoutExternalID > 0 {
		d.report("externalId", stateWarn, "%d users have none and cannot sign in; map it in the provisioning application", s.WithoutExternalID)
	}
	if s.Shared > 0 {
		d.report("externalId shared", stateWarn, "%d active users have the same one as another; none of them can sign in; find the second account at the identity provider and change it", s.Shared)
	}
}

func (d *doctor) reportObjectIDs(percent int) {
	const advice = "; map externalId to objectId in the provisioning application, then restart provisioning"
	switch {
	case percent < minObjectIDs:
		d.report("externalId", stateFail, "%d%% are object IDs (GUIDs), by which users are found%s", percent, advice)
	case percent < 100:
		d.report("externalId", stateWarn, "%d%% are object IDs (GUIDs), by which users are found%s", percent, advice)
	default:
		d.report("externalId", stateOK, "%d%% are object IDs (GUIDs), by which users are found", percent)
	}
}

func (d *doctor) checkPushes(s admin.Stats) {
	switch {
	case s.LastPush == nil:
		d.report("last push", stateFail, "the identity provider has not sent any request yet; start provisioning there, with the SCIM address and a token of `sallyport token create`")
	case time.Since(*s.LastPush) > maxPushAge:
		d.report("last push", stateWarn, "%s ago; Entra pushes changes about every 40 minutes: is provisioning paused or in quarantine?", time.Since(*s.LastPush).Round(time.Hour))
	case s.RefusedInRow > 0:
		d.report("last push", stateWarn, "%s ago, and it was refused; `sallyport scim log --refused` says why", time.Since(*s.LastPush).Round(time.Second))
	default:
		d.report("last push", stateOK, "%s ago", time.Since(*s.LastPush).Round(time.Second))
	}
	d.checkRejected(s)
	const advice = "`sallyport scim log --refused` says why"
	switch {
	case s.RefusedInRow == s.Exchanges && s.Exchanges > 0:
		d.report("refused pushes", stateFail, "every one of the latest %d; %s", s.Exchanges, advice)
	case s.RefusedInRow >= manyRefused:
		d.report("refused pushes", stateFail, "the latest %d, one after the other; %s", s.RefusedInRow, advice)
	case s.Refused > 0:
		d.report("refused pushes", stateWarn, "%d of the latest %d; %s", s.Refused, s.Exchanges, advice)
	}
	if s.Held > 0 {
		d.report("held", stateWarn, "%d deactivations wait for an operator; `sallyport scim held list` shows them", s.Held)
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
	d.report("rejected tokens", state, "%s%s, in a request from %s %s ago; if that is the identity provider, give it a new token of `sallyport token create`",
		s.Rejected.Reason, name, s.Rejected.Address, time.Since(s.Rejected.Time).Round(time.Second))
}

// checkGroups reports whether the groups that rules name were pushed and have members, none of which are groups.
func (d *doctor) checkGroups(ctx context.Context, s admin.Stats) {
	if d.file == nil {
		d.unknown(withoutConfiguration, "groups in rules")
		return
	}
	var groups []admin.Group
	if err := d.client.call(ctx, http.MethodGet, "/groups", nil, &groups); err != nil {
		d.report("groups in rules", stateUnknown, "%v", err)
		return
	}
	switch missing, empty := compareGroups(policy.GroupsIn(d.file.Policies), groups); {
	case len(missing) > 0:
		d.report("groups in rules", stateWarn, "never pushed, so that the rules that name them match nobody: %s; assign them to the provisioning application, or correct the id", strings.Join(missing, ", "))
	case len(empty) > 0:
		d.report("groups in rules", stateWarn, "without members: %s (are the people in nested groups?)", strings.Join(empty, ", "))
	default:
		d.report("groups in rules", stateOK, "%d groups were pushed; all that rules name are among them", len(groups))
	}
	if len(s.Nested) > 0 {
		d.report("nested groups", stateWarn, "%s: members of the groups within them are not members here, and Entra does not push them; assign those groups themselves",
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

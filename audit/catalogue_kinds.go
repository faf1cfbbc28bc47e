package audit

import "slices"

var fields = []Term{
	{"actor", "who acted on Sallyport itself"},
	{"request", "the id of the HTTP request, which the person is shown when it is denied"},
	{"user", "the directory's id of the user whom the event is about"},
	{"user_name", "their userName; of an application, `app:` and its client ID; of somebody whom the directory does not know, the name in their token"},
	{"group", "the directory's id of the group"},
	{"session", "the id of the session, which is not its cookie"},
	{"route", "the name of the route"},
	{"host", "the host that was asked for"},
	{"method", "the method of the HTTP request"},
	{"path", "the path of the HTTP request in its one spelling, without the query"},
	{"address", "where the client is"},
	{"code", "the status of the HTTP response, of requests and logins that Sallyport denied or responded to"},
	{"decision", "`allow` or `deny`"},
	{"rule", "the rule that decided"},
	{"rev", "the revision of the directory: the one that a change made, or the newest when something was decided"},
	{"detail", "what events of this kind tell beside that; every value is text"},
}

var actors = []Term{
	{string(ActorOperator), "a user of the system that Sallyport runs on; `name` is that user's, `address` is `control socket`"},
	{string(ActorSystem), "the server itself; `name` is what caused it to act"},
	{string(ActorUser), "somebody who is signed in; `name` is their userName, `id` the directory's, `session` is `break-glass` if they signed in by a code"},
	{string(ActorToken), "the identity provider over SCIM; `name` and `id` are those of the provisioning token, `address` is where the push came from"},
	{string(ActorProvider), "the identity provider that people sign in at; `name` is how it told us"},
}

// Reasons and keys of detail that several kinds have.
var (
	failed = []Term{{"failed", "what the event before told of was not done, or not wholly"}}

	ofFailure = []Term{
		{"action", "the reason of the event before, which told what was to be done"},
		{"error", "why it failed"},
	}
	ofCaller = []Term{
		{"session", "`break-glass`: the session began by a break-glass code"},
	}
	ofUnknown = []Term{
		{"claim", "of `unknown_user`: the claim that says who somebody is"},
		{"value", "of `unknown_user`: what was in the claim, shortened to 256 bytes"},
		{"attribute", "of `unknown_user`: the attribute of users that it was compared with"},
	}
	ofTrace = []Term{
		{"trace", "the id of the trace that the request belongs to (W3C Trace Context), if it has one; the client may have chosen it"},
	}
	ofRequest = []string{"request", "host", "method", "path", "address"}
	ofPerson  = []string{"user", "user_name", "session"}

	// barred are why somebody may use nothing, and cannot sign in either.
	barred = []Term{
		{"unknown_user", "the directory has no such user"},
		{"inactive_user", "the identity provider deactivated the user"},
		{"suspended", "an operator suspended the user"},
		{"damaged_record", "the record of the user cannot be read"},
		{"directory_stale", "the directory in memory, or the sessions, may not be up to date"},
	}

	// denials are why a request is denied, or no longer allowed.
	denials = slices.Concat(barred, []Term{
		{"no_rule", "no rule allows it"},
		{"rule_deny", "the rule denies it"},
		{"access_revoked", "the rule would allow it, had no review revoked a membership"},
		{"login_too_old", "the rule asks for a more recent sign-in"},
		{"login_too_weak", "the rule asks for a stronger sign-in"},
		{"not_signed_in", "the caller is nobody, and the rules do not allow that"},
		{"session_ended", "the session was ended"},
		{"session_expired", "the session ran out"},
		{"token_refused", "the access token is not valid any more"},
		{"cross_origin", "a page of another origin sent the request"},
		{"no_route", "the route was removed, or changed its upstream"},
		{"provider_unavailable", "the keys of the identity provider cannot be had"},
	})

	// refusals are why the identity provider's response to a login was rejected.
	refusals = []Term{
		{"token_refused", "the response was not accepted"},
		{"malformed", "the ID token is no signed JWT, or too large"},
		{"alg_refused", "the ID token is signed by an algorithm that is not allowed"},
		{"key_unknown", "the ID token is signed with a key that the provider does not publish"},
		{"bad_signature", "the signature of the ID token is wrong"},
		{"expired", "the ID token has expired"},
		{"not_yet_valid", "the ID token is not valid yet"},
		{"wrong_issuer", "the ID token is from another issuer"},
		{"wrong_type", "the token is of another type"},
		{"wrong_version", "the token is of version 1.0, where 2.0 is expected"},
		{"wrong_audience", "the ID token is for another audience"},
		{"wrong_party", "the ID token is for another client (`azp`)"},
		{"wrong_tenant", "the ID token is from another tenant"},
		{"not_for_apis", "the token is not one for an API"},
		{"claim_missing", "the ID token lacks a claim, such as `oidc.user_claim`"},
		{"wrong_nonce", "the ID token belongs to another login"},
		{"wrong_state", "the callback belongs to another login"},
		{"login_refused", "the identity provider denied the login"},
		{"too_old", "the sign-in is older than the rule allows"},
		{"too_weak", "the sign-in is weaker than the rule demands"},
		{"code_refused", "the identity provider rejected the code"},
	}
)

var catalogue = []Description{
	{KindLogin, "a person signed in, or was denied",
		slices.Concat(ofRequest, ofPerson, []string{"code", "decision", "rev", "detail"}),
		slices.Concat([]Term{{"signed_in", "the login succeeded"}, {"break_glass", "a break-glass code began the session"}}, barred, refusals),
		ofUnknown},
	{KindLogout, "a session ended because somebody signed out",
		slices.Concat(ofRequest, ofPerson, []string{"actor"}),
		[]Term{{"logout", "the person signed out here"}, {"provider", "the identity provider sent a logout token"}}, nil},
	{KindDecision, "a request was allowed or denied; denied requests of nobody who is signed in are counted, and not recorded",
		slices.Concat(ofRequest, ofPerson, []string{"route", "code", "decision", "rule", "rev", "detail"}),
		slices.Concat([]Term{{"rule_allow", "the rule allows it"}, {"cors_preflight", "the route lets CORS preflight requests through"}}, denials),
		slices.Concat(ofCaller, ofUnknown, ofTrace, []Term{
			{"report_decision", "what the decision would be if rules in report mode counted"},
			{"report_rule", "the rule that would decide then"},
			{"report_reason", "why, then"},
			{"front", "the address of the front proxy that asked"},
		})},
	{KindCut, "a request was ended after it had been allowed; `time` is when it was cut",
		slices.Concat(ofRequest, ofPerson, []string{"route", "rule", "rev", "detail"}), denials,
		slices.Concat(ofCaller, ofUnknown, ofTrace, []Term{
			{"begun", "when the request began"},
			{"received", "when the change of the directory arrived that ended the request: the first that came over SCIM, or that an operator made in its place, and that is about the user, since the request was last allowed"},
			{"change", "the revision of that change, which is the `rev` of its own event"},
		})},
	{KindEnd, "a session ended with its user, or because an operator ended it, or every session of a user",
		slices.Concat(ofPerson, []string{"actor", "detail"}),
		slices.Concat([]Term{{"operator", "an operator ended it"}, {"user", "the user was deactivated, suspended or deleted; `time` is when the session was found to have ended, and no request was let in by it after the change"}}, failed),
		slices.Concat([]Term{{"began", "when the session began"}, {"used", "when it was last used"}}, ofFailure)},
	{KindSuspend, "an operator suspended a user, or lifted a suspension",
		[]string{"actor", "user", "user_name", "detail"},
		slices.Concat([]Term{{"suspended", "the user may use nothing from now on"}, {"unsuspended", "the rules decide again"}}, failed),
		slices.Concat([]Term{{"why", "what the operator gave as the reason"}}, ofFailure)},
	{KindBreakGlass, "a break-glass code was armed, disarmed, used or wrong",
		[]string{"actor", "request", "user", "user_name", "host", "address", "detail"},
		slices.Concat([]Term{{"armed", "an operator made a code"}, {"disarmed", "an operator made the code invalid"}, {"used", "the code was entered"},
			{"failed", "a code that is not valid was entered, or what the event before told of was not done"}}),
		slices.Concat([]Term{
			{"why", "what the operator gave as the reason"},
			{"for", "how long the session lasts"},
			{"until", "when the session ends at the latest"},
			{"armed_by", "the operator who made the code"},
			{"wrong_codes", "how many codes were wrong since the code was armed"},
		}, ofFailure)},
	{KindSCIM, "the directory changed: by a push of the identity provider, or by an operator in its place",
		[]string{"actor", "user", "user_name", "group", "method", "rev", "detail"},
		slices.Concat([]Term{
			{"create", "a user or a group was created"},
			{"replace", "a user or a group was replaced (PUT)"},
			{"patch", "a user or a group was changed (PATCH)"},
			{"delete", "a user or a group was deleted"},
			{"held", "a deactivation was not carried out, since there were too many: it waits for an operator"},
			{"release", "a deactivation that was held was carried out"},
			{"reject", "an operator rejected a deactivation that was held: the user stays active"},
			{"removed", "an operator is about to remove a user or a group"},
			{"held deactivations released", "an operator is about to have held deactivations carried out"},
			{"held deactivations rejected", "an operator is about to reject held deactivations"},
		}, failed),
		slices.Concat([]Term{
			{"token", "the id of the provisioning token"},
			{"token_name", "its name"},
			{"received", "when the push arrived; `time` is when the change was made"},
			{"result", "`activated` or `deactivated`, if the user was"},
			{"external_id", "the externalId of a user who was deactivated or deleted"},
			{"held_since", "of `release` and `reject`: since when the deactivation was held"},
			{"display_name", "the name of the group"},
			{"members_added", "how many members the group got"},
			{"members_removed", "how many it lost"},
			{"members_unknown", "how many were named whom the directory does not have"},
			{"member_#", "the id of one of the members that were added or removed; a few are named"},
			{"users", "how many users the operator named, or `all`"},
			{"user_#", "one of them; the first 20 are named"},
		}, ofFailure)},
	{KindToken, "an operator made, rotated or revoked a provisioning token", []string{"actor", "detail"},
		slices.Concat([]Term{{"created", "a token was made"}, {"rotated", "a token was made in the place of another"}, {"revoked", "a token is no longer valid"}}, failed),
		slices.Concat([]Term{{"token", "the id of the token"}, {"name", "its name"}, {"former", "the id of the token in whose place it is"}}, ofFailure)},
	{KindConfig, "the configuration was read again", []string{"actor", "detail"},
		[]Term{{"attempted", "the file is about to be read"}, {"reloaded", "what can change while the server runs is in force"}, {"refused", "the file has faults, and nothing was changed"}},
		slices.Concat([]Term{{"version", "the version of Sallyport"}}, ofFailure)},
	{KindBackup, "an operator copied the store", []string{"actor", "detail"},
		slices.Concat([]Term{{"copied", "a copy is about to be made"}}, failed), ofFailure},
	{KindStore, "an older store was put in the place of the newest", []string{"actor", "rev", "detail"},
		[]Term{{"restored", "it is a copy that `backup` made"}, {"loss_accepted", "an operator accepted that changes are lost"}},
		[]Term{{"recorded", "the newest revision that the record had"}}},
	{KindRequest, "somebody asked for access, or the request was decided", []string{"actor", "user", "user_name", "route", "detail"},
		slices.Concat([]Term{{"made", "the person asked"}, {"approved", "the actor approved it"}, {"denied", "the actor denied it"},
			{"withdrawn", "the person took it back"}, {"expired", "nobody decided in time, or the person left"}}, failed),
		slices.Concat([]Term{
			{"request", "the id of the request for access"},
			{"policy", "the policy that was asked for"},
			{"why", "what the actor gave as the reason"},
			{"approvals", "how many approvals count, and how many are needed"},
		}, ofFailure)},
	{KindGrant, "access for a while began or ended", []string{"actor", "user", "user_name", "route", "detail"},
		slices.Concat([]Term{{"began", "the last approval that was needed came"}, {"revoked", "the actor ended it"}, {"ended", "its time was over"},
			{"dead", "the person left, or was suspended"}}, failed),
		slices.Concat([]Term{
			{"grant", "the id of the grant"},
			{"request", "the id of the request for access"},
			{"policy", "the policy that was granted"},
			{"until", "when it ends by itself"},
			{"approved_by", "the userNames of those who approved; each approval has an event of its own, too"},
			{"why", "what the actor gave as the reason"},
		}, ofFailure)},
	{KindReview, "a review of who has access began or ended, or somebody decided in it", []string{"actor", "user", "user_name", "group", "route", "rule", "detail"},
		slices.Concat([]Term{{"started", "the review began"}, {"kept", "the person keeps the access"}, {"revoked", "memberships of the person stopped counting"},
			{"asked", "the reviewer asks somebody else"}, {"closed", "the review ended"}, {"cleared", "the identity provider removed a membership that was revoked"}}, failed),
		slices.Concat([]Term{
			{"review", "the id of the review"},
			{"row", "the number of the row in it"},
			{"rows", "how many rows it has"},
			{"reviewer", "who decides"},
			{"due", "by when"},
			{"why", "what the actor gave as the reason"},
			{"groups", "the groups whose memberships were revoked, or no longer are"},
			{"group", "the name of the group"},
			{"lifted", "who had revoked what is kept now"},
			{"since", "when the membership was revoked"},
			{"cleared", "when it was removed"},
			{"undecided", "how many rows nobody decided about"},
		}, ofFailure)},
	{KindAudit, "the record itself: it could not be written for a while, or it goes on in another file", []string{"rev", "detail"},
		[]Term{
			{"recovered", "the record can be written again"},
			{"unrecorded", "the disk is full, and requests and sign-ins are let in without a line (`audit.on_failure: allow`): from now on, or, with a count in `detail`, until the server stopped"},
			{"rotated", "the file begins after another one was closed"},
			{"begun", "at the start, the file before was not where it was left"},
			{"checkpoint", "what was written before is signed"},
			{"expired", "a file was deleted, since it is older than files are kept"},
		},
		[]Term{
			{"refused", "how many events were refused meanwhile"},
			{"unrecorded", "how many requests and sign-ins were let in meanwhile without a line"},
			{"former_lines", "the number of the last line of the former file"},
			{"former_hash", "its hash"},
			{"former_file", "the name of the former file"},
			{"number", "the number of the last line that is signed"},
			{"hash", "its hash"},
			{"key", "the id of the key that signed"},
			{"signature", "the signature (Ed25519, base64)"},
			{"file", "the name of the file that was deleted"},
			{"first", "the number of its first line"},
			{"last", "the number of its last line"},
			{"last_hash", "the hash of its last line"},
		}},
	{KindStart, "the server started", []string{"detail"},
		[]Term{{"", "it begins to serve"}, {"torn_line_removed", "a crash had left the last line of the record incomplete, and it was removed"}},
		[]Term{{"version", "the version of Sallyport"}, {"bytes", "how long the incomplete line was"}}},
	{KindStop, "the server stopped", []string{"detail"}, []Term{{"", "it served until now"}}, []Term{{"version", "the version of Sallyport"}}},
}

package ocsf

import (
	"strconv"

	"sallyport/audit"
)

// mappings write the fields of a class for each kind of event.
var mappings = map[audit.Kind]func(*audit.Event) *event{
	audit.KindLogin:      login,
	audit.KindLogout:     logout,
	audit.KindEnd:        logout,
	audit.KindDecision:   decision,
	audit.KindCut:        cut,
	audit.KindLive:       managed("live requests", "", ""),
	audit.KindSuspend:    suspend,
	audit.KindBreakGlass: breakGlass,
	audit.KindSCIM:       push,
	audit.KindToken:      managed("provisioning token", "token", "name"),
	audit.KindConfig:     managed("configuration", "", ""),
	audit.KindBackup:     managed("store", "", ""),
	audit.KindStore:      managed("store", "", ""),
	audit.KindRequest:    managed("access request", "request", "policy"),
	audit.KindGrant:      access,
	audit.KindReview:     managed("access review", "review", ""),
	audit.KindEnforced:   managed("change on replicas", "change", "action"),
	audit.KindAudit:      recordChange,
	audit.KindUpgrade:    managed("server", "", ""),
	audit.KindStart:      start,
	audit.KindStop:       stop,
}

// action returns the reason of an event, or of the one whose failure it tells.
func action(e *audit.Event) string {
	if e.Reason == "failed" && e.Detail["action"] != "" {
		return e.Detail["action"]
	}
	return e.Reason
}

// activity returns the activity for an action, or that of everything else.
func activity(action string, of map[string]int) int {
	if n, ok := of[action]; ok {
		return n
	}
	return other
}

// The activities of Authentication.
const (
	logon  = 1
	logoff = 2
)

// signIn returns an event about a sign-in or sign-out.
func signIn(e *audit.Event, activity int) *event {
	out := &event{authentication, activity, object{"user": user(e.User, e.UserName), "service": object{"name": "Sallyport"}}, nil}
	out.set("http_request", request(e))
	if e.Code != 0 {
		out.set("http_response", object{"code": e.Code})
	}
	if e.Session != "" {
		out.set("session", object{"uid": e.Session})
	}
	if e.Host != "" {
		out.set("dst_endpoint", object{"hostname": e.Host})
	}
	return out
}

func login(e *audit.Event) *event {
	out := signIn(e, logon)
	if e.Reason != "break_glass" {
		out.set("auth_protocol_id", protocolOpenID)
	}
	return out
}

func logout(e *audit.Event) *event { return signIn(e, logoff) }

// breakGlass is a sign-in by a code, or what operators do with codes.
func breakGlass(e *audit.Event) *event {
	if e.Actor == (audit.Actor{}) || e.Reason == "used" {
		return signIn(e, logon)
	}
	return managed("break-glass code", "", "")(e)
}

// methods are the activities of HTTP Activity.
var methods = map[string]int{"CONNECT": 1, "DELETE": 2, "GET": 3, "HEAD": 4, "OPTIONS": 5, "POST": 6, "PUT": 7, "TRACE": 8}

func decision(e *audit.Event) *event {
	out := &event{httpActivity, activity(e.Method, methods), object{"http_request": request(e)}, []string{profileControl}}
	out.set("action_id", actionAllowed)
	out.set("disposition_id", dispositionOpen)
	if e.Decision == "deny" {
		out.set("action_id", actionDenied)
		out.set("disposition_id", dispositionShut)
	}
	out.set("app_name", e.Route)
	if e.Rule != "" {
		out.set("policy", object{"name": e.Rule})
	}
	if e.Code != 0 {
		out.set("http_response", object{"code": e.Code})
	}
	if e.Host != "" {
		out.set("dst_endpoint", object{"hostname": e.Host})
	}
	if id := e.Detail["trace"]; id != "" {
		out.set("trace", object{"uid": id})
		out.profiles = append(out.profiles, profileTrace)
	}
	return out
}

func cut(e *audit.Event) *event {
	out := decision(e)
	out.set("action_id", actionDenied)
	out.set("disposition_id", dispositionCut)
	if begun, ok := millis(e.Detail["begun"]); ok {
		out.set("start_time", begun)
		out.set("end_time", e.Time.UnixMilli())
	}
	return out
}

// The activities of Account Change.
const (
	accountCreate  = 1
	accountEnable  = 2
	accountDisable = 5
	accountDelete  = 6
	accountLock    = 9
	accountUnlock  = 12
)

func suspend(e *audit.Event) *event {
	return account(e, activity(action(e), map[string]int{"suspended": accountLock, "unsuspended": accountUnlock}))
}

func account(e *audit.Event, activity int) *event {
	return &event{accountChange, activity, object{"user": user(e.User, e.UserName)}, nil}
}

// push is a change of the directory: of a group, of a user, or of what is held.
func push(e *audit.Event) *event {
	switch {
	case e.Group != "":
		return groupPush(e)
	case e.User == "" && e.UserName == "":
		return managed("held deactivations", "", "")(e)
	}
	n := activity(action(e), map[string]int{"create": accountCreate, "delete": accountDelete, "removed": accountDelete, "release": accountDisable})
	switch {
	case n != other:
	case e.Detail["result"] == "deactivated":
		n = accountDisable
	case e.Detail["result"] == "activated":
		n = accountEnable
	}
	return account(e, n)
}

// The activities of Group Management.
const (
	groupAdd    = 3
	groupRemove = 4
	groupDelete = 5
	groupCreate = 6
)

func groupPush(e *audit.Event) *event {
	n := activity(action(e), map[string]int{"create": groupCreate, "delete": groupDelete, "removed": groupDelete})
	added, _ := strconv.Atoi(e.Detail["members_added"])
	removed, _ := strconv.Atoi(e.Detail["members_removed"])
	switch {
	case n != other:
	case added > 0 && removed == 0:
		n = groupAdd
	case removed > 0 && added == 0:
		n = groupRemove
	}
	group := object{"uid": e.Group}
	if name := e.Detail["display_name"]; name != "" {
		group["name"] = name
	}
	out := &event{groupChange, n, object{"group": group}, nil}
	if e.User != "" || e.UserName != "" {
		out.set("user", user(e.User, e.UserName))
	}
	return out
}

// The activities of Entity Management.
const (
	entityCreate     = 1
	entityRead       = 2
	entityUpdate     = 3
	entityDelete     = 4
	entityActivate   = 10
	entityDeactivate = 11
)

var entityActivities = map[string]int{
	"armed": entityCreate, "disarmed": entityDelete,
	"created": entityCreate, "rotated": entityUpdate, "revoked": entityDelete,
	"reloaded": entityUpdate, "attempted": entityUpdate, "refused": entityUpdate,
	"copied": entityRead, "restored": entityUpdate, "loss_accepted": entityUpdate,
	"made": entityCreate, "approved": entityActivate, "denied": entityDeactivate, "withdrawn": entityDelete, "expired": entityDelete,
	"started": entityCreate, "kept": entityUpdate, "asked": entityUpdate, "cleared": entityUpdate, "closed": entityDeactivate,
	"held deactivations released": entityUpdate, "held deactivations rejected": entityUpdate,
}

// managed writes what is done with an entity of Sallyport. idKey and nameKey are the details that tell its id and its name.
func managed(kind, idKey, nameKey string) func(*audit.Event) *event {
	return func(e *audit.Event) *event {
		thing := object{"type_id": other, "type": kind, "name": kind}
		if id := e.Detail[idKey]; id != "" {
			thing["uid"] = id
		}
		if name := e.Detail[nameKey]; name != "" {
			thing["name"] = name
		}
		if e.User != "" || e.UserName != "" {
			thing["user"] = user(e.User, e.UserName)
		}
		if e.Group != "" {
			thing["group"] = object{"uid": e.Group}
		}
		out := &event{entity, activity(action(e), entityActivities), object{"entity": thing}, nil}
		out.set("comment", e.Detail["why"])
		return out
	}
}

// access is a grant that began or ended.
func access(e *audit.Event) *event {
	const assign, revoke = 1, 2
	n := activity(action(e), map[string]int{"began": assign, "revoked": revoke, "ended": revoke, "dead": revoke})
	return &event{userAccess, n, object{"user": user(e.User, e.UserName), "privileges": []string{orUnknown(e.Detail["policy"])}}, nil}
}

// recordChange is an event of the record itself.
func recordChange(e *audit.Event) *event {
	const remove, rotate, restart = 2, 5, 8
	n := activity(e.Reason, map[string]int{"expired": remove, "rotated": rotate, "recovered": restart})
	return &event{eventLog, n, object{"log_name": "audit"}, nil}
}

func start(e *audit.Event) *event {
	const begin = 3
	if e.Reason != "" {
		return &event{lifecycle, other, app(e), nil}
	}
	return &event{lifecycle, begin, app(e), nil}
}

func stop(e *audit.Event) *event {
	const end = 4
	return &event{lifecycle, end, app(e), nil}
}

func app(e *audit.Event) object {
	product := object{"name": "Sallyport", "vendor_name": "Sallyport"}
	if v := e.Detail["version"]; v != "" {
		product["version"] = v
	}
	return object{"app": product}
}

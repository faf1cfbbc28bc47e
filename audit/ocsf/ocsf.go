// Package ocsf writes lines of the audit record as events of the Open Cybersecurity Schema Framework, version 1.5.0.
//
// Each kind of event belongs to a class. The whole line is in raw_data too, so that nothing is lost and its hash can be
// checked.
package ocsf

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"sallyport/audit"
)

// Version is the version of OCSF that events are written in.
const Version = "1.5.0"

// object is an object of OCSF.
type object = map[string]any

// class is a class of events.
type class struct {
	uid      int
	name     string
	category int
	group    string // the name of the category
}

const (
	system      = 1
	identity    = 3
	network     = 4
	application = 6
)

var (
	eventLog       = class{1008, "Event Log Activity", system, "System Activity"}
	accountChange  = class{3001, "Account Change", identity, "Identity & Access Management"}
	authentication = class{3002, "Authentication", identity, "Identity & Access Management"}
	entity         = class{3004, "Entity Management", identity, "Identity & Access Management"}
	userAccess     = class{3005, "User Access Management", identity, "Identity & Access Management"}
	groupChange    = class{3006, "Group Management", identity, "Identity & Access Management"}
	httpActivity   = class{4002, "HTTP Activity", network, "Network Activity"}
	lifecycle      = class{6002, "Application Lifecycle", application, "Application Activity"}
)

// Values of attributes that several classes have.
const (
	other           = 99
	severityInfo    = 1
	severityMedium  = 3
	severityHigh    = 4
	statusSuccess   = 1
	statusFailure   = 2
	actionAllowed   = 1
	actionDenied    = 2
	dispositionOpen = 1  // Allowed
	dispositionShut = 2  // Blocked
	dispositionCut  = 24 // Access Revoked
	protocolOpenID  = 4
	typeAdmin       = 2
)

// The profiles of OCSF that events use.
const (
	profileHost    = "host"             // actor, where a class does not have it
	profileControl = "security_control" // action_id, disposition_id, policy
	profileTrace   = "trace"
)

// event is an event in the making.
type event struct {
	class    class
	activity int
	fields   object
	profiles []string
}

// Encode returns a line, whose text it was read from, as one event in JSON.
func Encode(l *audit.Line, text []byte) ([]byte, error) {
	mapped, ok := mappings[l.Kind]
	if !ok {
		return nil, fmt.Errorf("there is no class of OCSF for the kind %q", l.Kind)
	}
	e := mapped(&l.Event)
	e.set("class_uid", e.class.uid)
	e.set("class_name", e.class.name)
	e.set("category_uid", e.class.category)
	e.set("category_name", e.class.group)
	e.set("activity_id", e.activity)
	e.set("type_uid", e.class.uid*100+e.activity)
	e.set("time", l.Time.UnixMilli())
	e.set("severity_id", severity(&l.Event))
	e.set("status_id", status(&l.Event))
	e.set("status_detail", l.Reason)
	e.set("unmapped", unmapped(&l.Event))
	e.set("raw_data", string(text))
	e.setActor(&l.Event)
	metadata := object{"version": Version, "product": object{"name": "Sallyport", "vendor_name": "Sallyport"}, "log_name": "audit", "event_code": code(&l.Event),
		"sequence": l.Seq, "uid": l.Hash}
	if l.Request != "" {
		metadata["correlation_uid"] = l.Request
	}
	if len(e.profiles) > 0 {
		slices.Sort(e.profiles)
		metadata["profiles"] = slices.Compact(e.profiles)
	}
	e.set("metadata", metadata)
	return json.Marshal(e.fields)
}

// code returns what an event is, in the words of the record.
func code(e *audit.Event) string {
	if e.Reason == "" {
		return string(e.Kind)
	}
	return string(e.Kind) + "." + e.Reason
}

// set sets a field, unless the value is empty.
func (e *event) set(name string, value any) {
	switch v := value.(type) {
	case string:
		if v == "" {
			return
		}
	case object:
		if len(v) == 0 {
			return
		}
	}
	e.fields[name] = value
}

// failed reports whether what an event tells of did not happen, or was denied.
func failed(e *audit.Event) bool {
	return e.Decision == "deny" || e.Kind == audit.KindCut || slices.Contains([]string{"failed", "refused", "sink_lost"}, e.Reason)
}

func severity(e *audit.Event) int {
	switch {
	case e.Kind == audit.KindBreakGlass:
		return severityHigh
	case failed(e):
		return severityMedium
	}
	return severityInfo
}

func status(e *audit.Event) int {
	if failed(e) {
		return statusFailure
	}
	return statusSuccess
}

// unmapped returns what OCSF has no attribute for.
func unmapped(e *audit.Event) object {
	o := object{}
	for name, text := range map[string]string{"replica": e.Replica, "route": e.Route, "rule": e.Rule, "decision": e.Decision, "actor_kind": string(e.Actor.Kind), "actor_session": e.Actor.Session} {
		if text != "" {
			o[name] = text
		}
	}
	if _, ok := methods[e.Method]; !ok && e.Method != "" {
		o["method"] = e.Method
	}
	if e.Revision != 0 {
		o["rev"] = e.Revision
	}
	if len(e.Detail) > 0 {
		o["detail"] = e.Detail
	}
	return o
}

// setActor sets who acted, and from where.
func (e *event) setActor(of *audit.Event) {
	address := of.Address
	if address == "" {
		address = of.Actor.Address
	}
	if endpoint := endpoint(address); e.class != lifecycle {
		e.set("src_endpoint", endpoint)
	}
	actor := actorOf(of)
	if len(actor) == 0 {
		return
	}
	if e.class == httpActivity || e.class == lifecycle {
		e.profiles = append(e.profiles, profileHost)
	}
	e.set("actor", actor)
}

// actorOf returns who acted: on Sallyport itself, or by a request.
func actorOf(e *audit.Event) object {
	a := e.Actor
	switch a.Kind {
	case audit.ActorOperator:
		return object{"user": object{"name": orUnknown(a.Name), "type_id": typeAdmin}}
	case audit.ActorSystem:
		return object{"app_name": "Sallyport", "invoked_by": orUnknown(a.Name)}
	case audit.ActorUser:
		return object{"user": user(a.ID, a.Name)}
	case audit.ActorToken, audit.ActorProvider:
		o := object{"app_name": orUnknown(a.Name)}
		if a.ID != "" {
			o["app_uid"] = a.ID
		}
		return o
	}
	if e.Kind != audit.KindDecision && e.Kind != audit.KindCut || e.User == "" && e.UserName == "" {
		return nil
	}
	o := object{"user": user(e.User, e.UserName)}
	if e.Session != "" {
		o["session"] = object{"uid": e.Session}
	}
	return o
}

const unknown = "unknown"

func orUnknown(text string) string {
	if text == "" {
		return unknown
	}
	return text
}

// user returns a user, who has a name or an id.
func user(id, name string) object {
	o := object{}
	if id != "" {
		o["uid"] = id
	}
	if name != "" || id == "" {
		o["name"] = orUnknown(name)
	}
	return o
}

// endpoint returns where a client is: an IP address, or what is known instead.
func endpoint(address string) object {
	if address == "" {
		return nil
	}
	if ip, err := netip.ParseAddr(address); err == nil {
		return object{"ip": ip.WithZone("").Unmap().String()}
	}
	return object{"name": address}
}

// request returns the HTTP request of an event.
func request(e *audit.Event) object {
	o := object{}
	if e.Request != "" {
		o["uid"] = e.Request
	}
	if _, ok := methods[e.Method]; ok { // OCSF knows no other
		o["http_method"] = e.Method
	}
	if e.Path != "" {
		url := object{"path": e.Path, "scheme": "https"}
		if e.Host != "" {
			url["hostname"] = e.Host
		}
		o["url"] = url
	}
	return o
}

// millis returns a time of a detail in milliseconds since 1970.
func millis(text string) (int64, bool) {
	at, err := time.Parse(time.RFC3339, text)
	return at.UnixMilli(), err == nil
}

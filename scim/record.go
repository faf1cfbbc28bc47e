package scim

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"sallyport/audit"
	"sallyport/directory"
	"sallyport/scim/internal/schema"
)

// change is what the audit record tells about a push.
type change struct {
	operation string // create, replace, patch, delete
	result    string // activated, deactivated, or ""
	user      *directory.User
	group     *directory.Group
	detail    map[string]string
}

// recordEvent stores the audit event of a change in the transaction of the change, and says in the history who made it.
func (s *Server) recordEvent(tx *directory.Tx, req *request, c change) error {
	tx.By(req.token.cause())
	event := audit.Event{Time: tx.Now(), Kind: audit.KindSCIM, Actor: s.actorOf(req), Method: req.Method, Reason: c.operation, Revision: tx.Revision(),
		Detail: map[string]string{"token": req.token.ID, "token_name": req.token.Name, "received": req.received.Format(time.RFC3339Nano)}}
	maps.Copy(event.Detail, c.detail)
	if c.result != "" {
		event.Detail["result"] = c.result
	}
	if c.user != nil {
		event.User, event.UserName = c.user.ID, c.user.UserName
		if c.operation == "delete" || c.result == "deactivated" {
			event.Detail = leaverDetail(c.user, event.Detail)
		}
	}
	if c.group != nil {
		event.Group = c.group.ID
		event.Detail["display_name"] = c.group.DisplayName
	}
	data, err := json.Marshal(event)
	if err != nil {
		return fmt.Errorf("encoding an audit event: %w", err)
	}
	req.recorded = []audit.Event{event} // the transaction may run again
	return tx.Record(directory.Record{Received: req.received, Event: data})
}

// actorOf returns who sent a request.
func (s *Server) actorOf(req *request) audit.Actor {
	address, _ := s.origin(req.Request)
	return audit.Actor{Kind: audit.ActorToken, Name: req.token.Name, ID: req.token.ID, Address: address}
}

// leaverDetail adds to detail, which may be nil, the externalId of a user who leaves: the directory may forget it, and
// whoever signs in afterwards is known by it alone.
func leaverDetail(u *directory.User, detail map[string]string) map[string]string {
	if u.ExternalID == "" {
		return detail
	}
	if detail == nil {
		detail = map[string]string{}
	}
	detail["external_id"] = u.ExternalID
	return detail
}

// countOperation counts a change by its result.
func (s *Server) countOperation(kind *schema.ResourceType, operation string, changed bool, err error) {
	result := "unchanged"
	var held *heldError
	switch {
	case errors.As(err, &held):
		result = "held"
	case err != nil && !errors.Is(err, directory.ErrStored):
		result = "refused"
	case changed:
		result = "changed"
	}
	s.metrics.operations.WithLabelValues(kind.Name, operation, result).Inc()
}

// kindToken is the kind of a cause that is a provisioning token.
const kindToken = "token"

// cause returns the token as the history names it.
func (t Token) cause() directory.Cause {
	return directory.Cause{Kind: kindToken, Name: t.Name, ID: t.ID}
}

// causeOf returns an actor as the history names one.
func causeOf(a audit.Actor) directory.Cause {
	return directory.Cause{Kind: string(a.Kind), Name: a.Name}
}

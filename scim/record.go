package scim

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"

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

// recordEvent stores the audit event of a change in the transaction of the change.
func (s *Server) recordEvent(tx *directory.Tx, req *request, c change) error {
	event := audit.Event{Time: tx.Now(), Kind: audit.KindSCIM, Method: req.Method, Reason: c.operation, Revision: tx.Revision(),
		Detail: map[string]string{"token": req.token.ID, "token_name": req.token.Name}}
	maps.Copy(event.Detail, c.detail)
	if c.result != "" {
		event.Detail["result"] = c.result
	}
	if c.user != nil {
		event.User, event.UserName = c.user.ID, c.user.UserName
	}
	if c.group != nil {
		event.Group = c.group.ID
		event.Detail["display_name"] = c.group.DisplayName
	}
	data, err := json.Marshal(event)
	if err != nil {
		return fmt.Errorf("encoding an audit event: %w", err)
	}
	return tx.Record(directory.Record{Received: req.received, Event: data})
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

package scim

import (
	"errors"
	"net/http"

	"sallyport/audit"
	"sallyport/directory"
	"sallyport/enforce"
)

// awaitReplicas returns once no replica decides without what a request changed; err is that of its handler. A request that
// changed nothing waits too: what it found may be the change of an earlier one that was answered with 503, or that is not
// answered yet. An error means that it could not be found out what replicas decide by.
func (s *Server) awaitReplicas(req *request, err error) error {
	if s.enforcer == nil || s.settings.Enforce == EnforceLocal || !confirmsState(req, err) {
		return nil
	}
	var outcome enforce.Outcome
	var unknown error
	if len(req.recorded) > 0 && err == nil {
		outcome, unknown = s.enforcer.Wait(req.Context(), req.recorded...)
		req.enforced = outcome.String()
	} else {
		_, unknown = s.enforcer.Again(req.Context(), s.subjectOf(req))
	}
	return unknown
}

// confirmsState reports whether the response to a request tells the client that a change is made: the handler has made
// it, or the resource is gone.
func confirmsState(req *request, err error) bool {
	var p *problem
	gone := errors.Is(err, directory.ErrNotFound) || errors.As(err, &p) && p.status == http.StatusNotFound
	switch req.Method {
	case http.MethodPut, http.MethodPatch, http.MethodDelete:
		return req.PathValue("id") != "" && req.token.ID != "" && (err == nil || gone)
	case http.MethodPost: // but for searches
		return err == nil && (len(req.recorded) > 0 || resourceLabel(req.URL.Path) == "Bulk")
	}
	return false
}

// subjectOf returns an event about the resource that a request names.
func (s *Server) subjectOf(req *request) audit.Event {
	e := audit.Event{Kind: audit.KindSCIM, Actor: s.actorOf(req)}
	if resourceLabel(req.URL.Path) == s.types.Group.Endpoint {
		e.Group = req.PathValue("id")
	} else {
		e.User = req.PathValue("id")
	}
	return e
}

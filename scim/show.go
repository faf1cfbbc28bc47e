package scim

import (
	"net/http"

	"sallyport/directory"
)

// show handles GET /Users/{id} and GET /Groups/{id} (RFC 7644 §3.4.1).
func (e endpoint) show(req *request) (out any, err error) {
	want, err := selection(e.resourceType, req)
	if err != nil {
		return nil, err
	}
	id := req.PathValue("id")
	var version uint64
	err = e.server.directory.View(req.Context(), func(tx *directory.Tx) error {
		if e.resourceType == req.types.User {
			u, err := tx.User(id)
			if err != nil {
				return notFound(err, id)
			}
			version = u.Version
			out, err = userResource(tx, req, &u, want)
			return err
		}
		g, err := tx.Group(id)
		if err != nil {
			return notFound(err, id)
		}
		version = g.Version
		out, err = groupResource(tx, req, &g, want)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := req.precondition(version); err != nil {
		return nil, err
	}
	req.etag, req.location = etag(version), req.base+"/"+e.resourceType.Endpoint+"/"+id
	if req.notModified(version) {
		req.status = http.StatusNotModified
		return nil, nil
	}
	return out, nil
}

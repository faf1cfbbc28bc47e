package scim

import (
	"net/http"

	"sallyport/directory"
)

// show answers one resource by id.
func (r resource) show(e *exchange) (out any, err error) {
	want, err := selected(r.kind, e)
	if err != nil {
		return nil, err
	}
	id := e.PathValue("id")
	var version uint64
	err = r.server.directory.View(e.Context(), func(tx *directory.Tx) error {
		if r.kind == e.kinds.user {
			u, err := tx.User(id)
			if err != nil {
				return notFound(err, id)
			}
			version = u.Version
			out, err = userResource(tx, e, &u, want)
			return err
		}
		g, err := tx.Group(id)
		if err != nil {
			return notFound(err, id)
		}
		version = g.Version
		out, err = groupResource(tx, e, &g, want)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := e.precondition(version); err != nil {
		return nil, err
	}
	e.etag, e.location = etag(version), e.base+"/"+r.kind.endpoint+"/"+id
	if e.notModified(version) {
		e.status = http.StatusNotModified
		return nil, nil
	}
	return out, nil
}

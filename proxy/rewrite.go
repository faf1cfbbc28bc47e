package proxy

import (
	"net/http"
	"strings"

	"sallyport/proxy/internal/canonical"
)

// compile makes canonical what r says; a nil *Rewrite says nothing.
func (r *Rewrite) compile() (strip, add string, err error) {
	if r == nil {
		return "", "", nil
	}
	if strip, err = routePath(r.Strip); err != nil {
		return "", "", err
	}
	if add, err = routePath(r.Add); err != nil {
		return "", "", err
	}
	return strings.TrimSuffix(strip, "/"), strings.TrimSuffix(add, "/"), nil
}

// rewritePath is the path of a visit as the upstream sees it. Where it is another than was decided on, it has to be as
// canonical as that one.
func (r *route) rewritePath(req *request) (string, *denial) {
	if r.stripPath == "" && r.addPath == "" {
		return req.path, nil
	}
	path := r.addPath + strings.TrimPrefix(req.path, r.stripPath)
	if path == "" {
		path = "/"
	}
	again, lenient, err := canonical.Path(path)
	if err != nil || again != path || lenient && !req.lenient || canonical.Under(path, internalRoot) {
		return "", deny(badPath, "not a path any more when it is rewritten")
	}
	return path, nil
}

// headerEdits are HeaderEdits with their names as net/http spells them.
type headerEdits struct {
	remove []string
	set    http.Header
}

func (e HeaderEdits) compile() headerEdits {
	c := headerEdits{set: http.Header{}}
	for _, name := range e.Remove {
		c.remove = append(c.remove, http.CanonicalHeaderKey(name))
	}
	for _, one := range e.Set {
		c.set.Add(one.Name, one.Value)
	}
	return c
}

func (e headerEdits) apply(h http.Header) {
	for _, name := range e.remove {
		delete(h, name)
	}
	for name, values := range e.set {
		h[name] = values
	}
}

// isPreflight says whether r is what a browser asks on behalf of another site's page, before it asks what the page
// wants (Fetch §3.3.2). It never says who is there.
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.ContentLength == 0 && len(r.TransferEncoding) == 0 &&
		len(r.Header["Origin"]) == 1 && len(r.Header["Access-Control-Request-Method"]) == 1
}

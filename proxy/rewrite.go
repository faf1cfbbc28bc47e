package proxy

import (
	"slices"
	"strings"

	"sallyport/proxy/internal/canonical"
)

// compile returns both parts in canonical form. A nil *Rewrite has none.
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

// rewritePath returns the path that is sent to the upstream. If the rewrite changes the path that was decided on, the
// result must be canonical too.
func (r *route) rewritePath(req *request) (string, *denial) {
	if r.stripPath == "" && r.addPath == "" {
		return req.path, nil
	}
	path := r.addPath + strings.TrimPrefix(req.path, r.stripPath)
	if path == "" {
		path = "/"
	}
	normalized, lenient, err := canonical.Path(path)
	if err != nil || normalized != path || lenient && !req.lenient || canonical.Under(path, internalRoot) {
		return "", deny(badPath, "the rewritten path is not canonical")
	}
	if (req.lenient || r.folded != nil) && !r.decidedReadings(req, path) {
		return "", deny(badPath, "the rewritten path can be read as one that was not decided")
	}
	return path, nil
}

// decidedReadings reports whether every reading of a rewritten path comes from a reading of the path that was decided.
func (r *route) decidedReadings(req *request, path string) bool {
	rewritten, err := r.read(path)
	return err == nil && r.comeFrom(rewritten.exact, req.readings.exact, asWritten) && r.comeFrom(rewritten.folded, req.readings.folded, canonical.Fold)
}

func (r *route) comeFrom(rewritten, decided []string, fold func(string) string) bool {
	add, strip := fold(canonical.Decoded(r.addPath)), fold(canonical.Decoded(r.stripPath))
	return !slices.ContainsFunc(rewritten, func(reading string) bool {
		rest, ok := strings.CutPrefix(reading, add)
		return !ok || !slices.Contains(decided, strip+rest)
	})
}

package console

import (
	"net/http"
	"strings"
)

// AssetsPath is the path below which the files of the configuration are that pages name, by their hashes.
const AssetsPath = "/.sallyport/assets"

// add reads the picture at path and returns the path at which it is served; "" for "".
func (l *look) add(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	read, err := readPicture(path)
	if err != nil {
		return "", err
	}
	return l.addFile(read), nil
}

func (l *look) addFile(f *picture) string {
	l.files[f.name] = f
	return AssetsPath + "/" + f.name
}

// asset serves a file that pages name. The logo and the color are on pages that anybody sees; icons tell which applications
// there are, so only people who are signed in get them.
func (h *Handler) asset(w http.ResponseWriter, r *http.Request, path string, c Caller) error {
	l := h.pages.look.Load()
	f, ok := l.files[strings.TrimPrefix(path, AssetsPath+"/")]
	if !ok || c.User == nil && path != l.logo && path != l.sheet {
		return ErrNoPage
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return &MethodError{[]string{http.MethodGet, http.MethodHead}}
	}
	header := w.Header()
	header.Set("Content-Type", f.kind)
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox") // of an SVG that is opened by itself
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Cache-Control", "private, max-age=31536000, immutable")
	_, _ = w.Write(f.body)
	return nil
}

// Look is what other pages of Sallyport show of the configuration.
type Look struct {
	Title string
	Logo  string // the path of the logo; "" for none
	Style string // the path of a style sheet with the color; "" for none
}

// Look returns how pages look now.
func (p *Pages) Look() Look {
	l := p.look.Load()
	return Look{l.Brand.title(), l.logo, l.sheet}
}

// Contact returns whom people may turn to, as pages name them.
func (p *Pages) Contact() string {
	if contact := p.look.Load().Contact; contact != "" {
		return contact
	}
	return "the people who run this service"
}

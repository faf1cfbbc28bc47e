package demo

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
)

//go:embed pages
var files embed.FS

// pages are the web pages of the demo. They load nothing from other servers.
type pages struct {
	templates *template.Template
	static    fs.FS
}

func newPages() (*pages, error) {
	t, err := template.ParseFS(files, "pages/*.html")
	if err != nil {
		return nil, fmt.Errorf("parsing the demo's pages: %w", err)
	}
	static, err := fs.Sub(files, "pages/assets")
	return &pages{t, static}, err
}

// policy lets a page load and call its own origin only.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

func (p *pages) write(w http.ResponseWriter, name string, data any) {
	var body bytes.Buffer
	if err := p.templates.ExecuteTemplate(&body, name, data); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	_, _ = w.Write(body.Bytes()) // fails only if the client is gone
}

// assets serves style sheets and scripts under /assets/.
func (p *pages) assets(mux *http.ServeMux) {
	mux.Handle("GET /assets/", http.StripPrefix("/assets/", http.FileServerFS(p.static)))
}

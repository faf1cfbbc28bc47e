package manage

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v4"

	"sallyport/console"
)

//go:embed all:pages static texts
var files embed.FS

// templates are the parsed pages, their texts and the files that they name.
type templates struct {
	pages  map[string]*template.Template
	texts  map[string]string
	static map[string]asset // by name
}

// asset is a file that pages name. Its path has its hash, so that browsers may keep it.
type asset struct {
	path string
	kind string
	body []byte
}

// parsedPages returns what parsePages does. It parses once, for all handlers: the pages are part of the program. The first
// page that is shown causes it, since it would take a tenth of a start.
var parsedPages = sync.OnceValues(parsePages)

// parsePages parses the embedded pages, with the texts in English.
func parsePages() (t templates, err error) {
	t = templates{pages: map[string]*template.Template{}, texts: map[string]string{}, static: map[string]asset{}}
	english, err := files.ReadFile("texts/en.yaml")
	if err != nil {
		return t, err
	}
	if err := yaml.Unmarshal(english, &t.texts); err != nil {
		return t, fmt.Errorf("reading the texts of the console: %w", err)
	}
	if err := t.readStatic(); err != nil {
		return t, err
	}
	shared, err := template.New("_layout.html").Funcs(t.funcs()).ParseFS(files, "pages/_*.html")
	if err != nil {
		return t, fmt.Errorf("parsing what the pages of the console share: %w", err)
	}
	names, err := fs.Glob(files, "pages/*.html")
	if err != nil {
		return t, err
	}
	for _, name := range names {
		base := strings.TrimSuffix(path.Base(name), ".html")
		if strings.HasPrefix(base, "_") {
			continue
		}
		parsed, err := shared.Clone()
		if err == nil {
			parsed, err = parsed.ParseFS(files, name)
		}
		if err != nil {
			return t, fmt.Errorf("parsing page %s of the console: %w", base, err)
		}
		t.pages[base] = parsed
	}
	return t, nil
}

func (t templates) readStatic() error {
	return fs.WalkDir(files, "static", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(body)
		short := strings.TrimPrefix(name, "static/")
		t.static[short] = asset{StaticPath + "/" + hex.EncodeToString(sum[:8]) + "/" + short, mime.TypeByExtension(path.Ext(name)), body}
		return nil
	})
}

// funcs are what pages may call.
func (t templates) funcs() template.FuncMap {
	return template.FuncMap{
		"text":  t.text,
		"known": func(key string) bool { _, ok := t.texts[key]; return ok },
		"asset": func(name string) (string, error) {
			a, ok := t.static[name]
			if !ok {
				return "", fmt.Errorf("no file %s", name)
			}
			return a.path, nil
		},
		"time": showTime, "ago": showAgo, "path": func(below string) string { return Path + below },
		"dict": dict, "clip": clip, "commands": showCommands,
	}
}

// text returns a text by its key, with its verbs filled in. A key that no text has is an error.
func (t templates) text(key string, args ...any) (string, error) {
	text, ok := t.texts[key]
	switch {
	case !ok:
		return "", fmt.Errorf("texts/en.yaml has no %q", key)
	case len(args) > 0:
		return fmt.Sprintf(text, args...), nil
	}
	return text, nil
}

// say is [templates.text] for code, which cannot show an error.
func (h *Handler) say(key string, args ...any) string {
	text, err := h.templates.text(key, args...)
	if err != nil {
		return key
	}
	return text
}

// showTime returns a time in UTC; the module of the console writes it in the time zone of the browser. The zero time is a dash.
func showTime(t time.Time) template.HTML {
	if t.IsZero() {
		return "–"
	}
	t = t.UTC()
	return template.HTML(`<time datetime="` + t.Format(time.RFC3339Nano) + `" title="` + t.Format("2006-01-02 15:04:05 UTC") + `">` + t.Format("2006-01-02 15:04:05 UTC") + `</time>`) //nolint:gosec // digits
}

// showAgo returns how long ago a time was, with the time itself on hover.
func showAgo(t time.Time) template.HTML {
	if t.IsZero() {
		return "–"
	}
	utc := t.UTC()
	return template.HTML(`<time data-ago datetime="` + utc.Format(time.RFC3339Nano) + `" title="` + utc.Format("2006-01-02 15:04:05 UTC") + `">` + short(time.Since(t)) + `</time>`) //nolint:gosec // digits
}

// showCommands returns text in which what is between two backticks is shown as code.
func showCommands(text string) template.HTML {
	var out strings.Builder
	for i, part := range strings.Split(text, "`") {
		escaped := template.HTMLEscapeString(part)
		if i%2 == 1 {
			escaped = "<code>" + escaped + "</code>"
		}
		out.WriteString(escaped)
	}
	return template.HTML(out.String()) //nolint:gosec // every part is escaped
}

// short returns a duration in its largest unit, such as 3 h.
func short(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d d", int(d.Hours()/24))
}

// dict returns a map of keys and values, for a template that is called with several.
func dict(pairs ...any) (map[string]any, error) {
	m := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		key, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("%v is no name", pairs[i])
		}
		m[key] = pairs[i+1]
	}
	return m, nil
}

// section is an entry of the navigation.
type section struct {
	Name string // of its page; its title is the text NAME.title
	Path string // below [Path]
}

// sections are the entries of the navigation, in their order.
var sections = []section{
	{"overview", "/"},
	{"live", "/live"},
	{"decisions", "/decisions"},
	{"people", "/people"},
	{"groups", "/groups"},
	{"routes", "/routes"},
	{"policy", "/policy"},
	{"provisioning", "/provisioning"},
	{"requests", "/requests"},
	{"reviews", "/reviews"},
	{"record", "/record"},
	{"configuration", "/configuration"},
}

// render writes a page. The whole page is rendered before its first byte is written.
func (h *Handler) render(q *request, p page) error {
	var body bytes.Buffer
	if err := h.renderPage(&body, q, p); err != nil {
		return err
	}
	setHeaders(q.Header())
	if p.Status != 0 {
		q.WriteHeader(p.Status)
	}
	_, _ = q.Write(body.Bytes())
	return nil
}

// renderPage writes a page to a buffer.
func (h *Handler) renderPage(body *bytes.Buffer, q *request, p page) error {
	token, err := q.token()
	if err != nil {
		return err
	}
	v := view{page: p, Viewer: q.Viewer, Sections: sections, Path: q.URL.Path, Query: q.URL.Query(), Token: token, Now: time.Now(), Look: h.Pages.Look()}
	if done := "done." + v.Query.Get("done"); done != "done." {
		v.Notice = h.templates.texts[done]
	}
	if a, ok := h.templates.static[p.Name+".js"]; ok {
		v.Script = a.path
	}
	return h.renderPart(body, v, "_layout.html")
}

// renderPart writes the part of a page that one of its templates renders. What several viewers share must have no token: that is
// of one session.
func (h *Handler) renderPart(body *bytes.Buffer, v view, part string) error {
	if v.Title == "" {
		v.Title = h.say(v.Name + ".title")
	}
	tmpl, ok := h.templates.pages[v.Name]
	if !ok {
		return fmt.Errorf("the console has no page %q", v.Name)
	}
	if err := tmpl.ExecuteTemplate(body, part, v); err != nil {
		h.Log.Error("a page of the console cannot be shown", "page", v.Name, "err", err)
		return err
	}
	console.Straighten(body.Bytes())
	return nil
}

// setHeaders sets the headers of a page. Scripts, styles, pictures and events come from this site alone, and none is inline.
func setHeaders(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin") // with no-referrer, browsers send the origin of a form as null
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

// Static writes a file that pages name, which anybody may read: styles, scripts and pictures. path is canonical and below
// [StaticPath]; its error is one of package console.
func (h *Handler) Static(w http.ResponseWriter, r *http.Request, path string) error {
	if err := h.parse(); err != nil {
		return err
	}
	name := strings.TrimPrefix(path, StaticPath+"/")
	_, file, _ := strings.Cut(name, "/")
	a, ok := h.templates.static[file]
	if !ok || a.path != path {
		return console.ErrNoPage
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return &console.MethodError{Allowed: allowed[http.MethodGet]}
	}
	w.Header().Set("Content-Type", a.kind)
	w.Header().Set("Cache-Control", "private, max-age=31536000, immutable")
	w.Header().Set("Cross-Origin-Resource-Policy", "same-origin")
	_, _ = w.Write(a.body)
	return nil
}

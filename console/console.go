// Package console is what people see of the door itself: who they are, what they may open, why they may not.
//
// Every page is one html/template in one layout with one embedded style sheet that the Content-Security-Policy
// names by its hash. No script, nothing from elsewhere: a page that needs either does not belong here.
package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"strings"
)

//go:embed pages
var files embed.FS

// Pages are the parsed templates. They are safe for concurrent use.
type Pages struct {
	pages map[string]*template.Template
	style string // the hash of the style sheet, as a CSP source
}

// names are the pages, each a file pages/NAME.html.
var names = []string{"denied", "error", "failed", "portal", "signout", "signedout"}

// New parses the embedded pages.
func New() (*Pages, error) {
	css, err := files.ReadFile("pages/style.css")
	if err != nil {
		return nil, fmt.Errorf("reading the style sheet of pages: %w", err)
	}
	sum := sha256.Sum256(css)
	p := &Pages{pages: map[string]*template.Template{}, style: "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"}
	funcs := template.FuncMap{"style": func() template.CSS { return template.CSS(css) }, "address": address}
	for _, name := range names {
		page, err := template.New("layout.html").Funcs(funcs).ParseFS(files, "pages/layout.html", "pages/"+name+".html")
		if err != nil {
			return nil, fmt.Errorf("parsing page %s: %w", name, err)
		}
		p.pages[name] = page
	}
	return p, nil
}

// Who is the person a page speaks to; the zero Who is nobody known.
type Who struct {
	Name     string // what to call them
	UserName string // what they sign in with
}

// Denied says no to somebody we know, and whom to ask.
type Denied struct {
	Who     Who
	Title   string // what happened, in a few words
	Method  string // what they asked for
	URL     string // without its query
	Why     string // the kind of rule that refused, as a sentence
	Owner   string // whom to ask: an e-mail address or a few words; "" if the route names nobody
	Request string // the request's id
	SignOut string // where to sign out, to come back as somebody else; "" for no such link
}

// Denied writes a 403.
func (p *Pages) Denied(w http.ResponseWriter, d Denied) { p.show(w, http.StatusForbidden, "denied", d) }

// Error says that something did not work which is nobody's denial.
type Error struct {
	Status  int
	Title   string
	Detail  string
	Request string
	Retry   string // where to try again; "" if that would not help
}

// Error writes e with its status.
func (p *Pages) Error(w http.ResponseWriter, e Error) { p.show(w, e.Status, "error", e) }

// Failed says that signing in did not work.
type Failed struct {
	Status  int
	Title   string
	Why     string
	Request string
	Retry   string // where to sign in again
}

// Failed writes f with its status.
func (p *Pages) Failed(w http.ResponseWriter, f Failed) { p.show(w, f.Status, "failed", f) }

// SignOut asks whether to sign out: links cannot do it, only the button can.
type SignOut struct {
	Who      Who
	Action   string // where the button posts to
	ReturnTo string // where to go afterwards; "" for nowhere
}

// SignOut writes s. Where it leads on to another place, the policy does not hold its form to this site: browsers
// hold the redirects after a form to it too, and from that place they may lead to sign in again, anywhere.
func (p *Pages) SignOut(w http.ResponseWriter, s SignOut) {
	p.headers(w.Header(), s.ReturnTo == "")
	p.write(w, http.StatusOK, "signout", s)
}

// SignedOut says that the session is over on every host.
type SignedOut struct {
	SignIn   string // where to sign in again
	Provider string // where to sign out at the identity provider too; "" if it has no such place
}

// SignedOut writes s.
func (p *Pages) SignedOut(w http.ResponseWriter, s SignedOut) {
	p.show(w, http.StatusOK, "signedout", s)
}

// Portal lists what somebody may open.
type Portal struct {
	Who     Who
	Routes  []Route
	Expires string // when the session ends at the latest, for people
	SignOut string // where the button posts to
}

// Route is one line of the portal.
type Route struct {
	Name  string
	URL   string
	Owner string
}

// Portal writes v.
func (p *Pages) Portal(w http.ResponseWriter, v Portal) { p.show(w, http.StatusOK, "portal", v) }

// show writes a page whose forms stay on this site.
func (p *Pages) show(w http.ResponseWriter, status int, name string, v any) {
	p.headers(w.Header(), true)
	p.write(w, status, name, v)
}

// write renders a page whole before the first byte leaves.
func (p *Pages) write(w http.ResponseWriter, status int, name string, v any) {
	var body bytes.Buffer
	if err := p.pages[name].Execute(&body, v); err != nil {
		http.Error(w, http.StatusText(status), status)
		return
	}
	w.WriteHeader(status)
	w.Write(body.Bytes())
}

func (p *Pages) headers(h http.Header, formsStay bool) {
	csp := "default-src 'none'; style-src " + p.style + "; img-src data:; base-uri 'none'; frame-ancestors 'none'"
	if formsStay {
		csp += "; form-action 'self'"
	}
	h.Set("Content-Security-Policy", csp)
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin") // with none at all, browsers send a form's origin as null
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

// address is the mailto: link of an owner that is an e-mail address, or "".
func address(owner string) string {
	name, host, ok := strings.Cut(owner, "@")
	if !ok || name == "" || !strings.Contains(host, ".") || strings.ContainsAny(owner, " ,;:<>()[]?&%\"'\\/") || strings.Contains(host, "@") {
		return ""
	}
	return "mailto:" + owner
}

// Package console shows people the pages of Sallyport itself: which applications they may open, and why a request was
// denied.
//
// Every page is one html/template in one layout, with one embedded style sheet that the Content-Security-Policy allows by
// its hash. So it is with the scripts of the few pages that have one; every page works without it. No page needs anything
// from another site.
package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sallyport/directory"
	"sallyport/session"
)

//go:embed pages
var files embed.FS

// Pages write pages. They are safe for concurrent use.
type Pages struct {
	look   *atomic.Pointer[look] // in force
	banner *banner               // nil for none
}

// look is the parsed templates, as they look by the configuration.
type look struct {
	Settings
	parse   func() error                  // reads the next three, once: a page that is shown causes it, not the start
	pages   map[string]*template.Template // by name
	style   string                        // the hash of the style sheet, as a CSP source
	scripts map[string]string             // likewise of the script of a page, by the page's name
	files   map[string]*picture           // by the last part of their path
	logo    string                        // the path of the logo; "" for none
	icons   map[string]string             // the paths of the icons of routes, by the route's name
	sheet   string                        // the path of the style sheet with the color; "" for none
}

// Settings are what the configuration says of the pages.
type Settings struct {
	Brand   Brand
	Contact string          // whom people may turn to; "" if nobody is named
	Tiles   map[string]Tile // of routes, by their names
}

// banner tells a person that their session is a break-glass one.
type banner struct {
	Person  Person
	Expires string
}

// view is what a template renders: the content of one page, below the banner.
type view struct {
	Banner  *banner
	Content any
}

// For returns the pages as a person sees them who has the session s: if it is a break-glass session, every page says so. s
// may be nil.
func (p *Pages) For(person Person, s *session.Session) *Pages {
	if !s.IsBreakGlass() {
		return p
	}
	return &Pages{p.look, &banner{person, FormatTime(s.Expires)}}
}

// FormatTime returns a time as pages show it.
func FormatTime(t time.Time) string { return t.UTC().Format("2 January 15:04 MST") }

// scripts names, for each page, its script; "" for none. A page is a file pages/NAME.html, a script pages/NAME.js.
var scripts = map[string]string{"ask": "", "asked": "", "code": "", "continue": "fragment", "denied": "fragment", "error": "", "failed": "fragment", "form": "form", "offer": "", "portal": "portal", "request": "", "requests": "", "resume": "form", "sessions": "times", "signout": "", "signedout": "", "switch": ""}

// New returns the pages. Before [Pages.Prepare], they look as they do without any settings.
func New() (*Pages, error) {
	p := &Pages{look: new(atomic.Pointer[look])}
	use, err := p.Prepare(Settings{})
	if err != nil {
		return nil, err
	}
	use()
	return p, nil
}

// Prepare reads what settings name, and returns a function that has the pages look so. That cannot fail.
func (p *Pages) Prepare(settings Settings) (use func(), err error) {
	l := &look{Settings: settings, pages: map[string]*template.Template{}, scripts: map[string]string{}, files: map[string]*picture{}, icons: map[string]string{}}
	if l.logo, err = l.add(settings.Brand.Logo); err != nil {
		return nil, fmt.Errorf("brand.logo: %w", err)
	}
	for route, tile := range settings.Tiles {
		if l.icons[route], err = l.add(tile.Icon); err != nil {
			return nil, fmt.Errorf("the icon of route %s: %w", route, err)
		}
	}
	if sheet := settings.Brand.colorStyle(); sheet != "" {
		l.sheet = l.addFile(newPicture([]byte(sheet), "text/css; charset=utf-8", ".css"))
	}
	l.parse = sync.OnceValue(l.parseAll)
	return func() { p.look.Store(l) }, nil
}

// parsedPages returns the embedded pages. They are parsed once and cloned for each look, which has functions of its own.
var parsedPages = sync.OnceValues(func() (map[string]*template.Template, error) {
	pages, funcs := map[string]*template.Template{}, new(look).funcs("", nil)
	for name := range scripts {
		page, err := template.New("layout.html").Funcs(funcs).ParseFS(files, "pages/layout.html", "pages/"+name+".html")
		if err != nil {
			return nil, fmt.Errorf("parsing page %s: %w", name, err)
		}
		pages[name] = page
	}
	return pages, nil
})

// funcs are the functions of a page.
func (l *look) funcs(style string, script []byte) template.FuncMap {
	return template.FuncMap{"style": func() template.CSS { return template.CSS(style) }, "script": func() template.JS { return template.JS(script) },
		"brand": l.Brand.title, "logo": func() string { return l.logo }, "contact": func() string { return l.Contact },
		"address": address, "time": showTime, "ago": showAgo}
}

// parseAll gives the look its pages.
func (l *look) parseAll() error {
	parsed, err := parsedPages()
	if err != nil {
		return err
	}
	css, err := files.ReadFile("pages/style.css")
	if err != nil {
		return fmt.Errorf("reading the style sheet of pages: %w", err)
	}
	styled := string(css) + l.Brand.colorStyle()
	l.style = source([]byte(styled))
	for name, script := range scripts {
		var js []byte
		if script != "" {
			if js, err = files.ReadFile("pages/" + script + ".js"); err != nil {
				return fmt.Errorf("reading the script of page %s: %w", name, err)
			}
			l.scripts[name] = source(js)
		}
		page, err := parsed[name].Clone()
		if err != nil {
			return fmt.Errorf("preparing page %s: %w", name, err)
		}
		page.Funcs(l.funcs(styled, js))
		l.pages[name] = page
	}
	return nil
}

// source returns the source of a Content-Security-Policy that allows a style sheet or a script by its hash.
func source(text []byte) string {
	sum := sha256.Sum256(text)
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// Person is who reads a page. The zero Person is unknown.
type Person struct {
	Name     string // how the page addresses them
	UserName string // what they sign in with
}

// PersonOf returns how pages address a user.
func PersonOf(u *directory.User) Person { return personNamed(u.DisplayName, u.UserName) }

// personNamed returns how pages address a user with these names; displayName may be "".
func personNamed(displayName, userName string) Person {
	if displayName == "" {
		return Person{Name: userName}
	}
	return Person{Name: displayName, UserName: userName}
}

// Denied is the page for a person who is known and may not do what they asked for.
type Denied struct {
	Person  Person
	Title   string // what happened, in a few words
	Method  string // of the request
	URL     string // of the request, without its query
	Why     string // the kind of rule that denied, as a sentence
	Owner   string // whom to ask: an e-mail address or a few words; "" if the route has no owner
	Request string // the request's id
	SignOut string // where to sign out; "" for no link

	OtherAccount string // where to sign in with another account; "" for no link
	Portal       string // where the applications are that the person may open; "" for no link

	Access *Access // nil if the person may not ask for access
}

// Denied writes d with status 403.
func (p *Pages) Denied(w http.ResponseWriter, d Denied) { p.show(w, http.StatusForbidden, "denied", d) }

// Error is the page for a request that could not be served.
type Error struct {
	Status  int
	Title   string
	Detail  string
	Request string
	Retry   string // where to try again; "" if that does not help
	Code    string // where to enter a break-glass code; "" for no link
	Portal  string // where the applications are that the person may open; "" for no link
	SignOut string // where to sign out; "" for no link
}

// Error writes e with its status.
func (p *Pages) Error(w http.ResponseWriter, e Error) { p.show(w, e.Status, "error", e) }

// Continue is the page that leads on to the identity provider, or back from it. It shows nothing unless that takes a while.
// Its script keeps the fragment of the address, which the browser would lose at the provider. Without scripts, the browser
// is led on all the same.
type Continue struct {
	Next  string // where to go on, in full
	State string // the parameter state of the login; its first part names the fragment
	Back  bool   // from the provider
}

// Continue writes c. The page leaves its window connected with the one that opened it, as a redirect would.
func (p *Pages) Continue(w http.ResponseWriter, c Continue) {
	p.headers(w.Header(), "continue", true)
	w.Header().Del("Cross-Origin-Opener-Policy")
	p.write(w, http.StatusOK, "continue", c)
}

// Failed is the page for a login that failed.
type Failed struct {
	Status  int
	Title   string
	Why     string
	Request string
	Retry   string // where to sign in again
	Code    string // where to enter a break-glass code; "" for no link

	OtherAccount string // where to sign in with another account; "" for no link
	Portal       string // where the applications are that the person may open; "" for no link
	Ask          bool   // signing in again may not help, so the page says whom to ask
}

// Failed writes f with its status.
func (p *Pages) Failed(w http.ResponseWriter, f Failed) { p.show(w, f.Status, "failed", f) }

// Form is the page for a form that was sent when nobody was signed in. It keeps the form, sealed, and sends it when the
// person presses its button.
type Form struct {
	Status  int
	Title   string
	Why     string
	From    string // the origin of the page that sent the form, if it is another; "null" for one that the browser does not name
	Method  string // what is sent, and where to
	URL     string
	Action  string // the same with its query
	Sealed  string
	SignIn  string // where to sign in first; "" for no link
	Auto    bool   // a script presses the button
	Request string
}

// Form writes f with its status. The Content-Security-Policy does not restrict form-action: browsers apply it to the
// redirects of the application as well, and those may lead anywhere. Like [Pages.Continue], it leaves its window connected.
func (p *Pages) Form(w http.ResponseWriter, f Form) {
	p.headers(w.Header(), "form", false)
	w.Header().Del("Cross-Origin-Opener-Policy")
	p.write(w, f.Status, "form", f)
}

// Resume is the page after the sign-in that sends the form which the browser's tab keeps. Without a script it sends
// nothing.
type Resume struct {
	Person Person
}

// Resume writes r. Its Content-Security-Policy is as that of [Pages.Form].
func (p *Pages) Resume(w http.ResponseWriter, r Resume) {
	p.headers(w.Header(), "resume", false)
	p.write(w, http.StatusOK, "resume", r)
}

// SignOut is the page with the button to sign out. A link alone cannot sign out.
type SignOut struct {
	Person   Person
	Action   string // where the button posts to
	ReturnTo string // where to go afterwards; "" for nowhere
	SignIn   string // where the page afterwards offers to sign in again; "" for no particular page
}

// SignOut writes s. If s has a ReturnTo or a SignIn, the Content-Security-Policy does not restrict form-action: browsers
// apply it to the redirects after the form as well, and those may lead to another host of ours, or to a login anywhere.
func (p *Pages) SignOut(w http.ResponseWriter, s SignOut) {
	p.headers(w.Header(), "signout", s.ReturnTo == "" && s.SignIn == "")
	p.write(w, http.StatusOK, "signout", s)
}

// Switch is the page on which a person signs out at an identity provider that has no account chooser, to sign in with another
// account.
type Switch struct {
	Person Person // nobody if nobody is signed in
	Action string // where the button posts to
	SignIn string // where the person goes on after signing in
}

// Switch writes s. The Content-Security-Policy does not restrict form-action: the form leads to the provider.
func (p *Pages) Switch(w http.ResponseWriter, s Switch) {
	p.headers(w.Header(), "switch", false)
	p.write(w, http.StatusOK, "switch", s)
}

// SignedOut is the page after the session has ended on every host.
type SignedOut struct {
	SignIn   string // where to sign in again
	Provider string // where to sign out at the identity provider; "" if it has no such page

	ProviderAddress string // where Provider leads in the end, to show
}

// SignedOut writes s.
func (p *Pages) SignedOut(w http.ResponseWriter, s SignedOut) {
	p.show(w, http.StatusOK, "signedout", s)
}

// show writes a page whose forms may only post to this site.
func (p *Pages) show(w http.ResponseWriter, status int, name string, content any) {
	p.headers(w.Header(), name, true)
	p.write(w, status, name, content)
}

// write renders the whole page before it writes the first byte.
func (p *Pages) write(w http.ResponseWriter, status int, name string, content any) {
	var body bytes.Buffer
	l := p.look.Load()
	err := l.parse()
	if err == nil {
		err = l.pages[name].Execute(&body, view{p.banner, content})
	}
	if err != nil {
		http.Error(w, http.StatusText(status), status)
		return
	}
	Straighten(body.Bytes())
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes())
}

// headers sets the headers of a page. selfForms restricts its forms to this site.
func (p *Pages) headers(h http.Header, name string, selfForms bool) {
	l := p.look.Load()
	_ = l.parse() // write responds with the error
	csp := "default-src 'none'; style-src " + l.style + "; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'"
	if script := l.scripts[name]; script != "" {
		csp += "; script-src " + script
	}
	if selfForms {
		csp += "; form-action 'self'"
	}
	h.Set("Content-Security-Policy", csp)
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin") // with no-referrer, browsers send the origin of a form as null
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

// address returns a link if whom to ask is an e-mail address or an https URL, or "".
func address(owner string) string {
	name, host, ok := strings.Cut(owner, "@")
	if u, err := url.Parse(owner); err == nil && u.Scheme == "https" && u.Hostname() != "" && u.User == nil && !strings.ContainsAny(owner, " \"'<>\\") {
		return owner
	}
	if !ok || name == "" || !strings.Contains(host, ".") || strings.ContainsAny(owner, " ,;:<>()[]?&%\"'\\/") || strings.Contains(host, "@") {
		return ""
	}
	return "mailto:" + owner
}

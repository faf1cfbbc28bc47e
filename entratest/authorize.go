package entratest

import (
	"crypto/rand"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
)

//go:embed pick.html
var files embed.FS

var pickPage = template.Must(template.New("pick.html").ParseFS(files, "pick.html"))

// code is an authorization code: valid once, for codeLife.
type code struct {
	person      string
	redirectURI string
	nonce       string
	challenge   string
	scope       string
	fresh       bool   // the request has max_age, so the ID token gets auth_time
	context     string // the authentication context that the request asks for, which the ID token gets as acrs
	acr         string // the first of acr_values, which the ID token gets as acr
	expires     time.Time
}

const codeLife = time.Minute

// authorize shows the page to pick an account, or signs in the account that was picked.
func (t *Tenant) authorize(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, "the request cannot be read", http.StatusBadRequest)
		return
	}
	q := r.Form
	if problem := t.authorizeProblem(q); problem != "" {
		http.Error(w, problem, http.StatusBadRequest) // never redirect to an unchecked URI
		return
	}
	t.mu.Lock()
	oid := t.selected
	t.mu.Unlock()
	if q.Get("prompt") == "select_account" { // even of a person who is signed in
		oid = ""
	}
	if oid == "" {
		oid = q.Get("account")
	}
	if oid == "" && q.Get("prompt") != "none" {
		t.pick(w, q)
		return
	}
	http.Redirect(w, r, withQuery(q.Get("redirect_uri"), t.callbackQuery(oid, q)), http.StatusFound)
}

// authorizeProblem returns why a request must not be redirected at all, or "".
func (t *Tenant) authorizeProblem(q url.Values) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case repeated(q) != "":
		return fmt.Sprintf("AADSTS9000411: The request is not properly formatted. The parameter '%s' is duplicated.", repeated(q))
	case q.Get("client_id") != t.app.ClientID:
		return fmt.Sprintf("AADSTS700016: Application with identifier '%s' was not found in the directory.", q.Get("client_id"))
	case !slices.Contains(t.app.RedirectURIs, q.Get("redirect_uri")):
		return fmt.Sprintf("AADSTS50011: The redirect URI '%s' specified in the request does not match the redirect URIs configured for the application.", q.Get("redirect_uri"))
	case q.Get("response_type") != "code":
		return fmt.Sprintf("AADSTS700054: response_type '%s' is not enabled for the application.", q.Get("response_type"))
	case q.Get("response_mode") != "" && q.Get("response_mode") != "query":
		return fmt.Sprintf("response_mode '%s' is not offered here, though Entra has more than query.", q.Get("response_mode"))
	case q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43:
		return "AADSTS501481: a code_challenge of method S256 is required."
	case !slices.Contains(strings.Fields(q.Get("scope")), "openid"):
		return "AADSTS900144: the scope openid is required."
	case !slices.Contains([]string{"", "none", "login", "consent", "select_account"}, q.Get("prompt")):
		return fmt.Sprintf("AADSTS90023: Unsupported 'prompt' value: %s.", q.Get("prompt"))
	case q.Get("state") == "" || q.Get("nonce") == "":
		return "a state and a nonce are required here, though Entra goes without."
	}
	return ""
}

// repeated returns the name of a parameter that occurs twice, or "".
func repeated(q url.Values) string {
	for name, values := range q {
		if len(values) > 1 {
			return name
		}
	}
	return ""
}

// callbackQuery returns the query of the redirect to the application: a code, or an
// error.
func (t *Tenant) callbackQuery(oid string, q url.Values) url.Values {
	denied := func(name, description string) url.Values {
		return url.Values{"state": {q.Get("state")}, "error": {name}, "error_description": {description}}
	}
	p, ok := t.Person(oid)
	switch {
	case oid == "":
		return denied("login_required", "AADSTS50058: A silent sign-in request was sent but no user is signed in.")
	case !ok:
		return denied("access_denied", "AADSTS50034: The user account does not exist in the directory.")
	case p.Disabled:
		return denied("access_denied", "AADSTS50057: The user account is disabled.")
	}
	text := rand.Text()
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.codes, func(_ string, c code) bool { return time.Now().After(c.expires) })
	t.codes[text] = code{person: oid, redirectURI: q.Get("redirect_uri"), nonce: q.Get("nonce"),
		challenge: q.Get("code_challenge"), scope: q.Get("scope"), fresh: q.Get("max_age") != "", context: contextIn(q.Get("claims")), acr: first(q.Get("acr_values")), expires: time.Now().Add(codeLife)}
	return url.Values{"state": {q.Get("state")}, "code": {text}, "session_state": {guid()}}
}

// contextIn returns the authentication context that a claims request asks for (OpenID
// Connect Core 1.0 §5.5.1), or "".
func contextIn(text string) string {
	var request struct {
		IDToken struct {
			ACRs struct {
				Essential bool
				Value     string
			}
		} `json:"id_token"`
	}
	if err := json.Unmarshal([]byte(text), &request); err != nil || !request.IDToken.ACRs.Essential {
		return ""
	}
	return request.IDToken.ACRs.Value
}

func first(words string) string {
	word, _, _ := strings.Cut(words, " ")
	return word
}

// pick shows the page to pick an account.
func (t *Tenant) pick(w http.ResponseWriter, q url.Values) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	hidden := url.Values{}
	for name, values := range q {
		if name != "account" {
			hidden[name] = values
		}
	}
	_ = pickPage.Execute(w, struct { // fails only if the client is gone
		Action string
		Hidden url.Values
		People []Person
	}{t.path("/oauth2/v2.0/authorize"), hidden, t.People()})
}

// Initials returns up to two initials, for the picture of the account.
func (p Person) Initials() string {
	var out []rune
	for word := range strings.FieldsSeq(p.Name) {
		out = append(out, unicode.ToUpper([]rune(word)[0]))
	}
	if len(out) > 2 {
		out = []rune{out[0], out[len(out)-1]}
	}
	return string(out)
}

// Hue returns the colour of the account's picture in degrees, always the same for one person.
func (p Person) Hue() (degrees int) {
	for _, b := range []byte(p.OID) {
		degrees = (degrees*31 + int(b)) % 360
	}
	return degrees
}

func withQuery(base string, q url.Values) string {
	u, err := url.Parse(base)
	if err != nil {
		return base // cannot happen: it is registered
	}
	query := u.Query()
	maps.Copy(query, q)
	u.RawQuery = query.Encode()
	return u.String()
}

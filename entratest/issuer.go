package entratest

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"embed"
	"encoding/base64"
	"encoding/json"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

//go:embed pick.html
var pages embed.FS

var pickPage = template.Must(template.ParseFS(pages, "pick.html"))

func (t *Tenant) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+t.path("/v2.0/.well-known/openid-configuration"), t.metadata)
	mux.HandleFunc("GET "+t.path("/discovery/v2.0/keys"), func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, t.publicKeys()) })
	mux.HandleFunc("GET "+t.path("/oauth2/v2.0/authorize"), t.authorize)
	mux.HandleFunc("POST "+t.path("/oauth2/v2.0/authorize"), t.authorize)
	mux.HandleFunc("POST "+t.path("/oauth2/v2.0/token"), t.token)
	mux.HandleFunc("GET "+t.path("/oauth2/v2.0/logout"), t.logout)
	return mux
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client went away
}

func (t *Tenant) metadata(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer":                                t.Issuer(),
		"authorization_endpoint":                t.endpoint("/oauth2/v2.0/authorize"),
		"token_endpoint":                        t.endpoint("/oauth2/v2.0/token"),
		"jwks_uri":                              t.endpoint("/discovery/v2.0/keys"),
		"end_session_endpoint":                  t.endpoint("/oauth2/v2.0/logout"),
		"response_types_supported":              []string{"code"},
		"subject_types_supported":               []string{"pairwise"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_post", "client_secret_basic"},
		"scopes_supported":                      []string{"openid", "profile", "email", "offline_access"},
	})
}

// authorize shows the page to pick an account, or signs in whoever was picked.
func (t *Tenant) authorize(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, "the request cannot be read", http.StatusBadRequest)
		return
	}
	q := r.Form
	if problem := t.authorizeProblem(q); problem != "" {
		http.Error(w, problem, http.StatusBadRequest) // never sent to a redirect URI that is not checked
		return
	}
	t.mu.Lock()
	who := t.selected
	t.mu.Unlock()
	if who == "" {
		who = q.Get("account")
	}
	if who == "" {
		t.pick(w, q)
		return
	}
	http.Redirect(w, r, withQuery(q.Get("redirect_uri"), t.answer(who, q)), http.StatusFound)
}

// authorizeProblem is why a request gets no answer at all.
func (t *Tenant) authorizeProblem(q url.Values) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case q.Get("client_id") != t.app.ClientID:
		return "AADSTS700016: Application with identifier '" + q.Get("client_id") + "' was not found in the directory."
	case !slices.Contains(t.app.RedirectURIs, q.Get("redirect_uri")):
		return "AADSTS50011: The redirect URI '" + q.Get("redirect_uri") + "' specified in the request does not match the redirect URIs configured for the application."
	case q.Get("response_type") != "code":
		return "AADSTS700054: response_type '" + q.Get("response_type") + "' is not enabled for the application."
	case q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43:
		return "AADSTS501481: a code_challenge of method S256 is required."
	case !slices.Contains(strings.Fields(q.Get("scope")), "openid"):
		return "AADSTS900144: the scope openid is required."
	case q.Get("state") == "" || q.Get("nonce") == "":
		return "a state and a nonce are required here, though Entra goes without."
	}
	return ""
}

// answer is what goes back to the application: a code, or why there is none.
func (t *Tenant) answer(who string, q url.Values) url.Values {
	out := url.Values{"state": {q.Get("state")}}
	p, known := t.Person(who)
	if !known || p.Disabled {
		out.Set("error", "access_denied")
		out.Set("error_description", "AADSTS50057: The user account is disabled.")
		return out
	}
	text := rand.Text()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.codes[text] = code{person: who, redirectURI: q.Get("redirect_uri"), nonce: q.Get("nonce"),
		challenge: q.Get("code_challenge"), scope: q.Get("scope"), expires: time.Now().Add(time.Minute)}
	out.Set("code", text)
	return out
}

func (t *Tenant) pick(w http.ResponseWriter, q url.Values) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'")
	hidden := url.Values{}
	for name, values := range q {
		if name != "account" {
			hidden[name] = values
		}
	}
	_ = pickPage.Execute(w, struct {
		Action string
		Hidden url.Values
		People []Person
	}{t.path("/oauth2/v2.0/authorize"), hidden, t.People()})
}

// token exchanges a code, once.
func (t *Tenant) token(w http.ResponseWriter, r *http.Request) {
	refuse := func(name, description string) {
		writeJSON(w, http.StatusBadRequest, map[string]any{"error": name, "error_description": description})
	}
	if err := r.ParseForm(); err != nil {
		refuse("invalid_request", "the form cannot be read")
		return
	}
	if !t.authentic(r) {
		writeJSON(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret provided."})
		return
	}
	t.mu.Lock()
	c, ok := t.codes[r.PostForm.Get("code")]
	delete(t.codes, r.PostForm.Get("code"))
	t.mu.Unlock()
	switch {
	case r.PostForm.Get("grant_type") != "authorization_code":
		refuse("unsupported_grant_type", "AADSTS70003: The app requested an unsupported grant type.")
	case !ok || time.Now().After(c.expires):
		refuse("invalid_grant", "AADSTS54005: OAuth2 Authorization code was already redeemed or has expired.")
	case r.PostForm.Get("redirect_uri") != c.redirectURI:
		refuse("invalid_grant", "AADSTS500112: The redirect URI does not match the one of the authorization request.")
	case challengeOf(r.PostForm.Get("code_verifier")) != c.challenge:
		refuse("invalid_grant", "AADSTS501481: The Code_Verifier does not match the code_challenge supplied in the authorization request.")
	default:
		t.grant(w, c)
	}
}

func (t *Tenant) authentic(r *http.Request) bool {
	id, secret, basic := r.BasicAuth()
	if basic {
		id, _ = url.QueryUnescape(id)
		secret, _ = url.QueryUnescape(secret)
	} else {
		id, secret = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	}
	return id == t.app.ClientID && subtle.ConstantTimeCompare([]byte(secret), []byte(t.app.Secret)) == 1
}

func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func (t *Tenant) grant(w http.ResponseWriter, c code) {
	p, ok := t.Person(c.person)
	if !ok {
		writeJSON(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant"})
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"token_type": "Bearer", "expires_in": 3599, "scope": c.scope,
		"access_token": t.AccessToken(p, "00000003-0000-0000-c000-000000000000", nil),
		"id_token":     t.IDToken(p, c.nonce, nil),
	})
}

func (t *Tenant) logout(w http.ResponseWriter, r *http.Request) {
	if to := r.URL.Query().Get("post_logout_redirect_uri"); to != "" {
		http.Redirect(w, r, to, http.StatusFound)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("You signed out of your account.\n"))
}

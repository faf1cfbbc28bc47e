package entratest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"sync"
	"time"
)

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // fails only if the client is gone
}

// tokenError is an error response of the token endpoint (RFC 6749 §5.2, and what Entra
// adds).
type tokenError struct {
	status            int
	name, description string
}

func (e tokenError) write(w http.ResponseWriter) {
	writeJSON(w, e.status, map[string]any{"error": e.name, "error_description": e.description,
		"timestamp": time.Now().UTC().Format("2006-01-02 15:04:05Z"), "trace_id": guid(), "correlation_id": guid()})
}

// token exchanges a code, once.
func (t *Tenant) token(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		tokenError{http.StatusBadRequest, "invalid_request", "AADSTS900144: the form cannot be read"}.write(w)
		return
	}
	c, problem := t.redeem(r)
	if problem != nil {
		problem.write(w)
		return
	}
	p, ok := t.Person(c.person)
	if !ok || p.Disabled {
		tokenError{http.StatusBadRequest, "invalid_grant", "AADSTS50057: The user account is disabled."}.write(w)
		return
	}
	t.mu.Lock()
	alter := t.alter
	t.mu.Unlock()
	if c.fresh {
		alter = withClaims(alter, Claims{"auth_time": time.Now().Unix()})
	}
	if c.context != "" || c.acr != "" {
		alter = withClaims(alter, Claims{"acrs": []string{c.context}, "acr": c.acr, "amr": []string{"pwd", "mfa"}})
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "scope": c.scope,
		"access_token": t.GraphToken(p), "id_token": t.IDToken(p, c.nonce, alter)})
}

// verifierForm is the form of a code verifier (RFC 7636 §4.1).
var verifierForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9._~-]{43,128}$`) })

// redeem uses the code of a request up, even if the request is invalid otherwise.
func (t *Tenant) redeem(r *http.Request) (code, *tokenError) {
	q := r.PostForm
	invalid := func(description string) (code, *tokenError) {
		return code{}, &tokenError{http.StatusBadRequest, "invalid_grant", description}
	}
	if len(r.URL.RawQuery) > 0 || repeated(q) != "" {
		return code{}, &tokenError{http.StatusBadRequest, "invalid_request", "AADSTS9000411: parameters must be in the body, each once."}
	}
	if !t.authentic(r) {
		return code{}, &tokenError{http.StatusUnauthorized, "invalid_client", "AADSTS7000215: Invalid client secret provided."}
	}
	t.mu.Lock()
	c, ok := t.codes[q.Get("code")]
	delete(t.codes, q.Get("code"))
	t.mu.Unlock()
	switch {
	case q.Get("grant_type") != "authorization_code":
		return code{}, &tokenError{http.StatusBadRequest, "unsupported_grant_type", "AADSTS70003: The app requested an unsupported grant type."}
	case !ok || time.Now().After(c.expires):
		return invalid("AADSTS54005: OAuth2 Authorization code was already redeemed or has expired.")
	case q.Get("redirect_uri") != c.redirectURI:
		return invalid("AADSTS500112: The redirect URI does not match the one of the authorization request.")
	case !verifierForm().MatchString(q.Get("code_verifier")) || challengeOf(q.Get("code_verifier")) != c.challenge:
		return invalid("AADSTS501481: The Code_Verifier does not match the code_challenge supplied in the authorization request.")
	}
	return c, nil
}

// authentic reports whether the client authenticated, by exactly one of two methods
// (RFC 6749 §2.3).
func (t *Tenant) authentic(r *http.Request) bool {
	id, secret, basic := r.BasicAuth()
	if basic && r.PostForm.Has("client_secret") {
		return false
	}
	if basic {
		id, _ = url.QueryUnescape(id)
		secret, _ = url.QueryUnescape(secret)
	} else {
		id, secret = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.secrets[secret]; !ok || id != t.app.ClientID {
		return false
	}
	t.secrets[secret]++
	return true
}

func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// logout redirects the browser to a registered redirect URI and to no other, with the
// state of the request. There is no session to end: accounts are picked anew at each login.
func (t *Tenant) logout(w http.ResponseWriter, r *http.Request) {
	to := r.URL.Query().Get("post_logout_redirect_uri")
	t.mu.Lock()
	registered := slices.Contains(t.app.RedirectURIs, to)
	t.mu.Unlock()
	if registered {
		q := url.Values{}
		if state := r.URL.Query().Get("state"); state != "" {
			q.Set("state", state)
		}
		http.Redirect(w, r, withQuery(to, q), http.StatusFound)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("You signed out of your account.\n")) // fails only if the client is gone
}

// withClaims adds what the request for the login asked for: an auth_time of now, because
// max_age makes the user sign in again (OpenID Connect Core 1.0 §3.1.2.1), or a stronger
// login.
func withClaims(alter func(Claims), more Claims) func(Claims) {
	return func(c Claims) {
		maps.Copy(c, more)
		if alter != nil {
			alter(c)
		}
	}
}

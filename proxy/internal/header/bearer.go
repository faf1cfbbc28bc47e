package header

import (
	"errors"
	"net/http"
	"strings"
)

// MaxTokenBytes is the length limit of a token. Entra's largest tokens are a tenth of it.
const MaxTokenBytes = 16 << 10

// BearerToken returns the token of the Authorization header (RFC 6750 §2.1). It reports false if there is no such header,
// or one of another scheme. Any form that is not exactly that of RFC 9110 §11.4 is an error, so that a request never goes
// on as if it had no token.
func BearerToken(h http.Header) (token string, ok bool, err error) {
	lines := h["Authorization"]
	if len(lines) == 0 {
		return "", false, nil
	}
	if len(lines) > 1 {
		return "", true, errors.New("more than one Authorization header")
	}
	scheme, rest := cutScheme(lines[0])
	if scheme == "" && rest != "" {
		return "", true, errors.New("the Authorization header does not begin with the name of a scheme")
	}
	if !strings.EqualFold(scheme, "Bearer") {
		return "", false, nil
	}
	token = strings.Trim(rest, " ")
	switch {
	case len(token) > MaxTokenBytes:
		return "", true, errors.New("the token is too long")
	case !strings.HasPrefix(rest, " ") || !isToken68(token):
		return "", true, errors.New("the Authorization header is not Bearer, a space and a token")
	}
	return token, true, nil
}

const (
	alphanumeric = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	schemeChars  = alphanumeric + "!#$%&'*+-.^_`|~" // of a token (RFC 9110 §5.6.2)
)

// cutScheme returns the scheme of a credential and what follows, which for a valid one begins with a space or is empty
// (RFC 9110 §11.4).
func cutScheme(credential string) (scheme, rest string) {
	rest = strings.TrimLeft(credential, schemeChars)
	return credential[:len(credential)-len(rest)], rest
}

// token68Bytes says which bytes a token68 may have, beside the "=" at its end.
var token68Bytes = func() (table [256]bool) {
	for _, c := range []byte(alphanumeric + "-._~+/") {
		table[c] = true
	}
	return table
}()

// isToken68 reports whether text is a token68 (RFC 9110 §11.2), as bearer tokens are.
func isToken68(text string) bool {
	text = strings.TrimRight(text, "=")
	for i := range len(text) {
		if !token68Bytes[text[i]] {
			return false
		}
	}
	return text != ""
}

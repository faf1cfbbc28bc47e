package oidc

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// What [Provider.ProbeRedirect] may find out.
var (
	ErrNotRegistered = errors.New("the provider does not send browsers back to the redirect URI")
	ErrAnyRedirect   = errors.New("the provider sends browsers to any redirect URI, also to one that was made up")
)

var (
	errNoResult   = errors.New("the authorization endpoint does not respond as it should")
	errNoResponse = errors.New("what the authorization endpoint sends to the redirect URI is no response to the request")
)

// RedirectURI returns the address that must be registered at the provider.
func (p *Provider) RedirectURI() string { return p.callback }

// madeUpRedirect is registered nowhere: no name below .invalid exists (RFC 6761 §6.4).
const madeUpRedirect = "https://sallyport-doctor.invalid/.sallyport/callback"

// ProbeRedirect sends an authorization request for which nobody is asked anything (prompt=none, OpenID Connect Core 1.0
// §3.1.2.1). A provider may send a browser, even with an error, only to a redirect URI that is registered (RFC 6749
// §4.1.2.1). ProbeRedirect returns the error code that comes back to ours, such as login_required, if the provider sends the
// browser there, and not to a redirect URI that was made up. An error is [ErrNotRegistered] if the provider rejects the
// request itself, and [ErrAnyRedirect]; any other means that it could not be found out.
func (p *Provider) ProbeRedirect(ctx context.Context) (code string, err error) {
	m, err := p.discover(ctx)
	if err != nil {
		return "", err
	}
	if code, err = p.probeRedirect(ctx, *p.oauth(m)); err != nil {
		return "", err
	}
	made := *p.oauth(m)
	made.RedirectURL = madeUpRedirect
	switch _, err := p.probeRedirect(ctx, made); {
	case err == nil, errors.Is(err, errNoResponse):
		return "", ErrAnyRedirect
	case errors.Is(err, errNoResult):
		return "", err
	default:
		return code, nil
	}
}

// probeRedirect returns the error code with which the provider sends a browser back to the redirect URI of a configuration.
func (p *Provider) probeRedirect(ctx context.Context, config oauth2.Config) (code string, err error) {
	state := rand.Text()
	target := config.AuthCodeURL(state, oauth2.S256ChallengeOption(oauth2.GenerateVerifier()), gooidc.Nonce(rand.Text()),
		oauth2.SetAuthURLParam("prompt", "none"))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Accept", "text/html")
	transport := p.client.Transport.(limitedTransport).next // which does not reject redirects; nor does it follow them
	ctx, stop := context.WithTimeout(ctx, requestTimeout)
	defer stop()
	resp, err := transport.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return "", fmt.Errorf("%w: %w", errNoResult, err)
	}
	defer resp.Body.Close()
	return judgeRedirect(resp, config.RedirectURL, state)
}

// judgeRedirect returns the error code in a response that sends the browser to redirect, or why it does not.
func judgeRedirect(resp *http.Response, redirect, state string) (code string, err error) {
	if resp.StatusCode/100 == 3 {
		to, err := resp.Location()
		if err != nil {
			return "", fmt.Errorf("%w: %d, and no address that can be read", errNoResult, resp.StatusCode)
		}
		q, err := url.ParseQuery(to.RawQuery)
		to.RawQuery, to.Fragment, to.RawFragment = "", "", ""
		switch {
		case to.String() != redirect:
			return "", fmt.Errorf("the authorization endpoint sends the browser to another page, on %s", quoted(to.Host))
		case err != nil || !equal(q.Get("state"), state) || q.Get("error") == "" && q.Get("code") == "":
			return "", errNoResponse
		}
		return q.Get("error"), nil
	}
	page, _ := io.ReadAll(io.LimitReader(resp.Body, maxResponse))
	found := entraCode().FindString(string(page))
	result := strings.TrimSpace(fmt.Sprintf("%d %s", resp.StatusCode, found))
	switch {
	case resp.StatusCode >= http.StatusInternalServerError || resp.StatusCode == http.StatusTooManyRequests:
		return "", fmt.Errorf("%w: %s", errNoResult, result)
	case resp.StatusCode/100 == 4 || found == redirectMismatch:
		return "", fmt.Errorf("%w, but shows a page: %s", ErrNotRegistered, result)
	default:
		return "", fmt.Errorf("the authorization endpoint shows a page: %s", result)
	}
}

// redirectMismatch is Entra's code for a redirect URI that is not registered.
const redirectMismatch = "AADSTS50011"

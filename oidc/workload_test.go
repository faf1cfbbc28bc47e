package oidc_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"sallyport/entratest"
	"sallyport/oidc"
)

// TestWorkloads_Client accepts tokens of listed applications for this audience, and no
// token of a user, whichever application requested it.
func TestWorkloads_Client(t *testing.T) {
	h := newFixture(t)
	const app, principal, workload = "7a111900-0000-4000-8000-000000000007", "8a111900-0000-4000-8000-000000000008", "9a111900-0000-4000-8000-000000000009"
	w, err := oidc.NewWorkloads(oidc.WorkloadSettings{Issuer: h.settings.Issuer, Audiences: []string{"api://scim"}, ClientIDs: []string{app, workload}, CAFile: h.settings.CAFile}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	good := h.entra.AppToken(app, principal, "api://scim", nil)
	gone, stop := context.WithCancel(t.Context())
	stop() // a caller who does not wait for the first discovery
	if _, err := w.Client(gone, good); err == nil {
		t.Error("a token is verified before discovery")
	}
	runWorkloads(t, w, good)
	set := func(name string, value any) func(entratest.Claims) {
		return func(c entratest.Claims) { c[name] = value }
	}
	for _, c := range []struct {
		name, token, want string
	}{
		{"its own", good, app},
		{"a federated workload", h.entra.AppToken("another", workload, "api://scim", nil), workload},
		{"a workload that has no application", h.entra.AppToken("", workload, "api://scim", func(c entratest.Claims) { delete(c, "azp"); delete(c, "oid") }), workload},
		{"by RFC 9068", h.entra.AppToken("", app, "api://scim", func(c entratest.Claims) { delete(c, "azp"); delete(c, "oid"); c["client_id"], c["scope"] = app, "push" }), app},
		{"another application", h.entra.AppToken("another", principal, "api://scim", nil), ""},
		{"another audience", h.entra.AppToken(app, principal, "api://sallyport", nil), ""},
		{"a user's, by that application", h.entra.AccessToken(h.alice, "api://scim", set("azp", app)), ""},
		{"a user's, who calls themselves so", h.entra.AccessToken(h.alice, "api://scim", set("client_id", app)), ""},
		{"a user's ID token", h.entra.IDToken(h.alice, "n", func(c entratest.Claims) { c["aud"], c["azp"] = "api://scim", app }), ""},
		{"another issuer", h.entra.AppToken(app, principal, "api://scim", set("iss", "https://elsewhere.example")), ""},
		{"expired", h.entra.AppToken(app, principal, "api://scim", set("exp", 1)), ""},
		{"forged", h.entra.Forged(entratest.Claims{"iss": h.settings.Issuer, "sub": app, "aud": "api://scim"}), ""},
		{"unsigned", h.entra.Unsigned(entratest.Claims{"iss": h.settings.Issuer, "sub": app, "aud": "api://scim"}), ""},
		{"nothing", "", ""},
	} {
		if got, err := w.Client(t.Context(), c.token); got != c.want || err != nil {
			t.Errorf("%s is %q, %v; want %q", c.name, got, err, c.want)
		}
	}
}

// runWorkloads runs w until it knows its issuer.
func runWorkloads(t *testing.T, w *oidc.Workloads, token string) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("it ended with %v", err)
		}
	})
	for {
		if _, err := w.Client(ctx, token); err == nil {
			return
		}
	}
}

func TestProbe(t *testing.T) {
	h := startFixture(t, nil)
	probe, err := h.Probe(t.Context())
	if err != nil || probe.Keys == 0 || probe.Skew.Abs().Seconds() > 5 {
		t.Errorf("it finds %+v, %v", probe, err)
	}
}

// TestProbeSecret_TellsWhatTheProviderSays: it is right only if the provider tells it from a wrong one, and no text of the
// provider, which may repeat secrets, is in an error.
func TestProbeSecret_TellsWhatTheProviderSays(t *testing.T) {
	h := startFixture(t, nil)
	if err := h.ProbeSecret(t.Context()); err != nil {
		t.Errorf("the right secret gets %v", err)
	}
	for name, c := range map[string]struct {
		status int
		body   string
		wrong  bool
	}{
		"wrong":           {http.StatusUnauthorized, `{"error":"invalid_client","error_description":"AADSTS7000215: canary"}`, true},
		"unknown_client":  {http.StatusBadRequest, `{"error":"unauthorized_client","error_description":"AADSTS700016: canary"}`, true},
		"always_grant":    {http.StatusBadRequest, `{"error":"invalid_grant","error_description":"canary"}`, false},
		"another_error":   {http.StatusBadRequest, `{"error":"invalid_request","error_description":"canary"}`, false},
		"no_json":         {http.StatusBadRequest, `canary`, false},
		"failing":         {http.StatusInternalServerError, `canary`, false},
		"accepts_a_token": {http.StatusOK, `{"access_token":"canary","token_type":"Bearer"}`, false},
	} {
		h.override(func(w http.ResponseWriter, r *http.Request) bool {
			if !isFor(r, tokenPath) {
				return false
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(c.status)
			_, _ = w.Write([]byte(c.body))
			return true
		})
		if err := h.ProbeSecret(t.Context()); err == nil || errors.Is(err, oidc.ErrWrongSecret) != c.wrong || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

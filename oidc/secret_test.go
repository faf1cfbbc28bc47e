package oidc_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/oidc"
)

// TestSecrets_AreNeverPrinted in errors, logs, metrics or values, even if the provider
// repeats them (CVE-2026-42507, CVE-2025-25294).
func TestSecrets_AreNeverPrinted(t *testing.T) {
	h := startFixture(t, nil)
	var shown strings.Builder
	show := func(err error) { fmt.Fprintln(&shown, err) }
	token := h.entra.AccessToken(h.alice, "api://other", nil)
	for _, text := range []string{token, tampered(token), h.entra.GraphToken(h.alice), h.entra.Unsigned(h.entra.Claims(h.alice, audience))} {
		_, err := h.Bearer(context.Background(), text)
		show(err)
	}
	hidden := []string{secret, token, strings.Split(token, ".")[1]}
	for _, status := range []int{http.StatusOK, http.StatusBadRequest, http.StatusUnauthorized, http.StatusInternalServerError, http.StatusFound} {
		h.override(func(w http.ResponseWriter, r *http.Request) bool { return isFor(r, tokenPath) && echo(w, r, status) })
		f, q := h.begin()
		_, err := h.Finish(context.Background(), f, q)
		show(err)
		hidden = append(hidden, f.State, f.Nonce, f.Verifier, q.Get("code"))
		fmt.Fprintf(&shown, "%v %+v %#v %q %s\n", f, f, f, f, f)
		fmt.Fprintf(&shown, "%v %+v %#v\n", &f, &f, &f)
		slog.New(slog.NewTextHandler(&shown, nil)).Info("x", "flow", f, "secret", oidc.Secret(secret), "provider", h.Provider)
	}
	data, _ := json.Marshal(map[string]any{"secret": oidc.Secret(secret)})
	fmt.Fprintf(&shown, "%s %#v %+v %q %v %+v %#v\n", data, oidc.Secret(secret), oidc.Secret(secret), oidc.Secret(secret), h.Provider, h.Provider, h.Provider)
	fmt.Fprintln(&shown, h.log.String(), gathered(t, h))
	for _, text := range hidden {
		if text == "" || strings.Contains(shown.String(), text) {
			t.Errorf("%q shows in\n%s", text, shown.String())
		}
	}
}

// echo responds with everything it received.
func echo(w http.ResponseWriter, r *http.Request, status int) bool {
	body, _ := io.ReadAll(r.Body)
	form, _ := url.ParseQuery(string(body))
	data, _ := json.Marshal(map[string]any{"error": "server_error", "error_description": string(body), "form": form})
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Location", "/elsewhere?"+string(body))
	w.WriteHeader(status)
	_, _ = w.Write(data)
	return true
}

func gathered(t *testing.T, h *fixture) string {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(h.Collectors()...)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(families)
}

func TestMetrics_CountResults(t *testing.T) {
	h := startFixture(t, nil)
	h.bearer(h.accessToken())
	h.bearer("x")
	all := gathered(t, h)
	for _, want := range []string{"sallyport_jwt_verifications_total", "sallyport_jwks_refreshes_total", `value:"ok"`, `value:"malformed"`} {
		if !strings.Contains(all, want) {
			t.Errorf("%s is not in %s", want, all)
		}
	}
}

func TestRefusal_IsErrRefused(t *testing.T) {
	err := fmt.Errorf("wrapped: %w", &oidc.Refusal{Reason: oidc.Expired, Detail: "x"})
	if !errors.Is(err, oidc.ErrRefused) || errors.Is(io.EOF, oidc.ErrRefused) {
		t.Errorf("%v", err)
	}
}

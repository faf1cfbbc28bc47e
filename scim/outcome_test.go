package scim_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sallyport/directory"
	"sallyport/scim"
)

// TestResponse_AdmitsStoredChange: when memory no longer follows the store, a change is stored all the same, and the
// response does not say that nothing was changed.
func TestResponse_AdmitsStoredChange(t *testing.T) {
	d := openTenant(t, storeWith(t, nil))
	ctx, stop := context.WithCancel(t.Context())
	followed := make(chan struct{})
	go func() { defer close(followed); _ = d.Directory.Run(ctx) }()
	go func() { _ = d.Provisioning.Run(t.Context()) }()
	_, token, err := d.mint("test", 0)
	if err != nil {
		t.Fatal(err)
	}
	server := scim.New(scim.Parts{Provisioning: d.Provisioning, Log: slog.New(slog.DiscardHandler)})
	stop()
	<-followed
	w := httptest.NewRecorder()
	server.ServeHTTP(w, newRequest(token, "POST", "/scim/v2/Users", `{"userName":"ann"}`))
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "The change is stored") {
		t.Errorf("status %d, %s", w.Code, w.Body)
	}
	err = d.View(t.Context(), func(tx *directory.Tx) error { _, err := tx.UserByName("ann"); return err })
	if err != nil {
		t.Errorf("the user is not stored: %v", err)
	}
}

// TestSelection_IsCheckedBeforeAnyChange: a response that cannot be made as the request asks makes no change either.
func TestSelection_IsCheckedBeforeAnyChange(t *testing.T) {
	c := newClient(t)
	_, u := c.do("POST", "/Users", `{"userName":"u"}`)
	_, g := c.do("POST", "/Groups", `{"displayName":"g"}`)
	const both = "?attributes=id&excludedAttributes=meta"
	user, group := "/Users/"+u["id"].(string), "/Groups/"+g["id"].(string)
	for _, r := range [][3]string{
		{"POST", "/Users", `{"userName":"new"}`}, {"PUT", user, `{"userName":"new"}`}, {"PATCH", user, patch(`{"op":"replace","path":"userName","value":"new"}`)},
		{"POST", "/Groups", `{"displayName":"new"}`}, {"PUT", group, `{"displayName":"new"}`}, {"PATCH", group, patch(`{"op":"replace","path":"displayName","value":"new"}`)},
	} {
		if resp, result := c.do(r[0], r[1]+both, r[2]); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s %s: status %d %v", r[0], r[1], resp.StatusCode, result)
		}
	}
	for _, search := range []string{`/Users?filter=userName+eq+"new"`, `/Groups?filter=displayName+eq+"new"`} {
		if _, found := c.do("GET", strings.ReplaceAll(search, `"`, "%22"), ""); found["totalResults"] != 0.0 {
			t.Errorf("a rejected request made a change: %v", found)
		}
	}
}

package manage_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"sallyport/console/manage"
)

// TestForms_WorkOnAnotherPort: the token in a form is accepted where the address of the console has a port.
func TestForms_WorkOnAnotherPort(t *testing.T) {
	e := newEnv(t)
	const origin = "https://login.example.com:8443"
	page := e.serve(e.ada, httptest.NewRequest(http.MethodGet, origin+manage.Path+"/provisioning/tokens", nil))
	token := regexp.MustCompile(`name="token" value="([^"]+)"`).FindStringSubmatch(page.Body.String())
	if token == nil {
		t.Fatalf("%d: the page has no form", page.Code)
	}
	r := httptest.NewRequest(http.MethodPost, origin+manage.Path+"/provisioning/tokens", strings.NewReader(url.Values{"token": {token[1]}, "name": {"entra"}, "for": {"90d"}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", origin)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if res := e.serve(e.ada, r); res.err != nil {
		t.Errorf("the form is refused: %v", res.err)
	}
}

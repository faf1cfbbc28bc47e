package manage_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sallyport/console"
	"sallyport/console/manage"
)

// TestLayout_ShowsBrand: the pages of the console have the title, the logo and the color of the configuration, from this
// site.
func TestLayout_ShowsBrand(t *testing.T) {
	e := newEnv(t)
	logo := filepath.Join(t.TempDir(), "logo.svg")
	if err := os.WriteFile(logo, []byte(`<svg xmlns="http://www.w3.org/2000/svg"/>`), 0o600); err != nil {
		t.Fatal(err)
	}
	use, err := e.handler.Pages.Prepare(console.Settings{Brand: console.Brand{Title: "Castle <Works>", Logo: logo, Color: "#0f5f58"}})
	if err != nil {
		t.Fatal(err)
	}
	use()
	page := e.serve(e.ada, httptest.NewRequest(http.MethodGet, origin+manage.Path+"/", nil)).Body.String()
	look := e.handler.Pages.Look()
	for _, want := range []string{"· Castle &lt;Works&gt; console</title>", `src="` + look.Logo + `" alt=""> Castle &lt;Works&gt;`, `<link rel="stylesheet" href="` + look.Style + `">`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
}

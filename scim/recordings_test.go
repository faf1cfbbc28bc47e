package scim_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"sallyport/scim"
)

// client sends requests to a live server.
type client struct {
	t     testing.TB
	base  string
	token string
}

// settingsWithoutLimit allow any number of deactivations.
var settingsWithoutLimit = scim.Settings{}

func newClient(t testing.TB) *client {
	base, token, _ := serve(t)
	return &client{t, base, token}
}

// do sends a request and decodes the body of the response, if it is JSON.
func (c *client) do(method, path, body string) (*http.Response, map[string]any) {
	c.t.Helper()
	req, err := http.NewRequest(method, c.base+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	if body != "" {
		req.Header.Set("Content-Type", "application/scim+json; charset=utf-8")
	}
	return c.send(req)
}

func (c *client) send(req *http.Request) (*http.Response, map[string]any) {
	c.t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	var result map[string]any
	if len(data) > 0 {
		if err := json.Unmarshal(data, &result); err != nil {
			c.t.Fatalf("%s %s: status %s, body %q", req.Method, req.URL, resp.Status, data)
		}
		if got := resp.Header.Get("Content-Type"); got != "application/scim+json" {
			c.t.Errorf("%s %s: Content-Type %q", req.Method, req.URL, got)
		}
	}
	return resp, result
}

// TestRecordings replays every recording in testdata/recordings; the README there explains them.
func TestRecordings(t *testing.T) {
	files, err := filepath.Glob("testdata/recordings/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			replay(t, newClient(t), archive.Files)
		})
	}
}

func replay(t *testing.T, c *client, files []txtar.File) {
	saved := map[string]string{}
	for i := 0; i+1 < len(files); i += 2 {
		request, want := files[i], files[i+1]
		method, path, _ := strings.Cut(fill(request.Name, saved), " ")
		path, stranger := strings.CutSuffix(path, " (wrong token)")
		c := *c
		if stranger {
			c.token = "wrong"
		}
		resp, result := c.do(method, path, strings.TrimSpace(fill(string(request.Data), saved)))
		name := fmt.Sprintf("exchange %d, %s %s", i/2+1, method, path)
		words := strings.Fields(want.Name)
		if fmt.Sprint(resp.StatusCode) != words[0] {
			t.Fatalf("%s: status %d, want %s: %v", name, resp.StatusCode, words[0], result)
		}
		for _, keep := range words[1:] {
			variable, member, _ := strings.Cut(keep, "=")
			saved[variable] = fmt.Sprint(dig(result, member))
		}
		if body := bytes.TrimSpace(want.Data); len(body) > 0 {
			var wanted any
			if err := json.Unmarshal([]byte(fill(string(body), saved)), &wanted); err != nil {
				t.Fatalf("%s: what is wanted is no JSON: %v", name, err)
			}
			compareJSON(t, name, result, wanted)
		}
	}
}

func fill(text string, saved map[string]string) string {
	for name, value := range saved {
		quoted, _ := json.Marshal(value)
		text = strings.ReplaceAll(text, "{{"+name+"}}", string(quoted[1:len(quoted)-1]))
	}
	return text
}

func dig(result map[string]any, path string) any {
	var v any = result
	for name := range strings.SplitSeq(path, ".") {
		object, _ := v.(map[string]any)
		v = object[name]
	}
	return v
}

// compareJSON fails the test unless got has everything that want has.
func compareJSON(t *testing.T, where string, got, want any) {
	t.Helper()
	switch want := want.(type) {
	case map[string]any:
		object, ok := got.(map[string]any)
		if !ok {
			t.Errorf("%s is %v, want an object", where, got)
			return
		}
		for name, w := range want {
			v, has := object[name]
			if w == "(absent)" {
				if has {
					t.Errorf("%s has %s: %v", where, name, v)
				}
				continue
			}
			compareJSON(t, where+"."+name, v, w)
		}
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) != len(want) {
			t.Errorf("%s is %v, want %v", where, got, want)
			return
		}
		for i := range want {
			compareJSON(t, fmt.Sprintf("%s[%d]", where, i), list[i], want[i])
		}
	default:
		if got != want {
			t.Errorf("%s is %v, want %v", where, got, want)
		}
	}
}

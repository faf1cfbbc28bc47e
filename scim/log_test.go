package scim_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/scim"
)

// TestLog_HoldsNoValues: the log tells what was requested, the result and what
// changed, but no value except true and false.
func TestLog_HoldsNoValues(t *testing.T) {
	base, token, d, server := serveWith(t, scim.Settings{MaxDeactivations: scim.DeactivationLimit{Count: 1, Per: time.Hour}})
	c := &client{t, base, token}
	_, u := c.do("POST", "/Users", `{"userName":"canary-1","name":{"givenName":"canary-2"},"emails":[{"value":"canary-3"}],"`+enterprise+`":{"department":"canary-4"}}`)
	id := u["id"].(string)
	c.do("PATCH", "/Users/"+id, patch(`{"op":"Replace","path":"active","value":"False"},{"op":"replace","path":"title","value":"canary-5"}`))
	c.do("GET", `/Users?filter=userName+eq+%22canary-6%22+and+not+(title+co+canary-7)&attributes=canary%0a8&canary=9`, "")
	c.do("GET", "/Users/canary-10", "")
	c.do("POST", "/Users", `{"userName":"Canary-1"}`)
	c.do("POST", "/Users", `{"userName":"canary-11","active":"canary-12"}`)
	c.do("PATCH", "/Users/"+id, patch(`{"op":"add","path":"canary-13","value":"x"},{"op":"canary-14","path":"title"}`))
	_, g := c.do("POST", "/Groups", `{"displayName":"canary-15","members":[{"value":"`+id+`"},{"value":"canary-16"}]}`)
	c.do("PATCH", "/Groups/"+g["id"].(string), patch(`{"op":"Remove","path":"members","value":[{"value":"`+id+`"}]}`))
	(&client{t, base, "wrong"}).do("GET", "/Users/canary-17", "")
	var entries []scim.LogEntry
	for len(entries) < 10 { // a request is logged after its response
		var err error
		server.WriteLog(t.Context())
		if entries, err = d.Log(t.Context(), 100); err != nil {
			t.Fatal(err)
		}
	}
	var lines []string
	for _, e := range slices.Backward(entries) {
		lines = append(lines, strings.TrimSpace(fmt.Sprint(e.Method, " ", e.Target, " ", e.Code, " ", strings.Join(e.Changes, ", "), e.Problem, " ", strings.Join(e.QuirkNames(), ","))))
	}
	got := strings.ReplaceAll(strings.ReplaceAll(strings.Join(lines, "\n"), id, "ID"), g["id"].(string), "GID")
	want := `POST /Users 201 active → true, emails, name, ` + enterprise + `:department, userName missing_schemas
PATCH /Users/ID 200 active true → false, title boolean_string,missing_schemas,op_case
GET /Users?attributes=…&…&filter=userName eq … and not ( title co … ) 400 The filter goes on where it should end, at ….
GET /Users/… 404 Resource … not found.
POST /Users 409 userName … already exists missing_schemas
POST /Users 400 … is true or false, not …. missing_schemas
PATCH /Users/ID 400 … is no operation; there are add, replace and remove. missing_schemas,unknown_attribute
POST /Groups 201 displayName, members +1 -0 missing_schemas,unknown_member
PATCH /Groups/GID 204 members +0 -1 missing_schemas,op_case,remove_listed
GET /Users/… 401 the token is unknown or revoked`
	want = strings.Replace(want, "The filter goes on where it should end, at ….", "A value is expected where the filter has …; strings stand in double quotes.", 1)
	if got != want {
		t.Errorf("the log is\n%s\nwant\n%s", got, want)
	}
	if strings.Contains(strings.ToLower(fmt.Sprintf("%+v", entries)), "canary") {
		t.Errorf("the log holds values: %+v", entries)
	}
}

// TestServer_WarnsAboutLikelyMistakes: members that were never pushed, and a group most of
// whose members are removed by a replacement.
func TestServer_WarnsAboutLikelyMistakes(t *testing.T) {
	var logged bytes.Buffer
	_, token, d, _ := serveWith(t, scim.Settings{})
	server := scim.New(scim.Parts{Provisioning: d.Provisioning, Log: slog.New(slog.NewTextHandler(&logged, nil))})
	listening := httptest.NewServer(server)
	defer listening.Close()
	c := &client{t, listening.URL + "/scim/v2", token}
	var members []string
	for i := range 10 {
		_, u := c.do("POST", "/Users", fmt.Sprintf(`{"userName":"u%d"}`, i))
		members = append(members, fmt.Sprintf(`{"value":%q}`, u["id"]))
	}
	_, g := c.do("POST", "/Groups", `{"displayName":"g","members":[`+strings.Join(members, ",")+`]}`)
	path := "/Groups/" + g["id"].(string)
	replace := `{"op":"replace","path":"members","value":[`
	c.do("PATCH", path, patch(replace+strings.Join(members[:5], ",")+`]}`))
	if logged.Len() > 0 {
		t.Errorf("a usual change is warned about: %s", logged.String())
	}
	c.do("PATCH", path, patch(`{"op":"add","path":"members","value":[`+strings.Join(members, ",")+`]}`))
	c.do("PATCH", path, patch(replace+strings.Join(members[:4], ",")+`,{"value":"never"}]}`))
	for _, want := range []string{"less than half", "never pushed"} {
		if !strings.Contains(logged.String(), want) {
			t.Errorf("there is no warning %q: %s", want, logged.String())
		}
	}
}

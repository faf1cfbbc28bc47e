package manage_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/admin"
	"sallyport/audit"
	"sallyport/directory"
	"sallyport/scim"
)

const userSchema = `"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"]`

// deactivation is the body of a request that deactivates a user.
const deactivation = `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"Replace","path":"active","value":false}]}`

// logged writes the provisioning log, as the server does once it stops.
func (e *env) logged() {
	e.t.Helper()
	ctx, stop := context.WithCancel(e.t.Context())
	stop()
	_ = e.scim.Run(ctx)
}

// rejectedPush makes a request with a token that is none of ours.
func (e *env) rejectedPush() {
	e.t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/scim/v2/Users", nil)
	r.Header.Set("Authorization", "Bearer of-somebody-else")
	w := httptest.NewRecorder()
	if e.scim.ServeHTTP(w, r); w.Code != http.StatusUnauthorized {
		e.t.Fatalf("a wrong token gets %d", w.Code)
	}
}

// pushesIn returns the pushes that the page shows as JSON.
func (e *env) pushesIn(query string) (rows []map[string]any) {
	e.t.Helper()
	res := e.get(e.otto, "/provisioning?format=json&"+query)
	if err := json.Unmarshal(res.Body.Bytes(), &rows); err != nil || res.Code != http.StatusOK {
		e.t.Fatalf("%s: %d %v %s", query, res.Code, err, res.Body)
	}
	return rows
}

func TestProvisioning_ListsPushes(t *testing.T) {
	e := newEnv(t)
	eve := e.push("POST", "/Users", `{`+userSchema+`,"userName":"eve@example.com","displayName":"Eve <b>Snow</b>","active":"True"}`, http.StatusCreated)
	e.push("PATCH", "/Users/"+eve, deactivation, http.StatusOK)
	e.push("PATCH", "/Users/"+eve, deactivation, http.StatusOK)
	e.push("GET", `/Users?filter=userName+eq+%22nobody-knows@example.com%22`, "", http.StatusOK)
	e.push("GET", "/Users/00000000000000000000000000000000", "", http.StatusNotFound)
	e.push("POST", "/Users", `{`+userSchema+`,"userName":"EVE@example.com"}`, http.StatusConflict)
	e.rejectedPush()
	e.logged()
	rows := e.pushesIn("")
	var outcomes []string
	for _, row := range rows {
		outcomes = append(outcomes, row["outcome"].(string))
	}
	if want := []string{"token rejected", "refused", "not there", "read", "nothing to change", "changed", "changed"}; !slices.Equal(outcomes, want) {
		t.Errorf("outcomes are %q, want %q", outcomes, want)
	}
	for query, want := range map[string]int{"outcome=changed": 2, "outcome=no_token": 1, "method=PATCH": 2, "quirk=op_case": 2, "quirk=boolean_string": 1, "text=EVE+": 3, "resource=" + eve: 3,
		"token=entra": 6, "token=other": 0, "since=1h": 7, "until=2020-01-01": 0, "since=2020-01-01T10:00&outcome=refused&method=POST": 1, "text=%3Cb%3E": 3, "text=no+such": 0} {
		if found := e.pushesIn(query); len(found) != want {
			t.Errorf("%s finds %d, want %d: %v", query, len(found), want, found)
		}
	}
	page := e.page(e.ada, "/provisioning").Body.String()
	for _, want := range []string{"Eve &lt;b&gt;Snow&lt;/b&gt;", `href="/.sallyport/console/people/` + eve + `"`, `href="/.sallyport/console/provisioning/pushes/2"`, "203.0.113"} {
		if want != "203.0.113" && !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if strings.Contains(page, "nobody-knows") {
		t.Error("the page shows a value that was sent")
	}
	if res := e.page(e.ada, "/provisioning?since=yesterday&outcome=odd&before=x"); strings.Count(res.Body.String(), "cannot be read") != 3 || strings.Contains(res.Body.String(), "<tbody>") {
		t.Error("filters that cannot be read are not named, or are ignored")
	}
}

func TestProvisioning_PagesOfPushes(t *testing.T) {
	e := newEnv(t)
	for i := range 230 {
		e.push("GET", "/Users?startIndex="+fmt.Sprint(i+1), "", http.StatusOK)
	}
	e.logged()
	seen := map[string]bool{}
	for next := "/provisioning"; next != ""; {
		body := e.page(e.ada, next).Body.String()
		for _, m := range regexp.MustCompile(`provisioning/pushes/(\d+)`).FindAllStringSubmatch(body, -1) {
			if seen[m[1]] {
				t.Fatalf("push %s is on two pages", m[1])
			}
			seen[m[1]] = true
		}
		e.push("GET", "/Users?count=1", "", http.StatusOK) // what comes meanwhile moves nothing
		e.logged()
		m := regexp.MustCompile(`rel="next" href="(\?[^"]*)"`).FindStringSubmatch(body)
		if next = ""; m != nil {
			next = "/provisioning" + strings.ReplaceAll(m[1], "&amp;", "&")
		}
	}
	if len(seen) != 230 {
		t.Errorf("%d pushes are on all pages, want 230", len(seen))
	}
}

func TestPush_ShowsRequestResponseAndChange(t *testing.T) {
	e := newEnv(t)
	eve := e.push("POST", "/Users", `{"userName":"eve@example.com","displayName":"Eve","active":"True"}`, http.StatusCreated)
	e.push("POST", "/Users", `{`+userSchema+`,"userName":"eve@example.com"}`, http.StatusConflict)
	e.logged()
	first := e.page(e.ada, "/provisioning/pushes/1").Body.String()
	for _, want := range []string{"/scim/v2/Users", ">201<", "userName", "boolean_string", "missing_schemas", "No schemas in the body", `/people/` + eve, `rel="next" href="/.sallyport/console/provisioning/pushes/2"`, "resource=" + eve} {
		if !strings.Contains(first, want) {
			t.Errorf("the first push lacks %s", want)
		}
	}
	if strings.Contains(first, `rel="prev"`) {
		t.Error("there is a push before the first")
	}
	if second := e.page(e.otto, "/provisioning/pushes/2").Body.String(); !strings.Contains(second, "already exists") || !strings.Contains(second, "Nothing.") {
		t.Error("the second push does not say why it was refused")
	}
	for _, path := range []string{"0", "3", "18446744073709551615"} {
		if res := e.get(e.ada, "/provisioning/pushes/"+path); res.Code != http.StatusNotFound || res.err != nil {
			t.Errorf("push %s: %d %v", path, res.Code, res.err)
		}
	}
	for _, path := range []string{"x", "-1", "1/more", "18446744073709551616"} {
		if res := e.get(e.ada, "/provisioning/pushes/"+path); res.Code != http.StatusNotFound {
			t.Errorf("push %s: %d", path, res.Code)
		}
	}
}

var secretPattern = regexp.MustCompile(`sallyport_scim_[A-Za-z0-9_-]{49}`)

func TestTokens_AreShownOnce(t *testing.T) {
	e := newEnv(t)
	mark := func(path string) string {
		m := regexp.MustCompile(`name="once" value="([^"]+)"`).FindStringSubmatch(e.page(e.ada, path).Body.String())
		if m == nil {
			t.Fatalf("%s has no form", path)
		}
		return m[1]
	}
	form := url.Values{"name": {"okta"}, "for": {"90d"}, "once": {mark("/provisioning/tokens")}}
	made := e.post(e.ada, "/provisioning/tokens", form)
	made.check(t, true)
	secret := secretPattern.FindString(made.Body.String())
	if made.Code != http.StatusOK || secret == "" || made.Header().Get("Cache-Control") != "no-store" || made.Header().Get("Location") != "" {
		t.Fatalf("making a token: %d %v %q", made.Code, made.Header(), secret)
	}
	if again := e.post(e.ada, "/provisioning/tokens", form); again.Code != http.StatusConflict || secretPattern.MatchString(again.Body.String()) {
		t.Errorf("the form is sent again, as by loading the page again: %d", again.Code)
	}
	tokens := must[[]admin.Token](t)(e.admin.Tokens(t.Context(), admin.System("test")))
	if len(tokens) != 1 || tokens[0].Name != "okta" || tokens[0].Expires == nil || time.Until(*tokens[0].Expires) > 90*24*time.Hour {
		t.Fatalf("the tokens are %+v", tokens)
	}
	r := httptest.NewRequest(http.MethodGet, "/scim/v2/Users", nil)
	r.Header.Set("Authorization", "Bearer "+secret)
	w := httptest.NewRecorder()
	if e.scim.ServeHTTP(w, r); w.Code != http.StatusOK {
		t.Errorf("the token that was shown is not valid: %d", w.Code)
	}
	page := "/provisioning/tokens/" + tokens[0].ID
	rotated := e.post(e.ada, page+"/rotate", url.Values{"for": {"365d"}, "overlap": {"1h"}, "once": {mark(page)}})
	rotated.check(t, true)
	if second := secretPattern.FindString(rotated.Body.String()); rotated.Code != http.StatusOK || second == "" || second == secret {
		t.Errorf("rotating: %d %q", rotated.Code, second)
	}
	for _, path := range []string{"/provisioning/tokens", page, "/provisioning/tokens?format=json", "/provisioning/tokens?format=csv", page + "?format=json", "/provisioning"} {
		if body := e.get(e.ada, path).Body.String(); secretPattern.MatchString(body) {
			t.Errorf("%s shows a secret", path)
		}
	}
	if res := e.post(e.ada, page+"/revoke", nil); res.Code != http.StatusUnprocessableEntity {
		t.Errorf("revoking without being sure: %d", res.Code)
	}
	if to := e.done(e.ada, page+"/revoke", url.Values{"sure": {"yes"}}); to != "/provisioning/tokens?done=revoked_token" {
		t.Errorf("it leads to %s", to)
	}
	if w = httptest.NewRecorder(); true {
		if e.scim.ServeHTTP(w, r); w.Code != http.StatusUnauthorized {
			t.Errorf("the token that was revoked is valid: %d", w.Code)
		}
	}
	if res := e.get(e.ada, page); res.Code != http.StatusNotFound {
		t.Errorf("the page of the revoked token: %d", res.Code)
	}
	for _, event := range e.events(audit.KindToken) {
		if event.Actor.ID != e.ada.User.ID || event.Actor.Role != audit.RoleAdmin || event.Actor.Address != address || strings.Contains(fmt.Sprint(event), "sallyport_scim") {
			t.Errorf("the record has %+v", event)
		}
	}
}

func TestTokens_RefuseOddForms(t *testing.T) {
	e := newEnv(t)
	unchanged := func() {
		t.Helper()
		if tokens := must[[]admin.Token](t)(e.admin.Tokens(t.Context(), admin.System("test"))); len(tokens) != 1 || tokens[0].Expires != nil {
			t.Errorf("the tokens are %+v", tokens)
		}
	}
	token, _, err := scim.NewToken("entra", 0)
	if err == nil {
		err = e.provisioning.AddToken(t.Context(), token)
	}
	if err != nil {
		t.Fatal(err)
	}
	form := url.Values{"name": {"x"}, "for": {"30d"}, "once": {"a"}}
	e.isRefused("/provisioning/tokens", form, unchanged)
	e.isRefused("/provisioning/tokens/"+token.ID+"/rotate", url.Values{"for": {"30d"}, "overlap": {"0"}, "once": {"b"}}, unchanged)
	e.isRefused("/provisioning/tokens/"+token.ID+"/revoke", url.Values{"sure": {"yes"}}, unchanged)
	for name, c := range map[string]struct {
		path   string
		form   url.Values
		status int
	}{
		"no_name":        {"", url.Values{"for": {"30d"}, "once": {"1"}}, 422},
		"long_name":      {"", url.Values{"name": {strings.Repeat("x", 64)}, "for": {"30d"}, "once": {"2"}}, 422},
		"odd_name":       {"", url.Values{"name": {"<script>"}, "for": {"30d"}, "once": {"3"}}, 422},
		"own_time":       {"", url.Values{"name": {"x"}, "for": {"36500d"}, "once": {"4"}}, 422},
		"no_time":        {"", url.Values{"name": {"x"}, "once": {"5"}}, 422},
		"no_mark":        {"", url.Values{"name": {"x"}, "for": {"30d"}}, 409},
		"long_mark":      {"", url.Values{"name": {"x"}, "for": {"30d"}, "once": {strings.Repeat("x", 101)}}, 409},
		"rotate_by_name": {"/entra/rotate", url.Values{"for": {"30d"}, "overlap": {"0"}, "once": {"6"}}, 404},
		"revoke_by_name": {"/entra/revoke", url.Values{"sure": {"yes"}}, 404},
		"own_overlap":    {"/" + token.ID + "/rotate", url.Values{"for": {"30d"}, "overlap": {"-1h"}, "once": {"7"}}, 422},
	} {
		if res := e.post(e.ada, "/provisioning/tokens"+c.path, c.form); res.Code != c.status || secretPattern.MatchString(res.Body.String()) {
			t.Errorf("%s: %d %v", name, res.Code, res.err)
		}
		unchanged()
	}
	auditors := e.page(e.otto, "/provisioning/tokens").Body.String() + e.page(e.otto, "/provisioning/tokens/"+token.ID).Body.String()
	if strings.Contains(auditors, `method="post"`) {
		t.Error("an auditor has forms")
	}
}

// hold has the deactivations of some new users held, and returns their ids.
func (e *env) hold(names ...string) (ids []string) {
	e.t.Helper()
	for i := range 2 { // as many as may be at once
		e.push("PATCH", "/Users/"+e.push("POST", "/Users", fmt.Sprintf(`{%s,"userName":"first%d@example.com","active":true}`, userSchema, i), http.StatusCreated), deactivation, http.StatusOK)
	}
	for _, name := range names {
		id := e.push("POST", "/Users", `{`+userSchema+`,"userName":"`+name+`@example.com","displayName":"`+name+`","active":true}`, http.StatusCreated)
		e.push("PATCH", "/Users/"+id, deactivation, http.StatusServiceUnavailable)
		ids = append(ids, id)
	}
	return ids
}

// holdUser has the deactivation of a user held, who was not pushed before.
func (e *env) holdUser(u *directory.User) {
	e.t.Helper()
	e.push("PUT", "/Users/"+u.ID, fmt.Sprintf(`{%s,"userName":%q,"externalId":%q,"displayName":%q,"active":false}`, userSchema, u.UserName, u.ExternalID, u.DisplayName), http.StatusServiceUnavailable)
}

// active returns which of some users are active.
func (e *env) active(ids ...string) (active []bool) {
	for _, id := range ids {
		u, ok := e.directory.ByID(id)
		active = append(active, ok && u.Active)
	}
	return active
}

func TestHeld_ShowsWhatEachPersonWouldLose(t *testing.T) {
	e := newEnv(t)
	e.hold()
	bob := e.user("bob@example.com")
	e.holdUser(bob)
	e.viewer("bob@example.com", false) // a session of his
	body := e.page(e.ada, "/provisioning/held").Body.String()
	for _, want := range []string{"Bob Roe", "wiki", "SRE", `<td class="right">1</td>`, `value="` + bob.ID + `"`, `<span class="badge">1</span>`} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if strings.Contains(body, "payroll") {
		t.Error("the page says that he loses what he does not have")
	}
	if body := e.page(e.otto, "/provisioning/held").Body.String(); strings.Contains(body, "checkbox") || !strings.Contains(body, "Bob Roe") {
		t.Error("an auditor may choose, or does not see Bob")
	}
}

func TestHeld_IsDecided(t *testing.T) {
	e := newEnv(t)
	ids := e.hold("one", "two", "three", "four")
	form := func(which string, users ...string) url.Values {
		newest := must[time.Time](t)(e.admin.NewestHold(t.Context(), admin.System("test")))
		return url.Values{"which": {which}, "user": users, "newest": {newest.Format(time.RFC3339Nano)}}
	}
	all := []bool{true, true, true, true}
	for _, decision := range []string{"release", "reject"} {
		e.isRefused("/provisioning/held/"+decision, form("all"), func() {
			if n := must[int](t)(e.provisioning.Waiting(t.Context())); n != 4 || !slices.Equal(e.active(ids...), all) {
				t.Errorf("%d wait, %v are active", n, e.active(ids...))
			}
		})
	}
	if res := e.post(e.ada, "/provisioning/held/release", form("chosen")); res.Code != http.StatusUnprocessableEntity {
		t.Errorf("with none chosen: %d", res.Code)
	}
	if res := e.post(e.ada, "/provisioning/held/release", form("chosen", "nobody")); res.Code != http.StatusUnprocessableEntity {
		t.Errorf("of nobody: %d", res.Code)
	}
	if to := e.done(e.ada, "/provisioning/held/release", form("chosen", ids[0])); to != "/provisioning/held?done=released" {
		t.Errorf("it leads to %s", to)
	}
	e.done(e.ada, "/provisioning/held/reject", form("chosen", ids[1]))
	seen := form("all")
	late := e.push("POST", "/Users", `{`+userSchema+`,"userName":"late@example.com","active":true}`, http.StatusCreated)
	e.push("PATCH", "/Users/"+late, deactivation, http.StatusServiceUnavailable)
	e.done(e.ada, "/provisioning/held/release", seen)
	if got := e.active(append(ids, late)...); !slices.Equal(got, []bool{false, true, false, false, true}) {
		t.Errorf("%v are active: what came after the page was made is decided too", got)
	}
	if body := e.page(e.ada, "/provisioning/held").Body.String(); !strings.Contains(body, "rejected") || !strings.Contains(body, "late@example.com") {
		t.Error("the page lacks what was rejected or what waits")
	}
}

// TestHeld_NeverTheirOwn: an administrator who is to leave does not keep themselves.
func TestHeld_NeverTheirOwn(t *testing.T) {
	e := newEnv(t)
	e.hold("other")
	e.holdUser(e.ada.User)
	for _, form := range []url.Values{{"which": {"chosen"}, "user": {e.ada.User.ID}}, {"which": {"all"}, "newest": {time.Now().Format(time.RFC3339Nano)}}} {
		res := e.post(e.ada, "/provisioning/held/reject", form)
		if n := must[int](t)(e.provisioning.Waiting(t.Context())); res.Code != http.StatusForbidden || n != 2 || !strings.Contains(res.Body.String(), "Nothing was changed") {
			t.Errorf("%v: %d, %d wait", form, res.Code, n)
		}
	}
	if body := e.page(e.ada, "/provisioning/held").Body.String(); !strings.Contains(body, "about yourself") {
		t.Error("the page does not say which is her own")
	}
}

package entratest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"sallyport/directory"
	"sallyport/entratest"
	"sallyport/scim"
	"sallyport/store/bolt"
)

// target is the SCIM server of this repository, over TLS.
type target struct {
	*directory.Directory
	provisioner entratest.Provisioner
	handler     http.Handler // of the server; tests may replace it
	pushes      []entratest.Push
}

func newTarget(t *testing.T) *target {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	st, err := bolt.Open(filepath.Join(t.TempDir(), "db"), bolt.Options{Init: true})
	if err != nil {
		t.Fatal(err)
	}
	d, err := directory.Open(ctx, st, "externalId")
	if err != nil {
		t.Fatal(err)
	}
	p, err := scim.Open(ctx, st, d)
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { _ = d.Run(ctx) })
	running.Go(func() { _ = p.Run(ctx) })
	token, text, err := scim.NewToken("entra", 0)
	if err := errors.Join(err, p.AddToken(ctx, token)); err != nil {
		t.Fatal(err)
	}
	w := &target{Directory: d, handler: scim.New(scim.Parts{Provisioning: p, Settings: scim.Defaults(), Log: slog.New(slog.DiscardHandler)})}
	server := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.handler.ServeHTTP(rw, r) }))
	t.Cleanup(func() { server.Close(); stop(); running.Wait(); _ = st.Close() })
	w.provisioner = entratest.Provisioner{BaseURL: server.URL + "/scim/v2", Token: text, Client: server.Client(),
		Observe: func(p entratest.Push) { w.pushes = append(w.pushes, p) }}
	return w
}

// TestCompany_PushesChanges in both dialects: hire, move, change, offboard, restore, delete.
func TestCompany_PushesChanges(t *testing.T) {
	for name, modern := range map[string]bool{"capital ops and text for booleans": false, "lower-case ops and no paths": true} {
		t.Run(name, func(t *testing.T) { livesOf(t, modern) })
	}
}

func livesOf(t *testing.T, modern bool) {
	w := newTarget(t)
	w.provisioner.Modern = modern
	tenant := entratest.New("https://login.example.com", entratest.App{})
	sre, sales := tenant.AddTeam("SRE"), tenant.AddTeam("Sales #1")
	c := entratest.NewCompany(tenant, &w.provisioner)
	ok := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	ok("testing the connection", w.provisioner.TestConnection())
	ok("the first cycle", c.Sync())
	alice, err := c.Hire(entratest.Person{UPN: "álice@example.com", Name: "Álice \"Al\" Ng", GivenName: "Álice", Department: "Ops"}, sre.OID)
	ok("hiring", err)
	expect := func(what string, active bool, groups ...string) {
		t.Helper()
		u, there := w.Lookup(alice.OID)
		if !there || u.Active != active || strings.Join(u.GroupNames, ",") != strings.Join(groups, ",") {
			t.Errorf("after %s: %+v", what, u)
		}
	}
	expect("hiring", true, "SRE")
	ok("moving", c.Move(alice.OID, sales.OID))
	expect("moving", true, "Sales #1")
	ok("changing", c.Update(alice.OID, func(p *entratest.Person) {
		p.UPN, p.Name, p.FamilyName, p.Mail, p.Title, p.Department = "alice.roe@example.com", "Alice Roe", "Roe", "alice.roe@example.com", "Boss", "Sales"
	}))
	if u, _ := w.Lookup(alice.OID); u.UserName != "alice.roe@example.com" || u.DisplayName != "Alice Roe" || u.Email != "alice.roe@example.com" {
		t.Errorf("after changing: %+v", u)
	}
	ok("offboarding", c.Offboard(alice.OID))
	expect("offboarding", false, "Sales #1")
	ok("restoring", c.Restore(alice.OID))
	expect("restoring", true, "Sales #1")
	again := entratest.NewCompany(tenant, &w.provisioner)
	ok("a restarted job", again.Sync())
	if again.Remote(alice.OID) != c.Remote(alice.OID) {
		t.Error("a restarted job makes people twice")
	}
	ok("deleting", c.Delete(alice.OID))
	if _, there := w.Lookup(alice.OID); there {
		t.Error("a deleted person is still there")
	}
	ok("deleting a group", w.provisioner.DeleteGroup(c.Remote(sre.OID)))
	shapes(t, w.pushes, modern)
}

// shapes checks the requests that were sent.
func shapes(t *testing.T, pushes []entratest.Push, modern bool) {
	t.Helper()
	var all strings.Builder
	for _, p := range pushes {
		all.WriteString(p.Method + " " + p.Path + " " + p.Body + "\n")
	}
	want := []string{`"op":"Replace","path":"active","value":"False"`, `"op":"Replace","path":"active","value":"True"`, `"op":"Add","path":"members"`,
		`"op":"Remove","path":"members","value":[{"$ref":null`, `"op":"Replace","path":"emails[type eq \"work\"].value"`, "filter=userName+eq+%22"}
	if modern {
		want = []string{`"op":"replace","path":"active","value":false`, `"op":"replace","path":"active","value":true`, `"op":"add","path":"members"`,
			`"op":"remove","path":"members[value eq \"`, `{"op":"replace","value":{"displayName"`, `"op":"replace","path":"emails[type eq \"work\"].value"`}
	}
	for _, shape := range want {
		if !strings.Contains(all.String(), shape) {
			t.Errorf("%s was never sent:\n%s", shape, all.String())
		}
	}
}

// TestProvisioner_RejectsDeviations of a server that deviates in one respect.
func TestProvisioner_RejectsDeviations(t *testing.T) {
	body := func(change func(map[string]any)) func(*httptest.ResponseRecorder) {
		return func(r *httptest.ResponseRecorder) {
			var d map[string]any
			if json.Unmarshal(r.Body.Bytes(), &d) == nil {
				change(d)
				data, _ := json.Marshal(d)
				r.Body = bytes.NewBuffer(data)
			}
		}
	}
	set := func(name string, value any) func(*httptest.ResponseRecorder) {
		return body(func(d map[string]any) { d[name] = value })
	}
	for name, c := range map[string]struct {
		method, path string // of the request whose response is changed
		bend         func(*httptest.ResponseRecorder)
		want         string
	}{
		"plain JSON":          {"POST", "/Users", func(r *httptest.ResponseRecorder) { r.Header().Set("Content-Type", "application/json") }, "Content-Type"},
		"200 for created":     {"POST", "/Users", func(r *httptest.ResponseRecorder) { r.Code = 200 }, "StatusCode: 200"},
		"no Location":         {"POST", "/Users", func(r *httptest.ResponseRecorder) { r.Header().Del("Location") }, "Location"},
		"no id":               {"POST", "/Users", set("id", ""), "id"},
		"no schemas":          {"POST", "/Users", set("schemas", nil), "schemas"},
		"text for active":     {"POST", "/Users", set("active", "true"), "active"},
		"inactive":            {"POST", "/Users", set("active", false), "active was sent"},
		"another externalId":  {"POST", "/Users", set("externalId", "x"), "externalId was sent"},
		"another e-mail":      {"POST", "/Users", set("emails", []any{}), "emails lacks"},
		"no meta":             {"POST", "/Users", set("meta", nil), "Location"},
		"an empty body":       {"POST", "/Users", func(r *httptest.ResponseRecorder) { r.Body.Reset() }, "not a JSON object"},
		"a number for status": {"GET", "/Users/none", set("status", 404), "status"},
		"no resources":        {"GET", "/Users", set("Resources", nil), "lacks"},
		"no list":             {"GET", "/Users", set("schemas", []any{}), "ListResponse"},
		"two of one":          {"GET", "/Users", set("totalResults", 2), "duplicate"},
		"a list of another": {"GET", "/Users", body(func(d map[string]any) {
			d["totalResults"], d["Resources"] = 1, []any{map[string]any{"id": "x", "userName": "y"}}
		}), "cannot exist"},
		"404 for none":     {"GET", "/Users", func(r *httptest.ResponseRecorder) { r.Code = 404 }, "StatusCode: 404"},
		"nothing was done": {"PATCH", "/Users/", nil, "active was sent"},
		"a redirect": {"POST", "/Users", func(r *httptest.ResponseRecorder) {
			r.Code = 307
			r.Header().Set("Location", "https://elsewhere.example.com/")
		}, "redirect"},
		"the members not there": {"PATCH", "/Groups/", nil, "member"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTarget(t)
			inner := w.handler
			w.handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				hit := r.Method == c.method && strings.HasPrefix(r.URL.Path, "/scim/v2"+strings.TrimSuffix(c.path, "none")) &&
					(strings.HasSuffix(c.path, "none") || strings.HasSuffix(c.path, "/") || r.URL.Path == "/scim/v2"+c.path)
				record := httptest.NewRecorder()
				if hit && c.bend == nil {
					record.Code = http.StatusNoContent
				} else {
					inner.ServeHTTP(record, r)
				}
				if hit && c.bend != nil {
					c.bend(record)
				}
				replay(rw, record)
			})
			if err := everything(&w.provisioner); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("gives %v; want an error with %q", err, c.want)
			}
		})
	}
}

// replay writes a recorded response.
func replay(w http.ResponseWriter, r *httptest.ResponseRecorder) {
	maps.Copy(w.Header(), r.Header())
	w.WriteHeader(r.Code)
	_, _ = io.Copy(w, r.Body)
}

// everything makes each call once.
func everything(p *entratest.Provisioner) error {
	steps := []func() error{p.TestConnection}
	var user, group string
	person := entratest.Person{OID: "00000000-0000-4000-8000-000000000001", UPN: "bob@example.com", Name: "Bob", Mail: "bob@example.com"}
	steps = append(steps,
		func() (err error) { user, err = p.CreateUser(person); return err },
		func() (err error) { group, err = p.CreateGroup(entratest.Team{OID: "g", Name: "G"}); return err },
		func() error { return p.AddMembers(group, user) },
		func() error { return p.Disable(user) },
		func() error { _, err := p.Restore(person); return err },
		func() error { return p.RemoveMembers(group, user) },
		func() error { return p.DeleteGroup(group) },
		func() error { return p.DeleteUser(user) },
	)
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func TestProvisioner_AcceptsConformingServer(t *testing.T) {
	w := newTarget(t)
	if err := everything(&w.provisioner); err != nil {
		t.Fatal(err)
	}
}

func TestProvisioner_QuotesErrorLikeEntra(t *testing.T) {
	w := newTarget(t)
	w.provisioner.Token = "sallyport_scim_wrong"
	err := w.provisioner.TestConnection()
	if err == nil || !strings.Contains(err.Error(), "StatusCode: 401 Unauthorized") || !strings.Contains(err.Error(), "Web Response: {") || strings.Contains(err.Error(), "sallyport_scim_wrong") {
		t.Errorf("gives %v", err)
	}
	if len(w.pushes) == 0 || w.pushes[0].Problem != err.Error() {
		t.Errorf("observed %+v", w.pushes)
	}
}

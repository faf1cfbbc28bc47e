package main

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sallyport/admin"
	"sallyport/entratest"
)

const breakGlassURL = "https://" + loginHost + "/.sallyport/breakglass"

// arm arms a code by the verb.
func (r *running) arm(args ...string) (code admin.BreakGlassCode) {
	r.t.Helper()
	out := r.verb(append([]string{"breakglass", "arm", "--reason", "the provider is down", "-o", "json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &code); err != nil || code.Code == "" {
		r.t.Fatalf("%v: %s", err, out)
	}
	return code
}

// enter submits a break-glass code as the page does, and returns the status.
func (b *browser) enter(code string) int {
	b.t.Helper()
	req, err := http.NewRequest(http.MethodPost, breakGlassURL, strings.NewReader(url.Values{"code": {code}, "return_to": {"https://" + appHost + "/"}}.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "text/html")
	req.Header.Set("Origin", "https://"+loginHost)
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	once := *b.client
	once.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := once.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// withoutProvider returns a world whose server was started while the identity provider was down. Alice is a member of the
// group, and the application at apiHost demands a recent sign-in.
func withoutProvider(t *testing.T) *stage {
	t.Helper()
	w := newWorld(t)
	text, err := os.ReadFile(filepath.Join(w.dir, "sallyport.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	strict := strings.Replace(string(text), "routes:\n", "  - name: recent\n    rules:\n      - allow: {groups: [{id: "+w.group+", name: Members}], auth: {max_age: 12h}}\nroutes:\n", 1)
	strict = strings.Replace(strict, "    accept: [bearer]\n    policy: [members]\n", "    policy: [recent]\n", 1)
	writeFile(t, w.dir, "sallyport.yaml", []byte(strict))
	first := w.start("--init")
	s := &stage{world: w, server: first, push: w.pusher(first)}
	s.person = w.entra.Add(entratest.Person{UPN: "alice@example.com", Name: "Alice"})
	s.alice = s.push.hire("alice", s.person.OID)
	s.group = s.push.form("Members", w.group)
	s.push.member("Add", s.group, s.alice)
	first.kill()
	w.provider.CloseClientConnections()
	w.provider.Close()
	s.server = w.start()
	s.push = w.pusher(s.server)
	s.browser = w.newBrowser(s.server)
	return s
}

// TestBreakGlass_ProviderDown checks the day that break-glass is for: the provider is down, and the server was even started
// without it.
func TestBreakGlass_ProviderDown(t *testing.T) {
	s := withoutProvider(t)
	const app = "https://" + appHost + "/"
	if status, body := s.browser.navigate(app); status != http.StatusServiceUnavailable || strings.Contains(body, "breakglass?") {
		t.Errorf("signing in while the provider is down gives %d:\n%s", status, body)
	}
	if status, _ := s.browser.navigate(breakGlassURL); status != http.StatusNotFound {
		t.Errorf("while nothing is armed the page gives %d", status)
	}
	code := s.server.arm("alice@example.com")
	if code.Address != breakGlassURL || code.UserName != "alice@example.com" {
		t.Errorf("%+v", code)
	}
	if status, body := s.browser.navigate(app); status != http.StatusServiceUnavailable || !strings.Contains(body, breakGlassURL+"?return_to=") {
		t.Errorf("the page of the failed login gives %d, without a link:\n%s", status, body)
	}
	if status := s.browser.enter(strings.Repeat("0", 28)); status != http.StatusForbidden {
		t.Errorf("a wrong code gives %d", status)
	}
	if status := s.browser.enter(strings.ToLower(code.Code)); status != http.StatusSeeOther {
		t.Fatalf("the code gives %d", status)
	}
	s.browser.signIn()
	if resp := s.browser.get("https://"+apiHost+"/", ""); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a route that demands a recent sign-in gives %d", resp.StatusCode)
	}
	s.server.arm(s.alice)
	if status, body := s.browser.navigate("https://" + apiHost + "/"); status != http.StatusServiceUnavailable || strings.HasPrefix(body, "hello") || strings.Contains(body, "breakglass?") {
		t.Errorf("a browser gets %d there:\n%s", status, body)
	}
	s.server.verb("breakglass", "disarm", s.alice)
	if status, body := s.browser.navigate("https://" + loginHost + "/"); status != http.StatusOK || !strings.Contains(body, "Break-glass session of") {
		t.Errorf("the portal gives %d:\n%s", status, body)
	}
	if out := s.server.verb("sessions", "list"); !strings.Contains(out, "alice@example.com (break-glass)") {
		t.Errorf("the list of sessions is\n%s", out)
	}
	if status := s.newBrowser(s.server).enter(code.Code); status != http.StatusNotFound {
		t.Errorf("a second use of the code gives %d", status)
	}
	s.checkRecord(t, code.Code)
}

// checkRecord checks that the record tells of the session, and that neither it nor the log has the code.
func (s *stage) checkRecord(t *testing.T, code string) {
	t.Helper()
	record, err := os.ReadFile(filepath.Join(s.dir, "data", "audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"kind":"breakglass","actor":{"kind":"operator",`, `"reason":"armed"`, `"kind":"breakglass","actor":{"kind":"user","name":"alice@example.com","address":"127.0.0.1"}`,
		`"reason":"used"`, `"reason":"break_glass"`, `"detail":{"session":"break-glass"}`, `"detail":{"wrong_codes":"1"}`} {
		if !strings.Contains(string(record), want) {
			t.Errorf("the record lacks %s", want)
		}
	}
	s.server.verb("audit", "verify")
	for _, want := range []string{"a break-glass code is armed", "a break-glass code was used"} {
		awaitLog(t, s.server, `"level":"WARN","msg":"`+want)
	}
	for name, text := range map[string]string{"record": string(record), "log": s.server.log()} {
		if strings.Contains(text, code) || strings.Contains(text, strings.ToLower(code)) {
			t.Errorf("the code is in the %s", name)
		}
	}
}

// TestBreakGlass_RestartDisarms checks that no code survives a restart, and that a session does as any other.
func TestBreakGlass_RestartDisarms(t *testing.T) {
	s := withoutProvider(t)
	if status := s.browser.enter(s.server.arm("alice@example.com").Code); status != http.StatusSeeOther {
		t.Fatalf("the code gives %d", status)
	}
	code := s.server.arm(s.alice)
	copied := filepath.Join(t.TempDir(), "copy.db")
	s.server.verb("backup", copied)
	had := s.browser.cookies(loginHost)
	s.restart()
	other := s.newBrowser(s.server)
	if status := other.enter(code.Code); status != http.StatusNotFound {
		t.Errorf("after a restart the code gives %d", status)
	}
	s.server.arm("alice@example.com")
	if status := other.enter(code.Code); status != http.StatusForbidden {
		t.Errorf("after a restart the old code gives %d beside a new one", status)
	}
	other.client.Jar.SetCookies(mustParseURL(t, "https://"+loginHost+"/"), secure(had))
	other.signIn()
	if data, err := os.ReadFile(copied); err != nil || strings.Contains(string(data), code.Code) {
		t.Errorf("the copy has the code, %v", err)
	}
}

// TestBreakGlass_IsCut checks that the live requests of a break-glass session end with its user and with the session.
func TestBreakGlass_IsCut(t *testing.T) {
	for name, end := range map[string]func(*stage){
		"suspended":   func(s *stage) { s.server.verb("users", "suspend", "alice@example.com", "--reason", "stolen") },
		"deactivated": func(s *stage) { s.push.setActive(s.alice, "False") },
		"left_group":  func(s *stage) { s.push.member("Remove", s.group, s.alice) },
		"ended":       func(s *stage) { s.server.verb("sessions", "end", "--user", s.alice) },
	} {
		t.Run(name, func(t *testing.T) {
			s := withoutProvider(t)
			if status := s.browser.enter(s.server.arm("alice@example.com").Code); status != http.StatusSeeOther {
				t.Fatalf("the code gives %d", status)
			}
			s.browser.signIn()
			live := s.openAll(t)
			end(s)
			denied := http.StatusUnauthorized
			if name == "deactivated" || name == "left_group" {
				denied = http.StatusForbidden
			}
			s.demandCut(t, live, denied)
		})
	}
}

// TestBreakGlassGuide_CommandsRun runs every command of docs/breakglass.md, in its order.
func TestBreakGlassGuide_CommandsRun(t *testing.T) {
	page, err := os.ReadFile("../../docs/breakglass.md")
	if err != nil {
		t.Fatal(err)
	}
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	s := withoutProvider(t)
	ran := 0
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		for line := range strings.Lines(block[1]) {
			line = strings.ReplaceAll(line, "ada@example.com", "alice@example.com")
			if strings.Contains(line, "disarm") { // the code before was used
				s.server.arm("alice@example.com")
			}
			cmd := exec.Command("sh", "-c", line)
			cmd.Dir, cmd.Env = s.dir, append(os.Environ(), "PATH="+filepath.Dir(path)+":"+os.Getenv("PATH"))
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%s: %v\n%s", line, err, out)
			}
			if code := regexp.MustCompile(`([0-9A-Z]{4}-){6}[0-9A-Z]{4}`).FindString(string(out)); code != "" {
				if status := s.newBrowser(s.server).enter(code); status != http.StatusSeeOther {
					t.Errorf("the code that %q prints gives %d", line, status)
				}
			}
			ran++
		}
	}
	if ran < 8 {
		t.Errorf("there are only %d commands", ran)
	}
}

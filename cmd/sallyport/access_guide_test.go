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

	"sallyport/entratest"
)

var (
	guideYAML     = regexp.MustCompile("(?s)```yaml\n(.*?)```")
	guideCommands = regexp.MustCompile("(?s)```sh\n(.*?)```")
)

// TestAccessGuide_IsTrue runs a server with the policy and the route of docs/access.md, and every command of that page in
// turn, with requests of a person for what the page is about.
func TestAccessGuide_IsTrue(t *testing.T) {
	text, err := os.ReadFile("../../docs/access.md")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	here := strings.NewReplacer("reports.example.com", appHost, "http://127.0.0.1:3000", w.upstream.URL)
	file, err := os.ReadFile(filepath.Join(w.dir, "sallyport.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	settings, _, _ := strings.Cut(string(file), "policies:")
	writeFile(t, w.dir, "sallyport.yaml", []byte(settings+here.Replace(guideYAML.FindStringSubmatch(string(text))[1])))
	g := &guide{t: t, server: w.start("--init")}
	push := w.pusher(g.server)
	person := w.entra.Add(entratest.Person{UPN: "ada@example.com", Name: "Ada"})
	w.entra.SignIn(person.OID)
	for name, member := range map[string]string{"Finance": push.hire("fay", "oid-of-fay"), "All staff": push.hire("ada", person.OID), "Leads": push.hire("lee", "oid-of-lee")} {
		id := regexp.MustCompile(`\{id: (\S+), name: ` + name + `\}`).FindStringSubmatch(string(text))[1]
		push.member("Add", push.form(name, id), member)
	}
	g.ada = w.newBrowser(g.server)
	ran := 0
	for _, block := range guideCommands.FindAllStringSubmatch(string(text), -1) {
		for line := range strings.Lines(block[1]) {
			g.run(here.Replace(strings.TrimSpace(line)))
			ran++
		}
	}
	if ran < 10 {
		t.Errorf("the page has only %d commands", ran)
	}
}

const deniedPage = "https://" + appHost + "/q3" // that the person of the guide is denied

// guide runs the commands of a page.
type guide struct {
	t      *testing.T
	server *running
	ada    *browser
}

// run runs a command, in which REQUEST and GRANT stand for the newest open ones.
func (g *guide) run(line string) {
	g.t.Helper()
	if strings.Contains(line, "REQUEST") {
		line = strings.ReplaceAll(line, "REQUEST", g.ask())
	}
	if strings.Contains(line, "GRANT") {
		line = strings.ReplaceAll(line, "GRANT", g.newest("grants", "list"))
	}
	path, err := binary()
	if err != nil {
		g.t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", line)
	cmd.Dir, cmd.Env = g.server.dir, append(os.Environ(), "PATH="+filepath.Dir(path)+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	denied := strings.Contains(line, " explain ") && cmd.ProcessState.ExitCode() == 2
	if err != nil && !denied || len(out) == 0 {
		g.t.Errorf("%s: %v\n%s", line, err, out)
	}
	if strings.Contains(line, "request approve") {
		if status, _ := g.ada.navigate(deniedPage); status != http.StatusOK {
			g.t.Errorf("after the approval ada gets %d", status)
		}
	}
}

// ask has ada ask for what she is denied, and returns the id of her request. While one waits, it is that one.
func (g *guide) ask() string {
	g.t.Helper()
	if status, _ := g.ada.navigate(deniedPage); status == http.StatusOK {
		g.t.Fatal("ada has access already")
	}
	form := url.Values{"policy": {"reports"}, "url": {"/q3"}, "reason": {"the report of the quarter"}}
	req, err := http.NewRequest(http.MethodPost, "https://"+appHost+"/.sallyport/request", strings.NewReader(form.Encode()))
	if err != nil {
		g.t.Fatal(err)
	}
	req.Header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Origin": {"https://" + appHost}, "Sec-Fetch-Site": {"same-origin"}}
	resp, err := g.ada.client.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		g.t.Fatalf("asking gets %d", resp.StatusCode)
	}
	return g.newest("request", "list")
}

// newest returns the id of the first thing that a command lists.
func (g *guide) newest(args ...string) string {
	g.t.Helper()
	var list []struct{ ID string }
	if err := json.Unmarshal([]byte(g.server.verb(append(args, "-o", "json")...)), &list); err != nil || len(list) == 0 {
		g.t.Fatalf("%q lists nothing: %v", args, err)
	}
	return list[0].ID
}

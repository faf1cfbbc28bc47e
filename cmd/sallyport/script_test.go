package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"sallyport/audit/audittest"
	"sallyport/demo"
	"sallyport/entratest"
)

// readyTimeout bounds how long a script waits for a server.
const readyTimeout = 30 * time.Second

// TestVerbs runs every script in testdata/script: the commands as an operator types them. Each script runs in a folder
// with a configuration that loads, unless it brings its own, and may use these commands beside testscript's own:
//
//	exits CODE COMMAND ARG...  runs a command that must exit with CODE
//	ready                      waits until the server of this folder is ready
//	until TEXT COMMAND ARG...  runs a command until it prints TEXT, interrupts it, and demands that it ends well
//	push NAME...               pushes users to the server, and sets $NAME to the id of each
//	deactivate NAME            pushes a deactivation; with !, one that is held
//	delete NAME                pushes a deletion
//	signin NAME                signs a user in
//	stream NAME                begins a stream of the application with an access token of a user
//	requestable                lets everybody ask for the policy of the configuration; its members approve
//	ask NAME                   takes a user out of the group, who is then denied, and asks for access
//	capture VAR PATTERN        sets $VAR to what PATTERN matches in the last command's output
//
// $PUBLIC, $SCIM and $OPS are the addresses of the listeners, $UPSTREAM is the URL of the application.
func TestVerbs(t *testing.T) {
	w := newWorld(t)
	var signingIn sync.Mutex
	testscript.Run(t, testscript.Params{Dir: "testdata/script",
		Setup: func(env *testscript.Env) error { return prepareScript(w, &signingIn, env) },
		Condition: func(name string) (bool, error) {
			if name != "demo_ports" {
				return false, fmt.Errorf("unknown condition %q", name)
			}
			return demoPortsAreFree(), nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": scriptExits, "ready": scriptReady, "until": scriptUntil, "push": scriptPush, "deactivate": scriptDeactivate, "delete": scriptDelete,
			"signin": scriptSignIn, "stream": scriptStream, "capture": scriptCapture, "requestable": scriptRequestable, "ask": scriptAsk,
		}})
}

// script is the world of one script.
type script struct {
	world
	server  *running
	members string // id of the group that was pushed; empty until then
	people  map[string]entratest.Person

	signingIn *sync.Mutex // held while somebody signs in: all scripts share the identity provider, which signs in one person at a time
}

// as makes the identity provider sign in the named person, and calls f with a new browser.
func (s *script) as(name string, f func(*browser)) {
	s.signingIn.Lock()
	defer s.signingIn.Unlock()
	s.entra.SignIn(s.people[name].OID)
	f(s.newBrowser(s.server))
}

type scriptKey struct{}

// prepareScript copies the files of w to the folder of a script, with listeners at addresses of their own.
func prepareScript(w *world, signingIn *sync.Mutex, env *testscript.Env) error {
	s := &script{world: *w, people: map[string]entratest.Person{}, signingIn: signingIn}
	s.dir = env.WorkDir
	s.server = &running{t: w.t, dir: s.dir, addrs: map[string]string{}}
	env.Values[scriptKey{}] = s
	env.Setenv("GORACE", raceOptions)
	env.Defer(func() { audittest.CheckRecord(w.t, filepath.Join(s.dir, "data", "audit.jsonl")) })
	if _, err := os.Stat(filepath.Join(s.dir, "sallyport.yaml")); err == nil {
		return nil
	}
	if err := os.CopyFS(s.dir, os.DirFS(w.dir)); err != nil {
		return err
	}
	env.Setenv("UPSTREAM", w.upstream.URL)
	for _, name := range []string{"public", "scim", "ops"} {
		addr := freeAddr(w.t)
		s.server.addrs[name] = addr
		s.rewrite(name+": 127.0.0.1:0", name+": "+addr)
		env.Setenv(strings.ToUpper(name), addr)
	}
	s.rewrite("control: {", "scim: {max_deactivations: {count: 1, per: 1h}}\ncontrol: {")
	return nil
}

func scriptOf(ts *testscript.TestScript) *script { return ts.Value(scriptKey{}).(*script) }

func scriptUsage(ts *testscript.TestScript, ok bool, text string) {
	if !ok {
		ts.Fatalf("usage: %s", text)
	}
}

func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	scriptUsage(ts, !neg && len(args) > 1, "exits CODE COMMAND ARG...")
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	code := 0
	if exit := (*exec.ExitError)(nil); errors.As(ts.Exec(args[1], args[2:]...), &exit) {
		code = exit.ExitCode()
	}
	if code != want {
		ts.Fatalf("the exit code is %d, want %d", code, want)
	}
}

func scriptReady(ts *testscript.TestScript, neg bool, args []string) {
	scriptUsage(ts, !neg && len(args) == 0, "ready")
	ctx, stop := context.WithTimeout(context.Background(), readyTimeout)
	defer stop()
	ts.Check(awaitReady(ctx, installation{run: &runFile{Ops: scriptOf(ts).server.addrs["ops"]}}))
}

func scriptUntil(ts *testscript.TestScript, neg bool, args []string) {
	scriptUsage(ts, !neg && len(args) > 1, "until TEXT COMMAND ARG...")
	path, err := exec.LookPath(args[1])
	ts.Check(err)
	ctx, stop := context.WithTimeout(context.Background(), readyTimeout)
	defer stop()
	cmd := exec.CommandContext(ctx, path, args[2:]...)
	cmd.Dir = scriptOf(ts).dir
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	cmd.Stderr = cmd.Stdout
	ts.Check(cmd.Start())
	seen := false
	var printed bytes.Buffer
	for lines := bufio.NewScanner(out); lines.Scan(); {
		printed.WriteString(lines.Text() + "\n")
		if !seen && strings.Contains(lines.Text(), args[0]) {
			seen = true
			ts.Check(cmd.Process.Signal(os.Interrupt))
		}
	}
	if err := cmd.Wait(); err != nil || !seen {
		ts.Fatalf("%s ends with %v after printing\n%s", args[1], err, printed.String())
	}
}

// scim returns what pushes to the server, with a token made for this script.
func (s *script) scim(ts *testscript.TestScript) *pusher {
	if s.token == "" {
		var out, errs bytes.Buffer
		code := run(context.Background(), []string{"token", "create", "script", "-o", "json", "-c", filepath.Join(s.dir, "sallyport.yaml")}, nil, &out, &errs)
		match := regexp.MustCompile(`"token": "(.*)"`).FindStringSubmatch(out.String())
		if code != exitOK || match == nil {
			ts.Fatalf("no token can be created: %s", errs.String())
		}
		s.token = match[1]
	}
	return s.pusher(s.server)
}

func scriptPush(ts *testscript.TestScript, neg bool, args []string) {
	scriptUsage(ts, !neg && len(args) > 0, "push NAME...")
	s := scriptOf(ts)
	pusher := s.scim(ts)
	if s.members == "" {
		s.members = pusher.form("Members", s.group)
	}
	for _, name := range args {
		person := s.entra.Add(entratest.Person{UPN: name + "@example.com", Name: name})
		s.people[name] = person
		id := pusher.hire(name, person.OID)
		pusher.member("Add", s.members, id)
		ts.Setenv(name, id)
	}
}

func scriptDeactivate(ts *testscript.TestScript, neg bool, args []string) {
	scriptUsage(ts, len(args) == 1, "[!] deactivate NAME")
	body := patchOf(map[string]any{"op": "Replace", "path": "active", "value": "False"})
	status, _, err := scriptOf(ts).scim(ts).try("PATCH", "/Users/"+ts.Getenv(args[0]), body)
	ts.Check(err)
	want := http.StatusOK
	if neg {
		want = http.StatusServiceUnavailable
	}
	if status != want {
		ts.Fatalf("the deactivation gets %d, want %d", status, want)
	}
}

func scriptDelete(ts *testscript.TestScript, neg bool, args []string) {
	scriptUsage(ts, !neg && len(args) == 1, "delete NAME")
	status, _, err := scriptOf(ts).scim(ts).try("DELETE", "/Users/"+ts.Getenv(args[0]), nil)
	ts.Check(err)
	if status != http.StatusNoContent {
		ts.Fatalf("the deletion gets %d", status)
	}
}

func scriptSignIn(ts *testscript.TestScript, neg bool, args []string) {
	scriptUsage(ts, !neg && len(args) == 1, "signin NAME")
	scriptOf(ts).as(args[0], (*browser).signIn)
}

func scriptStream(ts *testscript.TestScript, neg bool, args []string) {
	scriptUsage(ts, !neg && len(args) == 1, "stream NAME")
	s := scriptOf(ts)
	resp := s.newBrowser(s.server).get("https://"+apiHost+"/events", s.entra.AccessToken(s.people[args[0]], audience, nil))
	ts.Defer(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		ts.Fatalf("the stream gets %d", resp.StatusCode)
	}
	_, err := resp.Body.Read(make([]byte, 1)) // it has begun
	ts.Check(err)
}

func scriptRequestable(ts *testscript.TestScript, neg bool, args []string) {
	scriptUsage(ts, !neg && len(args) == 0, "requestable")
	scriptOf(ts).makeRequestable()
}

// makeRequestable lets everybody ask for the policy of the configuration, whose members approve.
func (w *world) makeRequestable() {
	w.rewrite("  - name: members\n", "  - name: members\n    requestable: {by: {anyone: true}, approvers: {groups: [{id: "+w.group+"}]}, max: 4h}\n")
}

func scriptAsk(ts *testscript.TestScript, neg bool, args []string) {
	scriptUsage(ts, !neg && len(args) == 1, "ask NAME")
	s := scriptOf(ts)
	s.scim(ts).member("Remove", s.members, ts.Getenv(args[0]))
	s.as(args[0], func(b *browser) {
		status, page := b.navigate("https://" + appHost + "/")
		if status != http.StatusForbidden {
			ts.Fatalf("the application responds with %d: %s", status, page)
		}
		if status, page = b.askFor("the disk is full"); status != http.StatusOK {
			ts.Fatalf("asking gets %d: %s", status, page)
		}
	})
}

// askFor sends the form of the page that denied the application.
func (b *browser) askFor(reason string) (status int, page string) {
	b.t.Helper()
	form := url.Values{"policy": {"members"}, "url": {"/"}, "reason": {reason}}
	req, err := http.NewRequest(http.MethodPost, "https://"+appHost+"/.sallyport/request", strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", "https://"+appHost)
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	resp, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

func scriptCapture(ts *testscript.TestScript, neg bool, args []string) {
	scriptUsage(ts, !neg && len(args) == 2, "capture VAR PATTERN")
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	match := pattern.FindStringSubmatch(ts.ReadFile("stdout"))
	if match == nil {
		ts.Fatalf("the output does not match %s", args[1])
	}
	ts.Setenv(args[0], match[len(match)-1])
}

func demoPortsAreFree() bool {
	d := demo.Defaults()
	for _, port := range []int{d.Public, d.SCIM, d.Ops, d.Tenant} {
		l, err := net.Listen("tcp", net.JoinHostPort("localhost", strconv.Itoa(port)))
		if err != nil {
			return false
		}
		_ = l.Close()
	}
	return true
}

// TestCommands_HaveScripts demands of every command that a script named after its verb runs it, asks for its help, and
// has a case that fails.
func TestCommands_HaveScripts(t *testing.T) {
	root := rootCommand()
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, verb := range root.Commands() {
		t.Run(verb.Name(), func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("testdata", "script", verb.Name()+".txtar"))
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(string(text), "\n")
			demandScripted(t, verb, lines)
			if !slices.ContainsFunc(lines, func(line string) bool { return strings.HasPrefix(line, "exits 1 sallyport ") }) {
				t.Error("no command exits with 1")
			}
		})
	}
}

func demandScripted(t *testing.T, c *cobra.Command, lines []string) {
	t.Helper()
	call := regexp.MustCompile(`(^| )` + c.CommandPath() + `( |$)`)
	help := slices.Contains(lines, c.CommandPath()+" --help")
	runs := slices.ContainsFunc(lines, func(line string) bool {
		return !strings.HasPrefix(line, "#") && !strings.HasSuffix(line, " --help") && call.MatchString(line)
	})
	if !help {
		t.Errorf("`%s --help` is not run", c.CommandPath())
	}
	if c.Runnable() && !runs {
		t.Errorf("`%s` is not run", c.CommandPath())
	}
	for _, sub := range c.Commands() {
		demandScripted(t, sub, lines)
	}
}

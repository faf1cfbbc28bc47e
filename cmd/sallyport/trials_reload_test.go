package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// fault is a way to spoil a configuration file.
type fault struct {
	name  string
	spoil func(text string) string
}

// replaced replaces text, which must be there.
func replaced(old, new string) func(string) string {
	return func(text string) string {
		if !strings.Contains(text, old) {
			panic("the configuration has no " + old)
		}
		return strings.Replace(text, old, new, 1)
	}
}

// configFaults are files that must not be put in force. "" is a file that is not there.
var configFaults = []fault{
	{"removed", func(string) string { return "" }},
	{"one line feed", func(string) string { return "\n" }},
	{"cut off in a rule", func(text string) string { return text[:strings.Index(text, "name: Members")] }},
	{"cut off after the policies", func(text string) string { return text[:strings.Index(text, "routes:")] }},
	{"cut off in a key", func(text string) string { return text[:strings.Index(text, "upstream:")+3] }},
	{"too large", func(text string) string { return text + "#" + strings.Repeat("x", 20<<20) }},
	{"zeros", func(text string) string { return strings.Repeat("\x00", len(text)) }},
	{"zero in the middle", replaced("routes:", "routes\x00:")},
	{"no UTF-8", replaced("name: members", "name: \xff\xfe")},
	{"unknown key", replaced("routes:", "publik_url: x\nroutes:")},
	{"duplicate key", replaced("routes:", "policies: []\nroutes:")},
	{"second document", func(text string) string { return text + "---\n" + text }},
	{"a list", func(string) string { return "- a\n- b\n" }},
	{"a word", func(string) string { return "sallyport\n" }},
	{"tab", replaced("    rules:", "\trules:")},
	{"unclosed bracket", replaced("accept: [bearer]", "accept: [bearer")},
	{"aliases of aliases", func(text string) string {
		bomb := "x0: &x0 [a]\n"
		for n := range 30 {
			bomb += fmt.Sprintf("x%d: &x%d [*x%d, *x%d]\n", n+1, n+1, n, n)
		}
		return bomb + text
	}},
	{"deep nesting", func(text string) string { return text + "x: " + strings.Repeat("[", 100_000) }},
	{"wrong type", replaced("routes:", "trusted_proxies: 7\nroutes:")},
	{"everybody is trusted", replaced("routes:", "trusted_proxies: [0.0.0.0/0]\nroutes:")},
	{"unknown policy", replaced("policy: [members]", "policy: [nobody]")},
	{"no policy", replaced("    policy: [members]\n", "")},
	{"the same route twice", replaced("host: api.test", "host: app.test")},
	{"odd host", replaced("host: api.test", "host: 'api test'")},
	{"odd upstream", replaced("upstream: http", "upstream: gopher")},
	{"wrong expression", replaced("allow: {groups", "allow: {when: 'request.(', groups")},
	{"rule without a subject", replaced("allow: {groups: [{id: ", "allow: {groups: [{name: ")},
	{"negative limit", replaced("routes:", "limits: {live_requests: -1}\nroutes:")},
	{"no certificate", replaced("cert_file: tls.crt", "cert_file: nowhere.crt")},
	{"key of another certificate", replaced("key_file: tls.key", "key_file: other.key")},
	{"failing test", replaced("routes:", "tests:\n  - {as: alice@example.com, get: app.test/, want: deny}\n  - {as: alice@example.com, get: app.test/, want: allow}\nroutes:")},
	{"webhook without a secret", replaced("routes:", "webhooks: [{url: 'https://localhost/'}]\nroutes:")},
	{"another login host", replaced("public_url: https://login.test", "public_url: http://login.test")},
}

// TestReliability_Reload reloads good and bad files under load, by the verb's call and by what the server notices itself. A request gets
// what the rules before or after the reload say, and none fails; once a reload is reported as done, the new rules hold; a
// bad file changes nothing, and the error says why.
func TestReliability_Reload(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	_, key := s.ca.issue(t, loginHost)
	writeFile(t, s.dir, "other.key", key)
	path := filepath.Join(s.dir, "sallyport.yaml")
	sound := string(readFile(t, path))
	control := &controlClient{installation: installation{run: &runFile{Control: filepath.Join(s.dir, "data", "control.sock")}}}
	k := &known{person: s.person, begun: pushed{active: true, member: true}}
	var mu sync.Mutex // guards the history of k
	stop := make(chan struct{})
	var load sync.WaitGroup
	requests := 0
	for range 2 {
		b := s.newBrowserWith(s.server, s.browser)
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				began := time.Now()
				status, err := getStatus(b.client, "https://"+appHost+"/", "")
				if err != nil {
					status = 0 // it was cut, which is right if the rules deny it
				} else if status != http.StatusOK && status != http.StatusForbidden {
					t.Errorf("a request gets %d, %v", status, err)
					return
				}
				mu.Lock()
				requests++
				k.reads = append(k.reads, read{began, time.Now(), status})
				mu.Unlock()
			}
		})
	}
	bad := 0
	trials(t, 8, func(c *trial) {
		text, after := sound, pushed{active: true, member: true}
		if c.IntN(8) < 5 {
			for range c.IntN(20) {
				text += fmt.Sprintf("  - {name: r%d, host: r%[1]d.test, upstream: %q, policy: [members]}\n", c.Uint32(), s.upstream.URL)
			}
			if c.IntN(3) == 0 {
				text, after.member = replaced("id: "+s.world.group, "id: 61503835-0000-0000-0000-000000000002")(text), false
			}
			began := time.Now()
			mu.Lock()
			i := len(k.changes)
			k.changes = append(k.changes, change{began: began, after: after})
			mu.Unlock()
			replaceFile(c, path, text)
			if err := control.call(c.Context(), http.MethodPost, "/reload", nil, nil); err != nil {
				c.Errorf("a good file: %v", err)
			}
			mu.Lock()
			k.changes[i].ended = time.Now()
			mu.Unlock()
			c.count("good")
		} else {
			f := configFaults[bad%len(configFaults)]
			bad++
			spoiled := f.spoil(sound)
			if spoiled == "" {
				if err := os.Remove(path); err != nil {
					c.Fatal(err)
				}
			} else {
				replaceFile(c, path, spoiled)
			}
			err := control.call(c.Context(), http.MethodPost, "/reload", nil, nil)
			if err == nil {
				c.Errorf("%s: the file is put in force", f.name)
			} else if !strings.Contains(err.Error(), s.dir) && !strings.Contains(err.Error(), "alice@example.com") {
				c.Errorf("%s: the error does not name the file: %v", f.name, err)
			}
			replaceFile(c, path, string(sound))
			// The rules in force stay until the next good file; the server may notice this one by itself.
			mu.Lock()
			k.changes = append(k.changes, change{began: time.Now(), after: pushed{active: true, member: true}})
			mu.Unlock()
			c.count("bad")
		}
		mu.Lock()
		defer mu.Unlock()
		c.report(k.problems(true))
		k.reads = nil
		for len(k.changes) > 1000 { // no request takes that long
			if !k.changes[0].ended.IsZero() {
				k.begun = k.changes[0].after
			}
			k.changes = k.changes[1:]
		}
	})
	close(stop)
	load.Wait()
	t.Logf("%d requests meanwhile", requests)
	s.server.verb("audit", "verify")
}

// replaceFile puts a file in the place of another at once.
func replaceFile(c *trial, path, text string) {
	c.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		c.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		c.Fatal(err)
	}
}

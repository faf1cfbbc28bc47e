package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

const (
	keycloakAdmin    = "admin"
	keycloakPassword = "for this test alone"
	adaPassword      = "difference engine"
	nightlySecret    = "the secret of the nightly export"
	pushSecret       = "the secret of the program that pushes"
)

// keycloak is a real Keycloak with the realm "company": the user ada, the client sallyport for sign-in, and the client
// nightly with a service account.
type keycloak struct {
	t      *testing.T
	base   string // such as https://127.0.0.1:8443
	client *http.Client
	token  string // of its administrator
}

// TestKeycloak runs the distribution in the folder that KEYCLOAK names; ./test.sh keycloak gets it.
func TestKeycloak(t *testing.T) {
	folder := os.Getenv("KEYCLOAK")
	if folder == "" {
		t.Skip("KEYCLOAK names no distribution; ./test.sh keycloak does")
	}
	w := newWorld(t)
	public := portOf(freeAddr(t))
	k := startKeycloak(t, w, folder, public)
	ada := k.createRealm(public, w.group)
	w.configureKeycloak(k, public)
	s := w.start("--init")
	push := w.pusher(s)
	push.client = newClient(t, w.ca, map[string]string{loginHost + ":443": s.addrs["scim"]})
	user := push.hire("ada", ada)
	group := push.form("Members", w.group)
	push.member("Add", group, user)
	push.member("Add", group, push.hire("grace", k.userID("grace")))
	port := ":" + public
	hosts := map[string]string{loginHost + port: s.addrs["public"], appHost + port: s.addrs["public"], apiHost + port: s.addrs["public"]}
	page, api := "https://"+appHost+port+"/", "https://"+apiHost+port+"/"
	b := &browser{t, newClient(t, w.ca, hosts), s.addrs["public"], w.ca}

	t.Run("signs_in", func(t *testing.T) {
		k.signIn(t, b, page)
	})
	t.Run("client_credentials", func(t *testing.T) {
		if status := bearerStatus(b, api, k.clientCredentials()); status != http.StatusOK {
			t.Errorf("the application nightly gets %d", status)
		}
	})
	t.Run("keys_rotate_twice", func(t *testing.T) {
		for i := range 2 {
			k.rotateKeys(200 + i)
			if status := bearerStatus(b, api, k.clientCredentials()); status != http.StatusOK && status != http.StatusServiceUnavailable {
				t.Errorf("after rotation %d a token with the new key gets %d", i+1, status)
			}
		}
		awaitStatus(t, http.StatusOK, func() int { return bearerStatus(b, api, k.clientCredentials()) })
		if status, _ := b.navigate(page); status != http.StatusOK {
			t.Errorf("the session gets %d after the rotations", status)
		}
	})
	t.Run("back_channel_logout", func(t *testing.T) {
		cut := make(chan error, 1)
		stream := b.get(page+"events", "")
		go func() {
			_, err := io.Copy(io.Discard, stream.Body)
			_ = stream.Body.Close()
			cut <- err
		}()
		k.call("POST", "/admin/realms/company/users/"+ada+"/logout", nil, nil)
		select {
		case <-cut:
		case <-time.After(20 * time.Second):
			t.Errorf("the stream goes on after the logout at Keycloak\n%s", s.log())
		}
		if status := b.get(page, "").StatusCode; status != http.StatusUnauthorized {
			t.Errorf("after the logout at Keycloak the browser gets %d", status)
		}
	})
	t.Run("signs_out", func(t *testing.T) {
		k.signIn(t, b, page)
		out := "https://" + loginHost + port + "/.sallyport/logout"
		status, body, _ := b.send(http.MethodPost, out)
		if status != http.StatusOK || !strings.Contains(body, "You are signed out") {
			t.Fatalf("signing out ends with %d:\n%s", status, body)
		}
		if status := b.get(page, "").StatusCode; status != http.StatusUnauthorized {
			t.Errorf("after signing out the browser gets %d", status)
		}
		if _, body := b.navigate(page); !strings.HasPrefix(body, "hello ") {
			t.Fatalf("Keycloak has ended its session before it was asked to:\n%s", body)
		}
		_, body, _ = b.send(http.MethodPost, out)
		link := logoutLink.FindStringSubmatch(body)
		if link == nil {
			t.Fatalf("the page does not lead to Keycloak:\n%s", body)
		}
		status, body, at := b.send(http.MethodGet, html.UnescapeString(link[1]))
		if status != http.StatusOK || at.Host != loginHost+port || at.Path != "/.sallyport/logout" || !strings.Contains(body, "You are signed out") || logoutLink.MatchString(body) {
			t.Errorf("signing out at Keycloak ends with %d at %s:\n%s", status, at, body)
		}
		if _, body := b.navigate(page); !loginForm.MatchString(body) {
			t.Errorf("Keycloak does not ask who signs in:\n%s", body)
		}
	})
	t.Run("chooses_account", func(t *testing.T) {
		k.signIn(t, b, page)
		chooser := "https://" + loginHost + port + "/.sallyport/login?prompt=select_account&return_to=" + url.QueryEscape(page)
		_, body := b.navigate(chooser)
		if loginForm.MatchString(body) || !strings.Contains(body, `name="at" value="switch"`) {
			t.Fatalf("the page does not say that Keycloak has no account chooser:\n%s", body)
		}
		status, body, _ := b.sendForm("https://"+loginHost+port+"/.sallyport/logout", url.Values{"at": {"switch"}, "sign_in": {page}})
		if status != http.StatusOK || !loginForm.MatchString(body) {
			t.Fatalf("after signing out, Keycloak does not ask who signs in: %d\n%s", status, body)
		}
		if status, body := k.fillIn(t, b, body, "grace"); status != http.StatusOK || !strings.HasPrefix(body, "hello grace") {
			t.Errorf("signing in as another person ends with %d:\n%s", status, body)
		}
		k.signOut(b, port)
	})
	t.Run("offboarding", func(t *testing.T) {
		k.signIn(t, b, page)
		push.setActive(user, "False")
		if status := b.get(page, "").StatusCode; status != http.StatusUnauthorized && status != http.StatusForbidden {
			t.Errorf("after the deactivation the browser gets %d", status)
		}
	})
	t.Run("pushes_by_program", func(t *testing.T) { testKeycloakPush(t, w, k, s, b, page, ada) })
}

// awaitStatus asks again until the status is the wanted one, for a minute at most.
func awaitStatus(t testing.TB, want int, ask func() int) {
	t.Helper()
	deadline, retry := time.After(time.Minute), time.NewTicker(time.Second)
	defer retry.Stop()
	for status := ask(); status != want; status = ask() {
		select {
		case <-deadline:
			t.Fatalf("the status is still %d", status)
		case <-retry.C:
		}
	}
}

func bearerStatus(b *browser, target, token string) int {
	resp := b.get(target, token)
	_ = resp.Body.Close()
	return resp.StatusCode
}

func (w *world) configureKeycloak(k *keycloak, public string) {
	w.t.Helper()
	writeFile(w.t, w.dir, "sallyport.yaml", fmt.Appendf(nil, `public_url: https://%s:%s
listen: {public: "127.0.0.1:%s", scim: 127.0.0.1:0, ops: 127.0.0.1:0}
tls: {cert_file: tls.crt, key_file: tls.key}
store: {bolt: {path: data/sallyport.db}}
control: {socket: data/control.sock}
log: {level: debug}
oidc:
  issuer: %s/realms/company
  client_id: sallyport
  client_secret_file: secrets/oidc
  api_audiences: [%s]
  user_claim: sub
  ca_file: ca.pem
policies:
  - name: members
    rules:
      - allow: {groups: [{id: %s, name: Members}]}
  - name: exports
    rules:
      - allow: {apps: [nightly]}
routes:
  - {name: app, host: %s, upstream: "%s", policy: [members], owner: owner@example.com}
  - {name: api, host: %s, upstream: "%s", accept: [bearer], policy: [exports]}
`, loginHost, public, public, k.base, audience, w.group, appHost, w.upstream.URL, apiHost, w.upstream.URL))
}

// startKeycloak runs Keycloak with a database in memory, and returns when it responds.
func startKeycloak(t *testing.T, w *world, folder, public string) *keycloak {
	t.Helper()
	cert, key := w.ca.issue(t, "localhost")
	writeFile(t, w.dir, "keycloak.crt", cert)
	writeFile(t, w.dir, "keycloak.key", key)
	writeFile(t, w.dir, "hosts", []byte("127.0.0.1 localhost "+loginHost+"\n"))
	port := portOf(freeAddr(t))
	k := &keycloak{t: t, base: "https://127.0.0.1:" + port, client: newClient(t, w.ca, nil)}
	cmd := exec.Command(filepath.Join(folder, "bin", "kc.sh"), "start-dev", "--db=dev-mem", "--http-enabled=false", "--https-port="+port,
		"--hostname="+k.base, "--https-certificate-file="+filepath.Join(w.dir, "keycloak.crt"),
		"--https-certificate-key-file="+filepath.Join(w.dir, "keycloak.key"), "--truststore-paths="+filepath.Join(w.dir, "ca.pem"))
	cmd.Env = append(os.Environ(), "KC_BOOTSTRAP_ADMIN_USERNAME="+keycloakAdmin, "KC_BOOTSTRAP_ADMIN_PASSWORD="+keycloakPassword,
		"JAVA_OPTS_APPEND=-Djdk.net.hosts.file="+filepath.Join(w.dir, "hosts"))
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exited) }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-exited })
	deadline, retry := time.After(5*time.Minute), time.NewTicker(time.Second)
	defer retry.Stop()
	for {
		resp, err := k.client.Get(k.base + "/realms/master/.well-known/openid-configuration")
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return k
			}
		}
		select {
		case <-exited:
			t.Fatalf("Keycloak ended:\n%s", log.String())
		case <-deadline:
			t.Fatal("Keycloak does not respond")
		case <-retry.C:
		}
	}
}

// createRealm returns the id of the user ada, which is the sub of her tokens.
func (k *keycloak) createRealm(public, group string) (ada string) {
	k.t.Helper()
	own := "https://" + loginHost + ":" + public
	k.call("POST", "/admin/realms", map[string]any{
		"realm": "company", "enabled": true,
		"groups": []any{map[string]any{"id": group, "name": "Members"}},
		"users":  []any{keycloakUser("ada", "/Members"), keycloakUser("grace", "/Members")},
		"clients": []any{
			map[string]any{"clientId": "sallyport", "secret": "the client secret", "redirectUris": []string{own + "/.sallyport/callback"},
				"attributes": map[string]string{"backchannel.logout.url": own + "/.sallyport/backchannel-logout",
					"backchannel.logout.session.required": "true", "post.logout.redirect.uris": own + "/.sallyport/logout"}},
			map[string]any{"clientId": "push", "secret": pushSecret, "serviceAccountsEnabled": true, "standardFlowEnabled": false},
			map[string]any{"clientId": "nightly", "secret": nightlySecret, "serviceAccountsEnabled": true, "standardFlowEnabled": false,
				"protocolMappers": []any{map[string]any{"name": "audience", "protocol": "openid-connect", "protocolMapper": "oidc-audience-mapper",
					"config": map[string]string{"included.custom.audience": audience, "access.token.claim": "true"}}}},
		},
	}, nil)
	k.letReadUsers("push")
	return k.userID("ada")
}

// letReadUsers gives the service account of a client the role view-users.
func (k *keycloak) letReadUsers(client string) {
	k.t.Helper()
	type resource struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}
	const realm = "/admin/realms/company"
	var own, management []resource
	var account, role resource
	k.call("GET", realm+"/clients?clientId="+client, nil, &own)
	k.call("GET", realm+"/clients?clientId=realm-management", nil, &management)
	k.call("GET", realm+"/clients/"+own[0].ID+"/service-account-user", nil, &account)
	k.call("GET", realm+"/clients/"+management[0].ID+"/roles/view-users", nil, &role)
	k.call("POST", realm+"/users/"+account.ID+"/role-mappings/clients/"+management[0].ID, []resource{role}, nil)
}

// keycloakUser returns a user who signs in with adaPassword.
func keycloakUser(name string, groups ...string) map[string]any {
	return map[string]any{"groups": groups, "username": name, "enabled": true, "email": name + "@example.com", "emailVerified": true,
		"firstName": name, "lastName": "Lovelace", "credentials": []any{map[string]any{"type": "password", "value": adaPassword}}}
}

// userID returns the id of a user, which is the sub of their tokens.
func (k *keycloak) userID(name string) string {
	k.t.Helper()
	var users []struct{ ID string }
	k.call("GET", "/admin/realms/company/users?exact=true&username="+name, nil, &users)
	if len(users) != 1 {
		k.t.Fatalf("Keycloak has %d users named %s", len(users), name)
	}
	return users[0].ID
}

// rotateKeys makes a new RSA key the one that signs. Keys of a higher priority sign.
func (k *keycloak) rotateKeys(priority int) {
	k.t.Helper()
	k.call("POST", "/admin/realms/company/components", map[string]any{"name": fmt.Sprint("key ", priority), "providerId": "rsa-generated",
		"providerType": "org.keycloak.keys.KeyProvider", "config": map[string]any{"priority": []string{fmt.Sprint(priority)}}}, nil)
}

// clientCredentials returns an access token of the application nightly.
func (k *keycloak) clientCredentials() string {
	k.t.Helper()
	return k.accessToken("company", url.Values{"grant_type": {"client_credentials"}, "client_id": {"nightly"}, "client_secret": {nightlySecret}})
}

func (k *keycloak) accessToken(realm string, form url.Values) string {
	k.t.Helper()
	resp, err := k.client.PostForm(k.base+"/realms/"+realm+"/protocol/openid-connect/token", form)
	if err != nil {
		k.t.Fatal(err)
	}
	defer resp.Body.Close()
	var got struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil || got.AccessToken == "" {
		k.t.Fatalf("Keycloak issues no token: %d, %v", resp.StatusCode, err)
	}
	return got.AccessToken
}

// call sends a request to the administration API of Keycloak, with a fresh token: they live for a minute.
func (k *keycloak) call(method, path string, in, out any) {
	k.t.Helper()
	k.token = k.accessToken("master", url.Values{"grant_type": {"password"}, "client_id": {"admin-cli"}, "username": {keycloakAdmin}, "password": {keycloakPassword}})
	body, err := json.Marshal(in)
	if err != nil {
		k.t.Fatal(err)
	}
	req, err := http.NewRequest(method, k.base+path, bytes.NewReader(body))
	if err != nil {
		k.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+k.token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := k.client.Do(req)
	if err != nil {
		k.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode/100 != 2 {
		k.t.Fatalf("%s %s gets %d, %v: %s", method, path, resp.StatusCode, err, text)
	}
	if out != nil {
		if err := json.Unmarshal(text, out); err != nil {
			k.t.Fatal(err)
		}
	}
}

var logoutLink = regexp.MustCompile(`href="([^"]*at=provider[^"]*)"[^>]*/protocol/openid-connect/logout"`)

// signOut signs out here and at Keycloak.
func (k *keycloak) signOut(b *browser, port string) {
	b.t.Helper()
	if status, body, _ := b.sendForm("https://"+loginHost+port+"/.sallyport/logout", url.Values{"at": {"switch"}}); status != http.StatusOK || !loginForm.MatchString(body) {
		b.t.Fatalf("signing out at Keycloak ends with %d:\n%s", status, body)
	}
}

// send sends a request as a page of the browser does that a person looks at, follows redirects, and returns where they end.
func (b *browser) send(method, target string) (status int, body string, at *url.URL) {
	b.t.Helper()
	return b.sendBody(method, target, nil)
}

// sendForm is send of a form.
func (b *browser) sendForm(target string, form url.Values) (status int, body string, at *url.URL) {
	b.t.Helper()
	return b.sendBody(http.MethodPost, target, form)
}

func (b *browser) sendBody(method, target string, form url.Values) (status int, body string, at *url.URL) {
	b.t.Helper()
	req, err := http.NewRequest(method, target, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	req.Header.Set("Accept", "text/html")
	req.Header.Set("Sec-Fetch-Mode", "navigate")
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
	return resp.StatusCode, string(data), resp.Request.URL
}

var loginForm = regexp.MustCompile(`<form[^>]*id="kc-form-login"[^>]*action="([^"]+)"`)

// signIn opens page, and fills in the login form of Keycloak if it comes up.
func (k *keycloak) signIn(t *testing.T, b *browser, page string) {
	t.Helper()
	status, body := b.navigate(page)
	if loginForm.MatchString(body) {
		status, body = k.fillIn(t, b, body, "ada")
	}
	if status != http.StatusOK || !strings.HasPrefix(body, "hello ") {
		t.Fatalf("signing in by Keycloak ends with %d:\n%s", status, body)
	}
}

// fillIn fills in the login form of Keycloak that a page has, and returns where that leads.
func (k *keycloak) fillIn(t *testing.T, b *browser, page, user string) (status int, body string) {
	t.Helper()
	form := loginForm.FindStringSubmatch(page)
	if form == nil {
		t.Fatalf("the page has no login form:\n%s", page)
	}
	resp, err := b.client.PostForm(html.UnescapeString(form[1]), url.Values{"username": {user}, "password": {adaPassword}})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

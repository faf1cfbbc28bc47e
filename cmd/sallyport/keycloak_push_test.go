package main

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// testKeycloakPush runs examples/providers/keycloak_push.py, which pushes what Keycloak does not push itself.
func testKeycloakPush(t *testing.T, w *world, k *keycloak, s *running, b *browser, page, ada string) {
	const realm = "/admin/realms/company"
	writeFile(t, w.dir, "push-secret", []byte(pushSecret+"\n"))
	writeFile(t, w.dir, "push-token", []byte(w.token+"\n"))
	run := func(more ...string) (string, error) {
		cmd := exec.Command("python3", filepath.Join("..", "..", "examples", "providers", "keycloak_push.py"))
		cmd.Env = append(os.Environ(), "KEYCLOAK_REALM="+k.base+"/realms/company", "KEYCLOAK_CLIENT=push", "KEYCLOAK_SECRET="+filepath.Join(w.dir, "push-secret"),
			"KEYCLOAK_GROUPS=/Members", "SALLYPORT_SCIM=https://"+s.addrs["scim"]+"/scim/v2", "SALLYPORT_TOKEN="+filepath.Join(w.dir, "push-token"),
			"SSL_CERT_FILE="+filepath.Join(w.dir, "ca.pem"), "PAGE=1")
		cmd.Env = append(cmd.Env, more...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	push := func(t *testing.T, want string) {
		t.Helper()
		if out, err := run(); err != nil || !strings.Contains(out, want) {
			t.Fatalf("pushing ends with %v, want %q: %s", err, want, out)
		}
	}
	denied := func(t *testing.T) {
		t.Helper()
		if status := b.get(page, "").StatusCode; status != http.StatusUnauthorized && status != http.StatusForbidden {
			t.Errorf("the browser gets %d", status)
		}
	}

	push(t, " 0 failed")
	push(t, "0 pushed, 0 failed")
	k.signIn(t, b, page)
	t.Run("disabled", func(t *testing.T) {
		k.call("PUT", realm+"/users/"+ada, map[string]any{"enabled": false}, nil)
		push(t, "1 pushed, 0 failed")
		denied(t)
		k.call("PUT", realm+"/users/"+ada, map[string]any{"enabled": true}, nil)
		push(t, "1 pushed, 0 failed")
		k.signIn(t, b, page)
	})
	t.Run("left_group", func(t *testing.T) {
		k.call("DELETE", realm+"/users/"+ada+"/groups/"+w.group, nil, nil)
		push(t, "1 pushed, 0 failed")
		denied(t)
		k.call("PUT", realm+"/users/"+ada+"/groups/"+w.group, nil, nil)
		push(t, "1 pushed, 0 failed")
		k.signIn(t, b, page)
	})
	t.Run("created_and_deleted", func(t *testing.T) {
		k.call("POST", realm+"/users", keycloakUser("eve", "/Members"), nil)
		push(t, "2 pushed, 0 failed")
		if status, body := k.signInAs(t, b, page, "eve"); status != http.StatusOK {
			t.Errorf("eve gets %d: %s", status, body)
		}
		k.call("DELETE", realm+"/users/"+k.userID("eve"), nil, nil)
		push(t, "1 pushed, 0 failed")
		denied(t)
		if out := s.verb("users", "list", "-o", "csv"); strings.Contains(out, "eve") {
			t.Errorf("eve is still known:\n%s", out)
		}
	})
	t.Run("in_doubt", func(t *testing.T) {
		k.call("PUT", realm+"/users/"+ada, map[string]any{"enabled": false}, nil)
		for _, wrong := range []string{"KEYCLOAK_CLIENT=nightly", "SSL_CERT_FILE=" + filepath.Join(w.dir, "tls.key"), "SALLYPORT_TOKEN=" + filepath.Join(w.dir, "push-secret")} {
			out, err := run(wrong)
			if err == nil || !strings.Contains(out, "nothing more is pushed") || strings.Contains(out, pushSecret) || strings.Contains(out, w.token) {
				t.Errorf("with %s it ends with %v: %s", wrong, err, out)
			}
		}
		push(t, "1 pushed, 0 failed")
		k.call("PUT", realm+"/users/"+ada, map[string]any{"enabled": true}, nil)
		push(t, "1 pushed, 0 failed")
	})
	t.Run("group_is_missing", func(t *testing.T) {
		k.call("PUT", realm+"/users/"+ada, map[string]any{"enabled": false}, nil)
		out, err := run("KEYCLOAK_GROUPS=/Nobody")
		if err == nil || !strings.Contains(out, "no group /Nobody") || !strings.Contains(out, "1 pushed, 1 failed") {
			t.Errorf("it ends with %v: %s", err, out)
		}
		push(t, "0 pushed, 0 failed")
	})
	t.Run("group_is_not_named", func(t *testing.T) {
		k.call("POST", realm+"/groups", map[string]any{"name": "Others"}, nil)
		if out, err := run("KEYCLOAK_GROUPS=/Members,/Others"); err != nil || !strings.Contains(out, "1 pushed") {
			t.Errorf("it ends with %v: %s", err, out)
		}
		push(t, "1 pushed, 0 failed")
		if out := s.verb("groups", "list", "-o", "csv"); strings.Contains(out, "Others") || !strings.Contains(out, "Members") {
			t.Errorf("the groups are\n%s", out)
		}
	})
}

// signInAs signs in as another person than the one who has a session.
func (k *keycloak) signInAs(t *testing.T, b *browser, page, user string) (status int, body string) {
	t.Helper()
	_, body, _ = b.sendForm("https://"+loginHost+":"+portIn(page)+"/.sallyport/logout", map[string][]string{"at": {"switch"}, "sign_in": {page}})
	return k.fillIn(t, b, body, user)
}

func portIn(page string) string {
	_, port, _ := strings.Cut(strings.TrimPrefix(page, "https://"), ":")
	return strings.TrimSuffix(port, "/")
}

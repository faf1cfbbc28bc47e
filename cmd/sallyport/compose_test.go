package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"sallyport/config"
)

// composed is what a test reads of deploy/compose/compose.yaml.
type composed struct {
	Services map[string]struct {
		Image   string
		Command []string
		Volumes []string
	}
}

// trialFolder is a copy of deploy/compose, after ./prepare.
type trialFolder struct {
	t       *testing.T
	dir     string
	compose composed
}

func newTrialFolder(t *testing.T) *trialFolder {
	t.Helper()
	for _, program := range []string{"bash", "openssl", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	f := &trialFolder{t: t, dir: t.TempDir()}
	if err := os.CopyFS(f.dir, os.DirFS("../../deploy/compose")); err != nil {
		t.Fatal(err)
	}
	f.run("./prepare")
	if err := yaml.Unmarshal(f.read("compose.yaml"), &f.compose); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *trialFolder) read(name string) []byte {
	f.t.Helper()
	text, err := os.ReadFile(filepath.Join(f.dir, name))
	if err != nil {
		f.t.Fatal(err)
	}
	return text
}

func (f *trialFolder) run(args ...string) {
	f.t.Helper()
	cmd := exec.Command("bash", args...)
	cmd.Dir = f.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		f.t.Fatalf("%s: %v\n%s", args, err, out)
	}
}

// mounted returns a folder with what the container sallyport finds in the folder of its configuration. What the server would
// open and write is where a test may do that.
func (f *trialFolder) mounted() (dir string) {
	f.t.Helper()
	dir = f.t.TempDir()
	for _, volume := range f.compose.Services["sallyport"].Volumes {
		parts := strings.Split(volume, ":")
		if name, ok := strings.CutPrefix(parts[1], "/etc/sallyport/config/"); ok {
			writeFile(f.t, dir, name, f.read(parts[0]))
		}
	}
	text := strings.NewReplacer("/var/lib/sallyport", filepath.Join(dir, "data"), "0.0.0.0:8443", "127.0.0.1:0", "0.0.0.0:8444", "127.0.0.1:0",
		"127.0.0.1:9090", "127.0.0.1:0").Replace(string(f.read("sallyport.yaml")))
	writeFile(f.t, dir, "sallyport.yaml", []byte(text))
	return dir
}

// TestCompose_Fits: the configuration of deploy/compose is sound with the files that ./prepare makes, and what Keycloak is told
// of Sallyport is what Sallyport says of itself.
func TestCompose_Fits(t *testing.T) {
	f := newTrialFolder(t)
	file, err := config.Load(filepath.Join(f.mounted(), "sallyport.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var realm struct {
		Realm   string
		Users   []struct{ ID string }
		Clients []struct {
			ClientID, Secret string
			RedirectURIs     []string
			Attributes       map[string]string
		}
	}
	if err := json.Unmarshal(f.read("prepared/realm.json"), &realm); err != nil {
		t.Fatal(err)
	}
	client := realm.Clients[0]
	keycloak := f.compose.Services["keycloak"]
	script, err := os.ReadFile("../../test.sh")
	if err != nil {
		t.Fatal(err)
	}
	version := keycloak.Image[strings.LastIndex(keycloak.Image, ":")+1:]
	for what, ok := range map[string]bool{
		"issuer":              slices.Contains(keycloak.Command, "--hostname="+strings.TrimSuffix(file.OIDC.Issuer, "/realms/"+realm.Realm)),
		"client":              client.ClientID == file.OIDC.ClientID,
		"secret":              len(client.Secret) == 64 && client.Secret == string(f.read("prepared/client-secret")),
		"redirect URI":        slices.Equal(client.RedirectURIs, []string{file.PublicURL + "/.sallyport/callback"}),
		"back-channel logout": client.Attributes["backchannel.logout.url"] == file.PublicURL+"/.sallyport/backchannel-logout",
		"where to sign out":   client.Attributes["post.logout.redirect.uris"] == file.PublicURL+"/.sallyport/logout",
		"user":                strings.Contains(string(f.read("push")), "ada="+realm.Users[0].ID+" "),
		"group":               strings.Contains(string(f.read("push")), "members="+file.Policies[0].Rules[0].Allow.Groups[0].ID),
		"Keycloak tested":     strings.Contains(string(script), "\nreadonly keycloak_version="+version+"\n"),
	} {
		if !ok {
			t.Errorf("%s: what Keycloak knows and what Sallyport says do not fit", what)
		}
	}
	if made, err := os.Stat(filepath.Join(f.dir, "prepared")); err != nil || made.Mode().Perm() != 0o700 {
		t.Errorf("the folder with the secrets: %v, %v", made.Mode(), err)
	}
	if again := exec.Command("bash", filepath.Join(f.dir, "prepare")); again.Run() == nil {
		t.Error("./prepare replaces secrets that are in use")
	}
}

// TestCompose_Pushes: ./push tells a real server of Ada, who is let in by the policy until ./push deactivates her.
func TestCompose_Pushes(t *testing.T) {
	f := newTrialFolder(t)
	r := start(t, f.mounted(), "--init")
	var token struct{ Token string }
	if err := json.Unmarshal([]byte(r.verb("token", "create", "trial", "-o", "json")), &token); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SCIM_BASE", "https://login.localhost:"+portOf(r.addrs["scim"]))
	f.run("./push", token.Token, "hire")
	explain := []string{"explain", "--user", "ada", "https://app.localhost:8443/"}
	if out, code := r.try(explain...); code != exitOK {
		t.Errorf("Ada is denied: %s", out)
	}
	f.run("./push", token.Token, "offboard")
	if out, code := r.try(explain...); code != exitDenied {
		t.Errorf("Ada is let in after she was offboarded, or nothing can be said (%d): %s", code, out)
	}
}

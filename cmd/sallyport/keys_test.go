package main

import (
	"net/http"
	"path/filepath"
	"testing"
)

// TestProviderKeys_SurviveRestart restarts the server while the identity provider is down: bearer tokens go on. A backup
// does not hold the keys, since one may have been withdrawn by the time it is restored.
func TestProviderKeys_SurviveRestart(t *testing.T) {
	w := newWorld(t)
	s := w.start("--init")
	stage := w.settle(s)
	token := w.entra.AccessToken(stage.person, audience, nil)
	status := func(s *running) int {
		resp := w.newBrowser(s).get("https://"+apiHost+"/", token)
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	if got := status(s); got != http.StatusOK {
		t.Fatalf("a bearer token gives %d", got)
	}
	copied := filepath.Join(w.dir, "copy.db")
	s.verb("backup", copied)
	s.kill()

	w.provider.Close()
	s = w.start()
	if got := status(s); got != http.StatusOK {
		t.Errorf("after a restart without the provider, a bearer token gives %d\n%s", got, s.log())
	}
	s.kill()
	verb(t, w.dir, "restore", copied)
	if got := status(w.start()); got != http.StatusServiceUnavailable {
		t.Errorf("after a restore without the provider, a bearer token gives %d", got)
	}
}

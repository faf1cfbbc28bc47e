package main

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"sallyport/admin"
)

func TestPeerActor_IsWhoOpenedTheConnection(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "control.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	actor, err := peerActor(withPeer(t.Context(), conn))
	if want := admin.Operator(me.Username, "control socket"); err != nil || actor != want {
		t.Errorf("the actor is %+v, %v, want %+v", actor, err, want)
	}
}

func TestSystemUserName_IsTheIDOfUnnamedUsers(t *testing.T) {
	if got := systemUserName(2147483000); got != "uid 2147483000" {
		t.Errorf("the name is %q", got)
	}
}

// TestControl_RejectsUnknownPeers calls the control socket's API over connections that do not tell who opened them.
func TestControl_RejectsUnknownPeers(t *testing.T) {
	ours, theirs := net.Pipe() // no socket, so that the kernel knows no peer
	defer ours.Close()
	defer theirs.Close()
	api := (&control{admin: admin.New(admin.Parts{})}).handler()
	for name, ctx := range map[string]context.Context{"no_connection": t.Context(), "no_socket": withPeer(t.Context(), ours)} {
		t.Run(name, func(t *testing.T) {
			if _, err := peerActor(ctx); err == nil {
				t.Skip("this system does not tell who opened a connection")
			}
			for _, target := range []string{"GET /users", "GET /backup", "POST /reload", "DELETE /sessions/x", "POST /tokens"} {
				method, path, _ := strings.Cut(target, " ")
				response := httptest.NewRecorder()
				api.ServeHTTP(response, httptest.NewRequestWithContext(ctx, method, path, strings.NewReader("{}")))
				if response.Code != http.StatusInternalServerError || !strings.Contains(response.Body.String(), "who opened the connection") {
					t.Errorf("%s gets %d %s", target, response.Code, response.Body)
				}
			}
		})
	}
}

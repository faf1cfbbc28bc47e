package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sallyport/admin"
	"sallyport/audit"
	"sallyport/entratest"
	"sallyport/notice"
)

// shutDown stops the server as an operator does, and demands that it ends without an error.
func (r *running) shutDown() {
	r.t.Helper()
	r.signal(syscall.SIGTERM)
	err := <-r.exited
	r.exited <- nil
	if err != nil {
		r.t.Errorf("the server ends with %v", err)
	}
}

// TestWebhook_TellsOfOffboardings: of a push and of an operator, with what ended; and of hundreds at once in a few events,
// which the stop of the server does not lose.
func TestWebhook_TellsOfOffboardings(t *testing.T) {
	w := newWorld(t)
	events := w.serveReceiver()
	w.rewrite("policies:\n", "scim: {max_deactivations: {count: 0}}\npolicies:\n")
	s := w.settle(w.start("--init"))
	bob := s.colleague("bob")
	requests := []liveRequest{s.openSocket(t), s.openStream(t, "/events")}
	before := time.Now()
	s.push.setActive(s.alice, "False")
	for _, l := range requests {
		<-l.ended
	}
	s.server.verb("users", "remove", "--yes", "bob@example.com")
	got, removed := demandNotice[notice.Offboarded](t, events, notice.UserOffboarded), demandNotice[notice.Offboarded](t, events, notice.UserOffboarded)
	if got.Cause == "deleted" { // they may arrive in any order
		got, removed = removed, got
	}
	if got.User != (admin.NoticeUser{ID: s.alice, UserName: "alice@example.com", Name: "alice"}) || got.Cause != "deactivated" || got.Sessions != 1 || got.Requests != 2 || got.More != 0 ||
		got.Actor.Kind != audit.ActorToken || got.Actor.Name != "entra" || got.Actor.Address == "" || got.Received.Before(before) {
		t.Errorf("told is %+v", got)
	}
	if got.LastCut == nil || *got.LastCut < 0 || *got.LastCut > time.Since(got.Received).Milliseconds() {
		t.Errorf("the last cut came after %v ms", got.LastCut)
	}
	if removed.User.ID != bob.alice || removed.Cause != "deleted" || removed.Actor.Kind != audit.ActorOperator || removed.Sessions != 1 || removed.LastCut != nil {
		t.Errorf("told is %+v", removed)
	}

	const many = 100
	s.leaveAtOnce(many)
	s.server.shutDown()
	people, posts := 0, 0
	for len(events) > 0 {
		n := demandNotice[notice.Offboarded](t, events, notice.UserOffboarded)
		people, posts = people+1+n.More, posts+1
	}
	if people != many || posts > 22 {
		t.Errorf("%d events tell of %d people, want %d", posts, people, many)
	}

	s.server.verb("users", "remove", "--yes", "alice@example.com") // without a server
	if alone := demandNotice[notice.Offboarded](t, events, notice.UserOffboarded); alone.User.ID != s.alice || alone.Cause != "deleted" {
		t.Errorf("told is %+v", alone)
	}
}

// leaveAtOnce pushes people, and deactivates them all, in bulk.
func (s *stage) leaveAtOnce(many int) {
	s.t.Helper()
	bulk := func(operations []any) []any {
		body := map[string]any{"schemas": []string{"urn:ietf:params:scim:api:messages:2.0:BulkRequest"}, "Operations": operations}
		done, _ := s.push.send("POST", "/Bulk", body, http.StatusOK)["Operations"].([]any)
		return done
	}
	var hire, leave []any
	for i := range many {
		name := fmt.Sprintf("many-%d@example.com", i)
		hire = append(hire, map[string]any{"method": "POST", "path": "/Users", "bulkId": name, "data": map[string]any{
			"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:User"}, "userName": name, "externalId": name, "active": true}})
	}
	for _, one := range bulk(hire) {
		location, _ := one.(map[string]any)["location"].(string)
		leave = append(leave, map[string]any{"method": "PATCH", "path": "/Users/" + filepath.Base(location), "data": patchOf(map[string]any{"op": "replace", "path": "active", "value": false})})
	}
	for _, one := range bulk(leave) {
		if status := fmt.Sprint(one.(map[string]any)["status"]); !strings.HasPrefix(status, "20") {
			s.t.Fatalf("a deactivation gets %v", one)
		}
	}
}

// TestWebhook_TellsOfWhatNeedsAnOperator: certificates and tokens that expire, a configuration with a fault, break-glass
// codes and deactivations that are held; and neither a code nor an address is in what is told or logged.
func TestWebhook_TellsOfWhatNeedsAnOperator(t *testing.T) {
	w := newWorld(t)
	events := w.serveReceiver()
	w.rewrite("policies:\n", "scim: {max_deactivations: {count: 1, per: 1h}}\npolicies:\n")
	cert, key := w.ca.issueFor(t, 5*24*time.Hour, loginHost, appHost, apiHost)
	writeFile(t, w.dir, "tls.crt", cert)
	writeFile(t, w.dir, "tls.key", key)
	server := w.start("--init")
	expiring := demandNotice[notice.CertificateNotice](t, events, notice.CertificateExpiring)
	if len(expiring.Names) != 3 || expiring.Names[0] != loginHost || expiring.Days != 7 || expiring.Renewed || time.Until(expiring.Expires) > 5*24*time.Hour {
		t.Errorf("told is %+v", expiring)
	}
	s := w.settle(server)

	w.rewrite("public_url:", "publik_url:")
	server.try("reload")
	refused := demandNotice[admin.ConfigNotice](t, events, admin.NoticeConfigRefused)
	if refused.By.Kind == "" || !strings.Contains(refused.Error, "publik_url") {
		t.Errorf("told is %+v", refused)
	}
	w.rewrite("publik_url:", "public_url:")
	server.verb("reload")

	code := server.arm("alice@example.com", "--for", "1h")
	armed := demandNotice[admin.BreakGlassNotice](t, events, admin.NoticeBreakGlassArmed)
	if armed.User == nil || armed.User.ID != s.alice || armed.Why != "the provider is down" || armed.By == "" || armed.Enter == nil || !armed.Until.Equal(code.Until) {
		t.Errorf("told is %+v", armed)
	}
	other := w.newBrowser(server)
	other.enter(strings.Repeat("0", 28))
	wrong := demandNotice[admin.BreakGlassNotice](t, events, admin.NoticeBreakGlassRefused)
	if wrong.User != nil || wrong.Wrong != 1 || wrong.Address == "" || wrong.Error == "" {
		t.Errorf("told is %+v", wrong)
	}
	other.enter(code.Code)
	used := demandNotice[admin.BreakGlassNotice](t, events, admin.NoticeBreakGlassUsed)
	if used.User == nil || used.User.ID != s.alice || used.Session == "" || used.Address == "" || used.By != armed.By {
		t.Errorf("told is %+v", used)
	}

	var ids []string
	for i := range 4 {
		name := fmt.Sprintf("u%d", i)
		ids = append(ids, s.push.hire(name, w.entra.Add(entratest.Person{UPN: name + "@example.com", Name: name}).OID))
	}
	for _, id := range ids {
		_, _, _ = s.push.try("PATCH", "/Users/"+id, patchOf(map[string]any{"op": "Replace", "path": "active", "value": "False"}))
	}
	for range 2 { // in either order
		n := nextNotice(t, events)
		switch n.Type {
		case notice.UserOffboarded:
		case notice.DeactivationsHeld:
			var held notice.Held
			if err := json.Unmarshal(n.Data, &held); err != nil || len(held.Users) != 3 || held.Users[0].UserName != "u1@example.com" || held.Waiting != 3 || held.Actor.Name != "entra" {
				t.Errorf("told is %s, %v", n.text, err)
			}
		default:
			t.Errorf("told is %s", n.text)
		}
	}

	server.verb("token", "create", "short", "--expires-in", "48h")
	server.shutDown()
	log := server.log()
	server = w.start()
	both := map[string]notified{} // in either order
	for range 2 {
		n := nextNotice(t, events)
		both[n.Type] = n
	}
	var token notice.TokenNotice
	if err := json.Unmarshal(both[notice.TokenExpiring].Data, &token); err != nil || both[notice.CertificateExpiring].text == "" {
		t.Fatalf("after the restart, told is %v, %v", both, err)
	}
	if token.Name != "short" || token.Days != 3 || token.Token == "" {
		t.Errorf("told is %+v", token)
	}
	if log += server.log(); strings.Contains(log, "hidden") || strings.Contains(log, webhookSecret) || strings.Contains(log, code.Code) {
		t.Errorf("the log shows a secret:\n%s", log)
	}
}

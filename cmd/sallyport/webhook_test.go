package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport/admin"
	"sallyport/config"
	"sallyport/console"
	"sallyport/notice"
	"sallyport/webhook"
)

// TestWebhook_EventsAreThoseOfAdmin: what admin and notice tell of can be chosen in the configuration, and nothing else.
func TestWebhook_EventsAreThoseOfAdmin(t *testing.T) {
	want := []string{admin.NoticeRequestMade, admin.NoticeRequestDecided, admin.NoticeGrantRevoked, notice.UserOffboarded, notice.DeactivationsHeld,
		admin.NoticeBreakGlassArmed, admin.NoticeBreakGlassUsed, admin.NoticeBreakGlassRefused, notice.CertificateExpiring, notice.TokenExpiring,
		admin.NoticeConfigRefused}
	if got := webhook.Events(); !slices.Equal(got, want) {
		t.Errorf("the events are %v, want %v", got, want)
	}
}

// TestWebhook_DocumentConfigures: what docs/webhooks.md writes into the configuration loads.
func TestWebhook_DocumentConfigures(t *testing.T) {
	page, err := os.ReadFile("../../docs/webhooks.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```yaml\n")
	text, _, ok := strings.Cut(rest, "```")
	w := newWorld(t)
	writeFile(t, w.dir, "secrets/webhook", []byte(webhookSecret+"\n"))
	w.rewrite("policies:\n", text+"policies:\n")
	file, err := config.Load(w.dir + "/sallyport.yaml")
	if err != nil || !ok || len(file.Webhooks) != 1 || file.Webhooks[0].Name != "chat" {
		t.Errorf("loading gives %v for\n%s", err, text)
	}
}

// TestWebhook_DocumentShowsWhatIsSent: the examples in docs/webhooks.md have no key that is never sent.
func TestWebhook_DocumentShowsWhatIsSent(t *testing.T) {
	page, err := os.ReadFile("../../docs/webhooks.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := strings.Split(string(page), "```json\n")[1:]
	seen := map[string]bool{}
	for _, text := range examples {
		var event struct {
			Type      string          `json:"type"`
			Timestamp time.Time       `json:"timestamp"`
			Data      json.RawMessage `json:"data"`
		}
		if err := json.NewDecoder(strings.NewReader(text)).Decode(&event); err != nil {
			t.Fatal(err)
		}
		data := map[string]any{admin.NoticeRequestMade: new(admin.RequestNotice), admin.NoticeRequestDecided: new(admin.RequestNotice),
			admin.NoticeGrantRevoked: new(admin.GrantNotice), notice.UserOffboarded: new(notice.Offboarded), notice.DeactivationsHeld: new(notice.Held),
			admin.NoticeBreakGlassArmed: new(admin.BreakGlassNotice), admin.NoticeBreakGlassUsed: new(admin.BreakGlassNotice),
			admin.NoticeBreakGlassRefused: new(admin.BreakGlassNotice), notice.CertificateExpiring: new(notice.CertificateNotice),
			notice.TokenExpiring: new(notice.TokenNotice), admin.NoticeConfigRefused: new(admin.ConfigNotice)}[event.Type]
		seen[event.Type] = true
		strict := json.NewDecoder(strings.NewReader(string(event.Data)))
		strict.DisallowUnknownFields()
		if err := strict.Decode(data); err != nil {
			t.Errorf("%s: %v", event.Type, err)
		}
	}
	if len(examples) != len(webhook.Events()) || len(seen) != len(examples) {
		t.Errorf("there are %d examples, of %d events", len(examples), len(seen))
	}
}

// notified is an event that a receiver got.
type notified struct {
	Type string
	Data json.RawMessage
	text string // of the whole body
}

// serveReceiver runs a receiver of webhooks over TLS at localhost, and writes it into the configuration.
func (w *world) serveReceiver() <-chan notified {
	w.t.Helper()
	events := make(chan notified, 1000)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		n := notified{text: string(body)}
		if err == nil {
			err = json.Unmarshal(body, &n)
		}
		if err != nil || r.Header.Get("Webhook-Signature") != signature(r.Header, body) {
			rw.WriteHeader(http.StatusBadRequest)
			return
		}
		events <- n
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{w.ca.pair(w.t, "localhost")}}
	server.StartTLS()
	w.t.Cleanup(server.Close)
	_, port, _ := strings.Cut(strings.TrimPrefix(server.URL, "https://"), ":")
	writeFile(w.t, w.dir, "secrets/webhook", []byte(webhookSecret+"\n"))
	w.rewrite("policies:\n", "webhooks: [{url: 'https://localhost:"+port+"/hidden', secret_file: secrets/webhook, ca_file: ca.pem}]\npolicies:\n")
	return events
}

// signature returns what Standard Webhooks demands for the secret of serveReceiver.
func signature(h http.Header, body []byte) string { return signatureBy(webhookSecret, h, body) }

func signatureBy(secret string, h http.Header, body []byte) string {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		panic(err)
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", h.Get("Webhook-Id"), h.Get("Webhook-Timestamp"), body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

const webhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// demandNotice demands that the next event is of a type, and returns its data.
func demandNotice[T any](t *testing.T, events <-chan notified, event string) (data T) {
	t.Helper()
	n := nextNotice(t, events)
	if err := json.Unmarshal(n.Data, &data); err != nil || n.Type != event || strings.Contains(n.text, "hidden") {
		t.Fatalf("the receiver gets %s, %v, want %s", n.text, err, event)
	}
	return data
}

// nextNotice returns the next event.
func nextNotice(t *testing.T, events <-chan notified) (n notified) {
	t.Helper()
	select {
	case n = <-events:
	case <-time.After(30 * time.Second):
		t.Fatal("the receiver gets no event")
	}
	return n
}

// TestWebhook_TellsOfRequests: from the form of a denied person to the end of the grant, the receiver of a webhook is told
// by the real program, and nothing that it is told of is in the log.
func TestWebhook_TellsOfRequests(t *testing.T) {
	const approvers = "61503835-0000-0000-0000-000000000002"
	w := newWorld(t)
	events := w.serveReceiver()
	w.rewrite("routes:\n", "    requestable: {by: {anyone: true}, approvers: {groups: [{id: "+approvers+"}]}, max: 4h}\nroutes:\n")
	s := w.settle(w.start("--init"))
	s.push.member("Add", s.push.form("Approvers", approvers), s.push.hire("grace", "61503835-0000-0000-0000-000000000009"))
	s.push.member("Remove", s.group, s.alice)

	s.ask("members", "/d/1?token=hidden", "Ticket 4711")
	made := demandNotice[admin.RequestNotice](t, events, admin.NoticeRequestMade)
	want := admin.RequestNotice{Request: made.Request, User: admin.NoticeUser{ID: made.User.ID, UserName: "alice@example.com", Name: "alice"}, Policy: "members",
		Route: "app", Reason: "Ticket 4711", URL: "https://" + loginHost + "/.sallyport/requests/" + made.Request, Approvers: []string{"grace@example.com"}}
	if diff := cmp.Diff(want, made); diff != "" || made.Request == "" || made.User.ID == "" {
		t.Errorf("the request is told as (-want +got)\n%s", diff)
	}
	s.ask("members", "/d/2", "the same again") // which makes none

	s.server.verb("request", "approve", made.Request)
	decided := demandNotice[admin.RequestNotice](t, events, admin.NoticeRequestDecided)
	if decided.Request != made.Request || decided.Decision != "approved" || decided.By == "" || decided.Until == nil || decided.Until.Before(time.Now()) {
		t.Errorf("the approval is told as %+v", decided)
	}
	var grants []struct{ ID string }
	if err := json.Unmarshal([]byte(s.server.verb("grants", "list", "-o", "json")), &grants); err != nil || len(grants) != 1 {
		t.Fatalf("the grants are %v, %v", grants, err)
	}
	s.server.verb("grants", "revoke", grants[0].ID, "--reason", "over")
	if revoked := demandNotice[admin.GrantNotice](t, events, admin.NoticeGrantRevoked); revoked.Grant != grants[0].ID || revoked.User.UserName != "alice@example.com" {
		t.Errorf("the revocation is told as %+v", revoked)
	}
	s.server.signal(syscall.SIGTERM)
	if err := <-s.server.exited; err != nil {
		t.Error(err)
	}
	s.server.exited <- nil
	if log := s.server.log(); strings.Contains(log, "hidden") || strings.Contains(log, "whsec_") {
		t.Errorf("the log shows a secret:\n%s", log)
	}
}

// ask sends the form with which the person of the browser asks for access to a path of the application.
func (s *stage) ask(policy, path, reason string) {
	s.t.Helper()
	form := url.Values{"policy": {policy}, "url": {path}, "reason": {reason}}
	req, err := http.NewRequest(http.MethodPost, "https://"+appHost+console.AskPath, strings.NewReader(form.Encode()))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", "https://"+appHost)
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	resp, err := s.browser.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode/100 != 2 {
		s.t.Fatalf("asking gives %s, %v:\n%s", resp.Status, err, body)
	}
}

package main

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/admin"
	"sallyport/config"
	"sallyport/webhook"
)

// TestWebhook_EventsAreThoseOfAdmin: what admin tells of can be chosen in the configuration, and nothing else.
func TestWebhook_EventsAreThoseOfAdmin(t *testing.T) {
	want := []string{admin.NoticeRequestMade, admin.NoticeRequestDecided, admin.NoticeGrantRevoked}
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
	writeFile(t, w.dir, "secrets/webhook", []byte("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n"))
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
	for _, text := range examples {
		var event struct {
			Type      string          `json:"type"`
			Timestamp time.Time       `json:"timestamp"`
			Data      json.RawMessage `json:"data"`
		}
		if err := json.NewDecoder(strings.NewReader(text)).Decode(&event); err != nil {
			t.Fatal(err)
		}
		var data any = new(admin.RequestNotice)
		if event.Type == admin.NoticeGrantRevoked {
			data = new(admin.GrantNotice)
		}
		strict := json.NewDecoder(strings.NewReader(string(event.Data)))
		strict.DisallowUnknownFields()
		if err := strict.Decode(data); err != nil {
			t.Errorf("%s: %v", event.Type, err)
		}
	}
	if len(examples) != len(webhook.Events()) {
		t.Errorf("there are %d examples", len(examples))
	}
}

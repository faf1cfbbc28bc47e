package webhook_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport/webhook"
)

// faultsOf returns the faults in settings, one a line.
func faultsOf(all ...webhook.Settings) string {
	var lines []string
	webhook.Check(all, func(path, problem string) { lines = append(lines, path+": "+problem) })
	return strings.Join(lines, "\n")
}

func TestCheck_NamesEveryFault(t *testing.T) {
	secret := writeSecret(t, referenceSecret)
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	whsec := func(n int) string { return "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, n)) }
	sound := webhook.Settings{URL: "https://hooks.example.com/a", SecretFile: secret}
	for _, c := range []struct {
		name string
		with func(*webhook.Settings)
		want string // "": no fault
	}{
		{"sound", func(*webhook.Settings) {}, ""},
		{"query", func(s *webhook.Settings) { s.URL = "https://hooks.example.com/a?sig=hidden" }, ""},
		{"localhost", func(s *webhook.Settings) { s.URL = "http://localhost:8080/a" }, ""},
		{"loopback", func(s *webhook.Settings) { s.URL = "http://[::1]:8080/a" }, ""},
		{"events", func(s *webhook.Settings) { s.Events = webhook.Events() }, ""},
		{"two_secrets", func(s *webhook.Settings) { s.SecretFile = file(whsec(24) + "\n" + whsec(64) + "\n") }, ""},
		{"no_url", func(s *webhook.Settings) { s.URL = "" }, "[0].url: is missing"},
		{"no_host", func(s *webhook.Settings) { s.URL = "https:///hidden" }, "[0].url: is not a URL"},
		{"port_alone", func(s *webhook.Settings) { s.URL = "https://:443/hidden" }, "[0].url: is not a URL"},
		{"control_character", func(s *webhook.Settings) { s.URL = "https://a.example/hidden\x7f" }, "[0].url: is not a URL"},
		{"clear", func(s *webhook.Settings) { s.URL = "http://hooks.example.com/hidden" }, "[0].url: would be sent in the clear"},
		{"like_localhost", func(s *webhook.Settings) { s.URL = "http://localhost.example.com/hidden" }, "[0].url: would be sent in the clear"},
		{"scheme", func(s *webhook.Settings) { s.URL = "ftp://hooks.example.com/hidden" }, "[0].url: is neither https nor http"},
		{"password", func(s *webhook.Settings) { s.URL = "https://a:hidden@hooks.example.com" }, "[0].url: has a user or a password"},
		{"fragment", func(s *webhook.Settings) { s.URL = "https://hooks.example.com/#hidden" }, "[0].url: has a fragment"},
		{"no_secret", func(s *webhook.Settings) { s.SecretFile = "" }, "[0].secret_file: is missing"},
		{"secret_gone", func(s *webhook.Settings) { s.SecretFile = "/nowhere" }, "[0].secret_file: cannot be read"},
		{"secret_folder", func(s *webhook.Settings) { s.SecretFile = t.TempDir() }, "[0].secret_file: cannot be read"},
		{"secret_empty", func(s *webhook.Settings) { s.SecretFile = file("\n") }, "must hold one secret"},
		{"three_secrets", func(s *webhook.Settings) { s.SecretFile = file(strings.Repeat(whsec(24)+"\n", 3)) }, "must hold one secret"},
		{"secret_large", func(s *webhook.Settings) { s.SecretFile = file(strings.Repeat(" ", 1<<20) + whsec(24)) }, "must hold one secret"},
		{"secret_prefix", func(s *webhook.Settings) { s.SecretFile = file("hidden") }, "does not begin with whsec_"},
		{"secret_base64", func(s *webhook.Settings) { s.SecretFile = file("whsec_hidden!") }, "is not base64"},
		{"secret_short", func(s *webhook.Settings) { s.SecretFile = file(whsec(23)) }, "has a secret of 23 bytes"},
		{"secret_long", func(s *webhook.Settings) { s.SecretFile = file(whsec(65)) }, "has a secret of 65 bytes"},
		{"no_events", func(s *webhook.Settings) { s.Events = []string{} }, "[0].events: is empty"},
		{"event", func(s *webhook.Settings) { s.Events = []string{webhook.RequestMade, "request"} }, `[0].events[1]: "request" is no event; the events are request.made`},
		{"event_twice", func(s *webhook.Settings) { s.Events = []string{webhook.RequestMade, webhook.RequestMade} }, "[0].events[1]: "},
		{"name", func(s *webhook.Settings) { s.Name = "Two words" }, `[0].name: "Two words" is not a name`},
		{"authority", func(s *webhook.Settings) { s.CAFile = secret }, "[0].ca_file: " + secret + " holds no PEM"},
		{"authority_gone", func(s *webhook.Settings) { s.CAFile = "/nowhere" }, "[0].ca_file: cannot be read"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := sound
			c.with(&s)
			got := faultsOf(s)
			if c.want == "" && got != "" || !strings.Contains(got, c.want) || strings.Count(got, "\n") > 0 {
				t.Errorf("the faults are\n%s\nwant\n%s", got, c.want)
			}
			if strings.Contains(got, "hidden") {
				t.Errorf("the fault shows a secret: %s", got)
			}
		})
	}
	same := sound
	same.URL = "https://HOOKS.example.com/b"
	if got := faultsOf(sound, same); !strings.Contains(got, `[1]: has the name "hooks.example.com", as webhooks[0] has`) {
		t.Errorf("for two of one name, the faults are %s", got)
	}
	var many []webhook.Settings
	for i := range 11 {
		s := sound
		s.Name = fmt.Sprint("n", i)
		many = append(many, s)
	}
	if got := faultsOf(many...); !strings.Contains(got, "[10]: is one webhook too many") {
		t.Errorf("for eleven, the faults are %s", got)
	}
}

// TestSettings_AreNotPrinted: neither the secret nor the address, which may hold another, is in anything that is printed.
func TestSettings_AreNotPrinted(t *testing.T) {
	all := []webhook.Settings{{URL: "https://hooks.example.com/hidden", SecretFile: writeSecret(t, referenceSecret)}}
	one, opened, err := webhook.Printed(webhook.New(slog.New(slog.DiscardHandler)), all)
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "url", all[0].URL)
	key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(referenceSecret, "whsec_"))
	printed := fmt.Sprintf("%v %+v %#v %s %x %v %+v %#v %v %+v %#v %s %s", all, all, all, one, one, one, one, one, opened, opened, opened, asJSON, &log)
	for _, secret := range []string{"hidden", strings.TrimPrefix(referenceSecret, "whsec_"), string(key), fmt.Sprintf("%x", key), fmt.Sprintf("%d", key)} {
		if strings.Contains(printed, secret) {
			t.Errorf("%q is in what is printed:\n%s", secret, printed)
		}
	}
}

func TestBackoff_GrowsWithinBounds(t *testing.T) {
	least, longest := time.Duration(0), time.Duration(0)
	for attempts := 1; attempts < webhook.MaxAttempts; attempts++ {
		shortest := 10 * webhook.MaxBackoff
		for range 1000 {
			wait := webhook.Backoff(attempts)
			shortest = min(shortest, wait)
			longest = max(longest, wait)
		}
		if shortest < 3*time.Second || longest > webhook.MaxBackoff*5/4 {
			t.Errorf("after %d attempts, the wait is between %s and %s", attempts, shortest, longest)
		}
		least += shortest
	}
	if least < 4*time.Hour || longest < webhook.MaxBackoff {
		t.Errorf("all attempts may be made within %s, the last of them after %s", least, longest)
	}
}

// hostOf returns the host of a server's address.
func hostOf(t testing.TB, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Hostname()
}

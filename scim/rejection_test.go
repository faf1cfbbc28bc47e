package scim_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/scim"
)

// rejecting is a server that knows one token, which has expired.
type rejecting struct {
	*scim.Server
	t      *testing.T
	tenant *tenant
	log    bytes.Buffer
}

const expiredToken = "sallyport_scim_" + "0123456789012345678901234567890123456789012" + "abcdef"

func newRejecting(t *testing.T) *rejecting {
	t.Helper()
	r := &rejecting{t: t}
	r.tenant = openTenant(t, storeWith(t, map[string]string{"token/0123456789abcdef": `{"id":"30313233343536373839616263646566","name":"entra","digest":` +
		digestOf(expiredToken) + `,"created":"1999-01-01T00:00:00Z","expires":"1999-12-31T00:00:00Z"}`}))
	r.Server = scim.New(scim.Parts{Provisioning: r.tenant.Provisioning, Settings: scim.Defaults(), Log: slog.New(slog.NewTextHandler(&r.log, nil))})
	return r
}

// send sends a request from an address and returns the lines that it leaves in the server's log, and the status.
func (r *rejecting) send(address, authorization, target string) (lines []string, code int) {
	r.t.Helper()
	r.log.Reset()
	req := httptest.NewRequest("GET", target, nil)
	req.RemoteAddr = address
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	return strings.Split(strings.TrimSuffix(r.log.String(), "\n"), "\n"), w.Code
}

// entries returns the provisioning log, the newest first.
func (r *rejecting) entries() []scim.LogEntry {
	r.t.Helper()
	r.WriteLog(r.t.Context())
	entries, err := r.tenant.Log(r.t.Context(), 10_000)
	if err != nil {
		r.t.Fatal(err)
	}
	return entries
}

// TestRejectedToken_IsTraced: one line and one entry a minute for each address.
func TestRejectedToken_IsTraced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRejecting(t)
		traces := func(name, want, address, authorization string) {
			t.Helper()
			lines, code := r.send(address, authorization, `/scim/v2/Users?filter=userName+eq+%22canary%22`)
			if code != http.StatusUnauthorized {
				t.Errorf("%s: status %d", name, code)
			}
			if want == "" && lines[0] == "" {
				return
			}
			if len(lines) != 1 || want == "" || !strings.Contains(lines[0], `level=WARN msg="scim token rejected"`) || !strings.Contains(lines[0], want) || strings.Contains(lines[0], "canary") {
				t.Errorf("%s leaves %q, want %q", name, lines, want)
			}
		}
		traces("an expired token", `address=192.0.2.1 reason="the token has expired" token=entra method=GET path="/Users?filter=userName eq …" code=401`, "192.0.2.1:1", "Bearer "+expiredToken)
		traces("again", "", "192.0.2.1:2", "Bearer "+expiredToken)
		traces("another one from there", "", "192.0.2.1:3", "Bearer wrong")
		traces("an unknown one", `address=192.0.2.2 reason="the token is unknown or revoked" token=""`, "192.0.2.2:1", "Bearer "+strings.Replace(expiredToken, "0", "1", 1))
		traces("one of somebody else", `address=192.0.2.3 reason="the token is unknown or revoked" token=""`, "192.0.2.3:1", "Bearer eyJ.x.y")
		traces("a password", `address=192.0.2.4 reason="the Authorization header has no bearer token"`, "192.0.2.4:1", "Basic eDp5")
		traces("an expired one after a password", `reason="the token has expired" token=entra`, "192.0.2.4:2", "Bearer "+expiredToken)
		traces("no token", "", "192.0.2.5:1", "")
		time.Sleep(61 * time.Second)
		traces("a minute later", `reason="the token has expired" token=entra`, "192.0.2.1:1", "Bearer "+expiredToken)

		var got []string
		for _, e := range r.entries() {
			got = append(got, fmt.Sprintf("%s %q %s %s %d %s", e.Address, e.Token, e.Method, e.Target, e.Code, e.Problem))
			if !e.Rejected() || e.Time.IsZero() {
				t.Errorf("the entry is %+v", e)
			}
		}
		const users = ` GET /Users?filter=userName eq … 401 `
		want := `192.0.2.1 "entra"` + users + `the token has expired
192.0.2.4 "entra"` + users + `the token has expired
192.0.2.4 ""` + users + `the Authorization header has no bearer token
192.0.2.3 ""` + users + `the token is unknown or revoked
192.0.2.2 ""` + users + `the token is unknown or revoked
192.0.2.1 "entra"` + users + `the token has expired`
		if text := strings.Join(got, "\n"); text != want {
			t.Errorf("the provisioning log is\n%s\nwant\n%s", text, want)
		}
	})
}

// TestRejectedToken_CannotFillLogs: neither by many requests from one address, of which the later ones are delayed, nor
// by requests from many addresses.
func TestRejectedToken_CannotFillLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRejecting(t)
		throttled, lines := 0, 0
		for range 200 {
			written, code := r.send("192.0.2.1:1", "Bearer wrong", "/scim/v2/Users")
			if code == http.StatusTooManyRequests {
				throttled++
			}
			if written[0] != "" {
				lines++
			}
		}
		if throttled == 0 || lines != 1 {
			t.Errorf("200 requests leave %d lines, %d were delayed", lines, throttled)
		}
		time.Sleep(59 * time.Second)
		for range 150 { // delayed again before the next minute begins
			r.send("192.0.2.1:1", "Bearer wrong", "/scim/v2/Users")
		}
		time.Sleep(2 * time.Second)
		for range 20 {
			r.send("192.0.2.1:1", "Bearer wrong", "/scim/v2/Users")
		}
		if n := len(r.entries()); n != 2 {
			t.Errorf("requests of more than a minute leave %d entries, want 2", n)
		}
		lines = 0
		for i := range 1000 {
			if written, _ := r.send(fmt.Sprintf("10.0.%d.%d:1", i/250, i%250), "Bearer wrong", "/scim/v2/Users"); written[0] != "" {
				lines++
			}
		}
		if n := len(r.entries()); n > 110 || lines > 110 || lines < 90 {
			t.Errorf("requests from 1000 addresses leave %d lines, and there are %d entries", lines, n)
		}
	})
}

// TestTokenEndpoint_TracesRejectedSecret: a client secret is a token too.
func TestTokenEndpoint_TracesRejectedSecret(t *testing.T) {
	r := newRejecting(t)
	req := httptest.NewRequest("POST", "/scim/token", strings.NewReader("grant_type=client_credentials&client_id=entra&client_secret="+expiredToken))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	entries := r.entries()
	if w.Code != http.StatusUnauthorized || len(entries) != 1 || entries[0].Token != "entra" || entries[0].Target != "/token" || entries[0].Problem != "the token has expired" {
		t.Errorf("status %d, the log is %+v", w.Code, entries)
	}
	if strings.Contains(r.log.String(), expiredToken) || !strings.Contains(r.log.String(), "scim token rejected") {
		t.Errorf("the server's log is %s", r.log.String())
	}
}

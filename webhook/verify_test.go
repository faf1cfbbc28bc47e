package webhook_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/webhook"
)

// verify reports an error unless body came from somebody who knows the secret, within the last five minutes.
func verify(secret string, header http.Header, body []byte) error {
	seconds, err := strconv.ParseInt(header.Get("Webhook-Timestamp"), 10, 64)
	if age := time.Since(time.Unix(seconds, 0)); err != nil || age.Abs() > 5*time.Minute {
		return errors.New("the request is too old")
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return err
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%d.%s", header.Get("Webhook-Id"), seconds, body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	for signature := range strings.FieldsSeq(header.Get("Webhook-Signature")) {
		if hmac.Equal([]byte(signature), []byte(want)) {
			return nil
		}
	}
	return errors.New("no signature is valid")
}

// The secret, the message and the signature with which the reference libraries of Standard Webhooks test themselves.
const (
	referenceSecret    = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	referenceID        = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	referenceTime      = "1614265330"
	referenceBody      = `{"test": 2432232314}`
	referenceSignature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
)

// writeSecret writes secrets to a file, and returns its path.
func writeSecret(t testing.TB, secrets ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(strings.Join(secrets, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSign_EqualsReference(t *testing.T) {
	got, err := webhook.Sign(writeSecret(t, referenceSecret), referenceID, referenceTime, []byte(referenceBody))
	if err != nil || got != referenceSignature {
		t.Errorf("the signature is %q, %v, want %q", got, err, referenceSignature)
	}
}

// TestSign_ByEverySecret: while a secret is changed, the receiver accepts by the old one and by the new one.
func TestSign_ByEverySecret(t *testing.T) {
	newer := "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 32))
	got, err := webhook.Sign(writeSecret(t, newer, referenceSecret), referenceID, referenceTime, []byte(referenceBody))
	if first, second, _ := strings.Cut(got, " "); err != nil || second != referenceSignature || first == second || !strings.HasPrefix(first, "v1,") {
		t.Errorf("the signatures are %q, %v", got, err)
	}
}

// TestSign_IsVerified: what is signed is accepted by the function in docs/webhooks.md, and nothing else is.
func TestSign_IsVerified(t *testing.T) {
	folder := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), 24, 64).Draw(t, "key")
		secret := "whsec_" + base64.StdEncoding.EncodeToString(key)
		path := filepath.Join(folder, "secret")
		if err := os.WriteFile(path, []byte(secret), 0o600); err != nil {
			t.Fatal(err)
		}
		id, body := "msg_"+rapid.StringMatching(`[A-Z2-7]{26}`).Draw(t, "id"), rapid.SliceOf(rapid.Byte()).Draw(t, "body")
		now := time.Now().Unix()
		at := strconv.FormatInt(now, 10)
		signature, err := webhook.Sign(path, id, at, body)
		if err != nil {
			t.Fatal(err)
		}
		header := http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {at}, "Webhook-Signature": {signature}}
		if err := verify(secret, header, body); err != nil {
			t.Errorf("verifying gives %v", err)
		}
		altered := header.Clone()
		switch rapid.IntRange(0, 3).Draw(t, "altered") {
		case 0:
			body = append(body, ' ')
		case 1:
			altered.Set("Webhook-Id", id+"x")
		case 2:
			altered.Set("Webhook-Timestamp", strconv.FormatInt(now-1, 10))
		case 3:
			key[0] ^= 1
			secret = "whsec_" + base64.StdEncoding.EncodeToString(key)
		}
		if verify(secret, altered, body) == nil {
			t.Error("what was altered is accepted")
		}
	})
}

// document returns docs/webhooks.md.
func document(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../docs/webhooks.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// block returns the first block of the document in a language.
func block(t *testing.T, language string) string {
	t.Helper()
	_, rest, ok := strings.Cut(document(t), "```"+language+"\n")
	code, _, closed := strings.Cut(rest, "```")
	if !ok || !closed {
		t.Fatalf("docs/webhooks.md has no block of %s", language)
	}
	return code
}

// TestDocument_VerifiesInGo: the function in the document is the one that these tests use.
func TestDocument_VerifiesInGo(t *testing.T) {
	source, err := os.ReadFile("verify_test.go")
	if err != nil {
		t.Fatal(err)
	}
	if code := block(t, "go"); !strings.Contains(string(source), "\n"+code) {
		t.Errorf("docs/webhooks.md has another function than this file:\n%s", code)
	}
}

// TestDocument_VerifiesInPython runs the function in the document.
func TestDocument_VerifiesInPython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("there is no python3")
	}
	at := strconv.FormatInt(time.Now().Unix(), 10)
	signature, err := webhook.Sign(writeSecret(t, referenceSecret), referenceID, at, []byte(referenceBody))
	if err != nil {
		t.Fatal(err)
	}
	code := block(t, "python") + fmt.Sprintf(`
headers = {"webhook-id": %q, "webhook-timestamp": %q, "webhook-signature": "v1,AAAA " + %q}
body = %q.encode()
assert verify(%q, headers, body)
assert not verify(%q, headers, body + b" ")
assert not verify(%q, headers | {"webhook-id": "msg_other"}, body)
assert not verify(%q, headers | {"webhook-timestamp": "1614265330"}, body)
`, referenceID, at, signature, referenceBody, referenceSecret, referenceSecret, referenceSecret, referenceSecret)
	if out, err := exec.Command(python, "-c", code).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestDocument_NamesEveryEvent: the document has an example of each event, and no other.
func TestDocument_NamesEveryEvent(t *testing.T) {
	page, found := document(t), []string{}
	for rest, ok := page, true; ok; {
		if _, rest, ok = strings.Cut(rest, "```json\n"); !ok {
			break
		}
		var example struct {
			Type      string
			Timestamp time.Time
			Data      map[string]any
		}
		if err := json.NewDecoder(strings.NewReader(rest)).Decode(&example); err != nil || example.Timestamp.IsZero() || example.Data == nil {
			t.Errorf("an example is not as events are: %v", err)
		}
		found = append(found, example.Type)
	}
	if want := webhook.Events(); strings.Join(found, " ") != strings.Join(want, " ") {
		t.Errorf("the examples are %v, want %v", found, want)
	}
}

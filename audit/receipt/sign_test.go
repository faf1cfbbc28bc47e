package receipt_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"sallyport/audit"
	"sallyport/audit/receipt"
)

func newKey(t testing.TB) (ed25519.PrivateKey, map[string]ed25519.PublicKey) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return private, map[string]ed25519.PublicKey{"k1": public}
}

// signed returns a document as it is printed, and its parts.
func signed(t testing.TB, r receipt.Receipt, key ed25519.PrivateKey) (text []byte, d receipt.Document) {
	t.Helper()
	jws, err := receipt.Sign(r, "k1", key)
	if err != nil {
		t.Fatal(err)
	}
	d, _, _, err = receipt.Open(jws)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := d.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), d
}

// odd is a receipt with text that encoders write in different ways.
func odd(t testing.TB) receipt.Receipt {
	r := mustFind(t, offboarded(), receipt.Question{Name: ada})
	r.Person.UserName, r.Offboarding.Why = "<Ada> & \"Søn\" \u2028 \u202e", "a < b && c > d"
	return r
}

// TestSign_IsAJWS: whoever has Ed25519 and Base64 can verify it; the receipt that people read is what was signed.
func TestSign_IsAJWS(t *testing.T) {
	key, keys := newKey(t)
	text, d := signed(t, odd(t), key)
	parts := strings.Split(d.Signature, ".")
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || !ed25519.Verify(keys["k1"], []byte(parts[0]+"."+parts[1]), signature) {
		t.Fatal("the signature is not valid", err)
	}
	header, _ := base64.RawURLEncoding.DecodeString(parts[0])
	if string(header) != `{"alg":"EdDSA","kid":"k1","typ":"sallyport-receipt+json"}` {
		t.Errorf("the header is %s", header)
	}
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
	var shown struct{ Receipt json.RawMessage }
	var compact bytes.Buffer
	if err := json.Unmarshal(text, &shown); err != nil || json.Compact(&compact, shown.Receipt) != nil || !bytes.Equal(compact.Bytes(), payload) {
		t.Errorf("shown is\n%s\nand signed is\n%s", compact.Bytes(), payload)
	}
	var tight bytes.Buffer
	if err := json.Compact(&tight, text); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"as printed": text, "without spaces": tight.Bytes(), "the signature alone": []byte(d.Signature + "\n")} {
		if r, id, err := receipt.Verify(text, keys); err != nil || id != "k1" || r.Person != odd(t).Person {
			t.Errorf("%s: %v %q %v", name, r.Person, id, err)
		}
	}
}

// TestVerify_RefusesWhatWasChanged: whatever byte of a document is another one, it is not sound, or says the same.
func TestVerify_RefusesWhatWasChanged(t *testing.T) {
	key, keys := newKey(t)
	original := odd(t)
	text, _ := signed(t, original, key)
	want, err := json.Marshal(original)
	if err != nil {
		t.Fatal(err)
	}
	for i := range text {
		for _, c := range [][]byte{{text[i] ^ 1}, {text[i] ^ 0x20}, {' '}, {'"'}, {}, {}, {}, {}}[i%8] {
			changed := bytes.Clone(text)
			changed[i] = c
			r, _, err := receipt.Verify(changed, keys)
			if err != nil && !errors.Is(err, receipt.ErrUnsound) {
				t.Fatalf("byte %d: %v", i, err)
			}
			if got, _ := json.Marshal(r); err == nil && !bytes.Equal(got, want) {
				t.Fatalf("byte %d as %q: it is sound, and says %s", i, c, got)
			}
		}
	}
}

// TestVerify_RefusesForgeries: other keys, algorithms, types and members.
func TestVerify_RefusesForgeries(t *testing.T) {
	key, keys := newKey(t)
	other, _ := newKey(t)
	text, d := signed(t, odd(t), key)
	forged := strings.Replace(string(d.Receipt), `"sessions":1`, `"sessions":0`, 1)
	sign := func(algorithm jose.SignatureAlgorithm, key any, kind string) string {
		s, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, (&jose.SignerOptions{}).WithType(jose.ContentType(kind)).WithHeader("kid", "k1"))
		if err != nil {
			t.Fatal(err)
		}
		jws, err := s.Sign([]byte(forged))
		if err != nil {
			t.Fatal(err)
		}
		compact, _ := jws.CompactSerialize()
		return compact
	}
	encode := base64.RawURLEncoding.EncodeToString
	unsigned := encode([]byte(`{"alg":"none","kid":"k1","typ":"sallyport-receipt+json"}`)) + "." + encode([]byte(forged)) + "."
	whole := func(receipt, signature string) string {
		return `{"receipt":` + receipt + `,"signature":"` + signature + `"}`
	}
	otherText, _ := signed(t, odd(t), other)
	for name, text := range map[string]string{
		"another key":           string(otherText),
		"another algorithm":     sign(jose.HS256, []byte(keys["k1"]), receipt.Type),
		"no algorithm":          unsigned,
		"another type":          sign(jose.EdDSA, key, "sallyport-review+json"),
		"another receipt":       whole(forged, d.Signature),
		"two receipts":          `{"receipt":` + forged + `,"receipt":` + string(d.Receipt) + `,"signature":"` + d.Signature + `"}`,
		"two signatures":        `{"receipt":` + string(d.Receipt) + `,"signature":"","signature":"` + d.Signature + `"}`,
		"receipt in other case": `{"Receipt":` + forged + `,"receipt":` + string(d.Receipt) + `,"signature":"` + d.Signature + `"}`,
		"something more":        `{"note":"x","receipt":` + string(d.Receipt) + `,"signature":"` + d.Signature + `"}`,
		"something behind":      string(text) + `{"receipt":{}}`,
		"no receipt":            `{"signature":"` + d.Signature + `"}`,
		"no signature":          `{"receipt":` + string(d.Receipt) + `}`,
		"null":                  whole("null", d.Signature),
		"an array":              `[` + string(text) + `]`,
		"nothing":               "",
		"half":                  string(text[:len(text)/2]),
		"a page":                "<!doctype html>",
	} {
		if _, _, err := receipt.Verify([]byte(text), keys); !errors.Is(err, receipt.ErrUnsound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := receipt.Verify(text, nil); !errors.Is(err, receipt.ErrUnsound) {
		t.Errorf("no key: %v", err)
	}
}

// TestCompare_FindsOtherLines: a record that was written again is another one, and one whose old files were deleted is not.
func TestCompare_FindsOtherLines(t *testing.T) {
	h := offboarded()
	record := h.record(t)
	r, err := receipt.Find(t.Context(), record, receipt.Question{Name: ada})
	if err != nil {
		t.Fatal(err)
	}
	if found, err := receipt.Compare(&r, record); err != nil || found.Missing != 0 || found.Same != len(r.Refs()) || found.Same != 10 {
		t.Errorf("%+v of %d, %v", found, len(r.Refs()), err)
	}
	h.events[10].Reason = "no_rule"
	if _, err := receipt.Compare(&r, h.record(t)); !errors.Is(err, receipt.ErrUnsound) || !strings.Contains(err.Error(), "line 11") {
		t.Errorf("a record that was written again: %v", err)
	}
	h.events = h.events[:3]
	if found, err := receipt.Compare(&r, offboardedUntil(t, 3)); err != nil || found.Later != len(r.Refs())-1 || found.Missing != 0 {
		t.Errorf("a record that ends before: %+v, %v", found, err)
	}
}

// offboardedUntil returns a record that ends after some lines.
func offboardedUntil(t *testing.T, lines int) *audit.Record {
	h := offboarded()
	h.events = h.events[:lines]
	return h.record(t)
}

// TestWritePage_EscapesNames: names cannot become markup, and nothing is loaded from elsewhere.
func TestWritePage_EscapesNames(t *testing.T) {
	key, _ := newKey(t)
	r := odd(t)
	r.Person.UserName, r.Offboarding.Why = `<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`
	r.Cuts[0].Path, r.Replicas = `/<svg onload=alert(1)>`, []receipt.Replica{{Name: "<b>host"}}
	r.Offboarding.Actor.Name = "\x1b[2J\u0085\u202etoor\x7f"
	_, d := signed(t, r, key)
	path := filepath.Join(t.TempDir(), "page.html")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(receipt.WritePage(f, &r, "k1", d.Signature), f.Close()); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"<script", "<img", "<svg", "<b>", "src=", "href=", "url(", "\x1b", "\u0085", "\u202e", "\x7f"} {
		if strings.Contains(strings.ReplaceAll(string(page), "&lt;img src=x", ""), bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	for _, want := range []string{"&lt;script&gt;", "after 47 ms", d.Signature, "line 8", "inactive_user"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

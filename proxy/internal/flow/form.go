package flow

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"strings"
	"time"
)

const (
	// MaxForm is the length of the longest body of a form that is kept, in bytes.
	MaxForm = 1 << 20

	// MaxSealedForm is the length of the longest text that [Browser.KeepForm] returns.
	MaxSealedForm = (MaxForm+1<<10)*4/3 + 32<<10

	// FormField is the name of the field in which a page sends a kept form.
	FormField = "sallyport-form"

	// FormLifetime is how long a form is kept.
	FormLifetime = 2 * time.Hour

	formPurpose = "form"
)

// Form is what a page sent with POST when its person was not signed in. It is kept for after the sign-in, sealed in a
// page. It is valid on its host, in its browser and until it expires; the caller of [Browser.OpenForm] has to check the
// rest.
type Form struct {
	ID      string    `json:"id"`             // random; names it when it was sent
	User    string    `json:"user,omitempty"` // the directory's id of the user whose session was over; "" if there was none
	Target  string    `json:"target"`         // path and query
	From    string    `json:"from,omitempty"` // the origin of the page, if it is not the target's own
	Type    string    `json:"type"`           // Content-Type
	Expires time.Time `json:"expires"`
	Key     []byte    `json:"key"` // of the body; used once
	Body    []byte    `json:"-"`
}

// KeepForm seals f and binds it to the browser by a cookie. It sets ID and Expires.
//
// The result has two parts: f without its body, and with a key of its own, sealed for the host; and the body, encrypted
// with that key.
func (b Browser) KeepForm(f Form) (sealed string, err error) {
	f.ID, f.Expires, f.Key = b.bind(forms), b.Received.Add(FormLifetime), make([]byte, 32)
	_, _ = rand.Read(f.Key) // never fails
	text, err := json.Marshal(f)
	if err != nil {
		return "", err
	}
	head, err := b.Sessions.Seal(formPurpose, b.Host, text, FormLifetime)
	if err != nil {
		return "", err
	}
	aead, err := newAEAD(f.Key)
	if err != nil {
		return "", err
	}
	return head + "." + base64.RawURLEncoding.EncodeToString(aead.Seal(nil, nil, f.Body, nil)), nil
}

// OpenForm returns the form that was sealed for the browser.
func (b Browser) OpenForm(sealed string) (f Form, ok bool) {
	head, rest, _ := strings.Cut(sealed, ".")
	text, err := b.Sessions.Unseal(formPurpose, b.Host, head)
	if err != nil || json.Unmarshal(text, &f) != nil || !b.isBound(forms, f.ID) {
		return Form{}, false
	}
	aead, err := newAEAD(f.Key)
	if err != nil {
		return Form{}, false
	}
	body, err := base64.RawURLEncoding.Strict().DecodeString(rest)
	if err != nil {
		return Form{}, false
	}
	f.Body, err = aead.Open(nil, nil, body, nil)
	return f, err == nil
}

// newAEAD returns a cipher that makes the nonce and puts it before the ciphertext.
func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// IsFor reports whether f was sent to target, a path and query. A page may escape more characters of an address than the
// browser did at first.
func (f Form) IsFor(target string) bool { return escape(f.Target) == escape(target) }

// escape returns target with every byte percent-encoded that a page might encode, and those that are as they are.
func escape(target string) string {
	const plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!#$&*+,/:;=?@[]%"
	var out strings.Builder
	for i := range len(target) {
		if strings.IndexByte(plain, target[i]) >= 0 {
			out.WriteByte(target[i])
		} else {
			fmt.Fprintf(&out, "%%%02X", target[i])
		}
	}
	return out.String()
}

// IsForm reports whether the body of a request may be kept: it is what a form without files sends, and not too long.
func IsForm(contentType string, body []byte) bool {
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil || len(body) > MaxForm {
		return false
	}
	return media == "application/x-www-form-urlencoded" || media == "multipart/form-data" && !hasFiles(body, params["boundary"])
}

// hasFiles reports whether body has files, or cannot be read. A file field that was left empty has no name of a file.
func hasFiles(body []byte, boundary string) bool {
	parts := multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		part, err := parts.NextRawPart()
		if err != nil {
			return err != io.EOF || !bytes.Contains(body, []byte("--"+boundary+"--"))
		}
		if part.FileName() != "" {
			return true
		}
	}
}

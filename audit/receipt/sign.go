package receipt

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// Type is the type in the header of the signature (RFC 7515 §4.1.9). Nothing else that Sallyport signs has it.
const Type = "sallyport-receipt+json"

// ErrUnsound means that a receipt is not what was signed, or that none of the keys signed it.
var ErrUnsound = errors.New("the receipt is not sound")

// Document is a signed receipt: what people read, and what programs verify.
type Document struct {
	Receipt   json.RawMessage // the text that was signed, whatever spaces are between its parts
	Signature string          // a JWS in compact form (RFC 7515 §7.1) over the receipt in compact JSON
}

// Sign returns a receipt as a JWS in compact form, signed with Ed25519 (RFC 8037).
func Sign(r Receipt, keyID string, key ed25519.PrivateKey) (string, error) {
	payload, err := compact(r)
	if err != nil {
		return "", fmt.Errorf("writing the receipt: %w", err)
	}
	options := (&jose.SignerOptions{}).WithType(Type).WithHeader("kid", keyID)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: key}, options)
	if err != nil {
		return "", fmt.Errorf("signing the receipt: %w", err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("signing the receipt: %w", err)
	}
	return signed.CompactSerialize()
}

// compact returns a value as JSON without spaces, in which only what must be is escaped: other programs that write it
// again come to the same bytes.
func compact(v any) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), err
}

// Open returns the document of a signature, and the id of the key. It verifies nothing.
func Open(signature string) (d Document, r Receipt, keyID string, err error) {
	parsed, err := parse(signature)
	if err != nil {
		return d, r, "", err
	}
	d = Document{parsed.UnsafePayloadWithoutVerification(), strings.TrimSpace(signature)}
	return d, r, parsed.Signatures[0].Protected.KeyID, json.Unmarshal(d.Receipt, &r)
}

// WriteTo writes a document as JSON for people.
func (d Document) WriteTo(w io.Writer) (int64, error) {
	var out bytes.Buffer
	out.WriteString("{\n  \"receipt\": ")
	if err := json.Indent(&out, d.Receipt, "  ", "  "); err != nil {
		return 0, err
	}
	fmt.Fprintf(&out, ",\n  \"signature\": %q\n}\n", d.Signature)
	return out.WriteTo(w)
}

// parseDocument reads a document. Each member may be there once, so that no program reads another receipt than was
// verified.
func parseDocument(text []byte) (d Document, err error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return d, fmt.Errorf("%w: it is neither JSON with a receipt and a signature nor a JWS", ErrUnsound)
	}
	seen := map[string]bool{}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return d, fmt.Errorf("%w: %w", ErrUnsound, err)
		}
		var target any
		switch name {
		case "receipt":
			target = &d.Receipt
		case "signature":
			target = &d.Signature
		}
		if target == nil || seen[name.(string)] {
			return d, fmt.Errorf("%w: it has %q where it must have a receipt and a signature, once each", ErrUnsound, name)
		}
		seen[name.(string)] = true
		if err := dec.Decode(target); err != nil {
			return d, fmt.Errorf("%w: its %s cannot be read: %w", ErrUnsound, name, err)
		}
	}
	if _, err := dec.Token(); err != nil || len(seen) != 2 {
		return d, fmt.Errorf("%w: it is not whole: it must have a receipt and a signature", ErrUnsound)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return d, fmt.Errorf("%w: there is something behind its end", ErrUnsound)
	}
	return d, nil
}

func parse(signature string) (*jose.JSONWebSignature, error) {
	signature = strings.TrimSpace(signature)
	for part := range strings.SplitSeq(signature, ".") { // without Strict, the last character of a part could be another one
		if _, err := base64.RawURLEncoding.Strict().DecodeString(part); err != nil {
			return nil, fmt.Errorf("%w: its signature is no JWS in compact form: %w", ErrUnsound, err)
		}
	}
	parsed, err := jose.ParseSignedCompact(signature, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		return nil, fmt.Errorf("%w: its signature is no JWS that is signed with EdDSA: %w", ErrUnsound, err)
	}
	if kind, _ := parsed.Signatures[0].Protected.ExtraHeaders[jose.HeaderType].(string); kind != Type {
		return nil, fmt.Errorf("%w: the type of its signature is %q, and that of a receipt is %s", ErrUnsound, kind, Type)
	}
	return parsed, nil
}

// Verify returns what a document, or its signature alone, says if one of the keys signed it, and the id of that key.
// Otherwise the error is [ErrUnsound]. It needs nothing but its arguments.
func Verify(text []byte, keys map[string]ed25519.PublicKey) (r Receipt, keyID string, err error) {
	d := Document{Signature: string(text)}
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		if d, err = parseDocument(text); err != nil {
			return r, "", err
		}
	}
	parsed, err := parse(d.Signature)
	if err != nil {
		return r, "", err
	}
	keyID = parsed.Signatures[0].Protected.KeyID
	key, ok := keys[keyID]
	if !ok {
		return r, keyID, fmt.Errorf("%w: it is signed with the key %q, which is none of the %d that are trusted", ErrUnsound, keyID, len(keys))
	}
	payload, err := parsed.Verify(key)
	if err != nil {
		return r, keyID, fmt.Errorf("%w: its text is not what the key %s signed", ErrUnsound, keyID)
	}
	if d.Receipt != nil {
		var shown bytes.Buffer
		if err := json.Compact(&shown, d.Receipt); err != nil || !bytes.Equal(shown.Bytes(), payload) {
			return r, keyID, fmt.Errorf("%w: the receipt that is shown is not the one that was signed", ErrUnsound)
		}
	}
	if err := json.Unmarshal(payload, &r); err != nil {
		return r, keyID, fmt.Errorf("%w: what was signed is no receipt: %w", ErrUnsound, err)
	}
	if r.Version != Version {
		return r, keyID, fmt.Errorf("the receipt has the form %d, which this program does not know", r.Version)
	}
	return r, keyID, nil
}

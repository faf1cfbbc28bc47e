package admin

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"sallyport/audit"
)

// exportType is the type in the header of a signed export (RFC 7515 §4.1.9). Nothing else that Sallyport signs has it.
const exportType = "sallyport-review+json"

// ReviewExport is what a signed export says.
type ReviewExport struct {
	Exported time.Time  `json:"exported"`
	By       string     `json:"exported_by"`
	Version  string     `json:"version"` // of the program
	From     string     `json:"public_url,omitempty"`
	Review   ReviewView `json:"review"`
}

// ErrUnsound means that an export is not what was signed, or was signed by another key.
var ErrUnsound = errors.New("the export is not sound")

// ExportReview returns a review with all its rows as a JWS in compact form (RFC 7515 §7.1), signed with ES256. It is for
// operators and those who use the console.
func (a *Admin) ExportReview(ctx context.Context, actor Actor, id string) (string, error) {
	if actor.Kind != audit.ActorOperator && actor.Role == "" {
		return "", ErrNotReviewer
	}
	view, err := a.Review(ctx, actor, id)
	if err != nil {
		return "", err
	}
	export := ReviewExport{Exported: time.Now().UTC().Truncate(time.Second), By: actor.Name, Version: a.version, Review: view}
	if a.publicURL != nil {
		export.From = a.publicURL()
	}
	payload, err := json.Marshal(export)
	if err != nil {
		return "", fmt.Errorf("writing the review: %w", err)
	}
	keys, err := a.grants.ReviewKeys(ctx)
	if err != nil {
		return "", err
	}
	newest := keys[len(keys)-1]
	public, err := reviewJWK(newest.Public)
	if err != nil {
		return "", err
	}
	options := (&jose.SignerOptions{}).WithType(exportType).WithHeader("kid", public.KeyID)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: newest.Private}, options)
	if err != nil {
		return "", fmt.Errorf("signing the review: %w", err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("signing the review: %w", err)
	}
	return signed.CompactSerialize()
}

// ReviewKeys returns the public keys that exports were and are signed with, as a JWK set (RFC 7517 §5).
func (a *Admin) ReviewKeys(ctx context.Context, _ Actor) (set jose.JSONWebKeySet, err error) {
	keys, err := a.grants.ReviewKeys(ctx)
	if err != nil {
		return set, err
	}
	for _, k := range keys {
		public, err := reviewJWK(k.Public)
		if err != nil {
			return set, err
		}
		set.Keys = append(set.Keys, public)
	}
	return set, nil
}

// reviewJWK returns a public key in the form of RFC 7517. Its id is its thumbprint (RFC 7638).
func reviewJWK(public *ecdsa.PublicKey) (jose.JSONWebKey, error) {
	k := jose.JSONWebKey{Key: public, Algorithm: string(jose.ES256), Use: "sig"}
	sum, err := k.Thumbprint(crypto.SHA256)
	if err != nil {
		return k, fmt.Errorf("naming a key of reviews: %w", err)
	}
	k.KeyID = base64.RawURLEncoding.EncodeToString(sum)
	return k, nil
}

// VerifyReview returns what an export says if one of the keys signed it, otherwise an error that is [ErrUnsound]. It needs
// nothing but its arguments.
func VerifyReview(signed string, keys jose.JSONWebKeySet) (export ReviewExport, keyID string, err error) {
	signed = strings.TrimSpace(signed)
	for part := range strings.SplitSeq(signed, ".") { // without Strict, the last character of a part could be another one
		if _, err := base64.RawURLEncoding.Strict().DecodeString(part); err != nil {
			return export, "", fmt.Errorf("%w: it is no JWS in compact form: %w", ErrUnsound, err)
		}
	}
	parsed, err := jose.ParseSignedCompact(signed, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return export, "", fmt.Errorf("%w: it is no JWS that is signed with ES256: %w", ErrUnsound, err)
	}
	header := parsed.Signatures[0].Protected
	if kind, _ := header.ExtraHeaders[jose.HeaderType].(string); kind != exportType {
		return export, "", fmt.Errorf("%w: its type is %q, and that of a review is %s", ErrUnsound, kind, exportType)
	}
	key, err := keyOf(keys, header.KeyID)
	if err != nil {
		return export, "", err
	}
	payload, err := parsed.Verify(key)
	if err != nil {
		return export, "", fmt.Errorf("%w: its text is not what the key %s signed", ErrUnsound, header.KeyID)
	}
	if err := json.Unmarshal(payload, &export); err != nil {
		return export, "", fmt.Errorf("%w: what was signed is no review: %w", ErrUnsound, err)
	}
	return export, header.KeyID, nil
}

// keyOf returns the key with an id, which must be its thumbprint.
func keyOf(keys jose.JSONWebKeySet, id string) (*ecdsa.PublicKey, error) {
	for _, k := range keys.Keys {
		public, ok := k.Key.(*ecdsa.PublicKey)
		if !ok || public.Curve != elliptic.P256() {
			continue
		}
		if named, err := reviewJWK(public); err == nil && named.KeyID == id {
			return public, nil
		}
	}
	return nil, fmt.Errorf("%w: the key %q that its header names is none of the %d that it is verified with", ErrUnsound, id, len(keys.Keys))
}

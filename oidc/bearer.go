package oidc

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/json" // unlike encoding/json, it matches names exactly and rejects duplicates
)

// maxToken is the size limit of a token, in bytes.
const maxToken = 16 << 10

// Bearer verifies an access token (RFC 9068, and the forms of Entra) as a token of
// the issuer that it names. The identity does not have the token itself, which [Provider.Check]
// needs.
func (p *Provider) Bearer(ctx context.Context, token string) (Identity, error) {
	if issuer := p.providerFor(token); issuer != p {
		return issuer.Bearer(ctx, token)
	}
	published, err := p.verifying(ctx)
	if err != nil {
		return Identity{}, err
	}
	if len(token) > maxToken { // before the work of hashing it
		err := refuse(Malformed, "the token is too large")
		p.metrics.verified(err)
		return Identity{}, err
	}
	digest, keys := digestOf(token), published.current()
	if id := p.cachedIdentity(digest, keys); id != nil {
		return *id, nil
	}
	id, err := p.bearer(ctx, token)
	p.metrics.verified(err)
	if err != nil {
		return Identity{}, err
	}
	p.tell(id)
	id.seen, id.Groups = p.cache.firstSeen(digest, time.Now()), Groups{} // which would take much memory in the cache
	if now := published.current(); now.Equal(keys) {                     // otherwise a refresh came in between, and we cannot tell which keys verified it
		cached := id
		p.cache.put(digest, cachedToken{&cached, now})
	}
	return id, nil
}

// Check returns nil while a token, which has an identity, is accepted: the key that verified
// it is published and, if a provider with other settings verified it, these settings
// accept it too, for the same caller. The error is a refusal if not; any other error
// means that we cannot tell. It waits for nothing. See [Provider.Changed].
func (p *Provider) Check(id *Identity, token string) error {
	if id.keys == nil {
		return refuse(KeyUnknown, "the identity does not come from a bearer token")
	}
	by := p
	if other := p.bearerIssuers[id.Issuer]; other != nil {
		by = other
	}
	if by.rules == id.rules && by.keys == id.keys {
		return id.keys.check(id.signature)
	}
	return p.checkAgain(id, token)
}

// checkAgain verifies the token of an identity that another provider verified.
func (p *Provider) checkAgain(id *Identity, token string) error {
	ctx, stop := context.WithCancel(context.Background())
	stop() // so that nothing is waited for
	again, err := p.Bearer(ctx, token)
	if err == nil && (again.App != id.App || id.App == "" && again.Key != id.Key) {
		return refuse(ClaimMissing, "by the settings in force, the token is of another caller")
	}
	return err
}

// Changed returns a channel that is closed when Check may give another result than
// before, other than by the passing of time and by [Provider.With]. Take it before asking.
func (p *Provider) Changed() <-chan struct{} { return p.changed.channel() }

// Cached returns the identity of a token that [Provider.Bearer] verified before, if
// the token is still valid, and otherwise nil. The identity is shared with others and must not
// be changed. Cached does no I/O and verifies no signature.
func (p *Provider) Cached(token string) *Identity {
	issuer := p.providerFor(token)
	current := issuer.keys.current()
	if current.IsZero() || len(token) > maxToken {
		return nil
	}
	return issuer.cachedIdentity(digestOf(token), current)
}

// digestOf returns the digest of a token.
func digestOf(token string) [sha256.Size]byte {
	var text [2 << 10]byte // on the stack, unlike a converted string
	if n := copy(text[:], token); n == len(token) {
		return sha256.Sum256(text[:n])
	}
	return sha256.Sum256([]byte(token))
}

// providerFor returns the provider that must verify a token: that of the bearer
// issuer that the token names, otherwise p.
func (p *Provider) providerFor(token string) *Provider {
	if len(p.bearerIssuers) > 0 {
		if other := p.bearerIssuers[unverifiedIssuer(token)]; other != nil {
			return other
		}
	}
	return p
}

// cachedIdentity returns the identity of a cached token and counts a verification; nil if it is not cached. What was
// verified by other rules does not count.
func (p *Provider) cachedIdentity(digest [sha256.Size]byte, keys time.Time) *Identity {
	id := p.cache.get(digest, keys, time.Now())
	if id == nil || id.rules != p.rules {
		return nil
	}
	p.metrics.verified(nil)
	return id
}

func (p *Provider) bearer(ctx context.Context, token string) (Identity, error) {
	if len(p.settings.APIAudiences) == 0 {
		return Identity{}, refuse(WrongAudience, "no api_audiences are configured, so bearer tokens are rejected")
	}
	c, err := p.verify(ctx, token, "jwt", "at+jwt")
	if err != nil {
		return Identity{}, err
	}
	switch {
	case c.isIDToken(p.settings.ClientID):
		return Identity{}, refuse(NotForAPIs, "it is an ID token; send an access token for the API")
	case !slices.ContainsFunc(p.settings.APIAudiences, c.Audience.has):
		return Identity{}, refuse(WrongAudience, "the token is for another API")
	}
	id, err := p.identity(c)
	if err == nil && p.appsOnly && id.App == "" {
		return Identity{}, refuse(WrongIssuer, "only applications of that issuer are accepted, and no users")
	}
	return id, err
}

// unverifiedIssuer returns the iss of a token that is not verified yet. It only
// selects the provider that verifies the token.
func unverifiedIssuer(token string) string {
	if len(token) > maxToken {
		return ""
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	data, err := base64.RawURLEncoding.Strict().DecodeString(parts[1])
	var c struct {
		Issuer string `json:"iss"`
	}
	if err != nil || json.Unmarshal(data, &c) != nil {
		return ""
	}
	return c.Issuer
}

// verify checks what all kinds of tokens have in common: form, type (one of types),
// signature, issuer, times and tenant.
func (p *Provider) verify(ctx context.Context, token string, types ...string) (*claims, error) {
	if err := checkForm(token, types); err != nil {
		return nil, err
	}
	payload, by, err := p.keys.payload(ctx, token)
	if err != nil {
		return nil, err
	}
	c := &claims{keys: p.keys, signature: by}
	if json.Unmarshal(payload, c) != nil || json.Unmarshal(payload, &c.all) != nil {
		return nil, refuse(Malformed, "the token's claims are not a JSON object of the usual types")
	}
	return c, p.checkClaims(c, time.Now())
}

// checkForm checks the form and the header of a token before any costly work. It has
// reasons of their own for tokens that are often sent by mistake.
//
// A token has one spelling: every segment must be the canonical base64url of its bytes
// (RFC 4648 §3.5). The libraries ignore unused bits.
func checkForm(token string, types []string) error {
	segments := strings.Split(token, ".")
	if len(segments) != 3 || strings.ContainsFunc(token, notInJWT) {
		return refuse(Malformed, "the token is not a signed JWT (encrypted ones are not accepted)")
	}
	var header []byte
	for i, segment := range segments {
		data, err := base64.RawURLEncoding.Strict().DecodeString(segment)
		if err != nil {
			return refuse(Malformed, "a part of the token is not canonical base64url")
		}
		if i == 0 {
			header = data
		}
	}
	var h map[string]any
	if json.Unmarshal(header, &h) != nil {
		return refuse(Malformed, "the token's header cannot be read")
	}
	switch {
	case h["crit"] != nil, h["b64"] != nil: // b64 is an extension too (RFC 7797 §6)
		return refuse(Malformed, "the token's header demands extensions that are not known")
	case h["nonce"] != nil:
		return refuse(NotForAPIs, "it is a token for Microsoft Graph, which only Graph can check; ask for one for your API's scope")
	case !isType(h["typ"], types):
		return refuse(WrongType, "the token has a type that is not accepted here")
	}
	return nil
}

// notInJWT reports whether r cannot occur in a JWT (RFC 7515 §2). Decoders skip some
// such characters, which would give one token several spellings.
func notInJWT(r rune) bool {
	return !(r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.')
}

// isType reports whether typ is one of types (RFC 8725 §3.11). A missing typ is
// accepted: most tokens have none.
func isType(typ any, types []string) bool {
	if typ == nil {
		return true
	}
	text, _ := typ.(string)
	return slices.Contains(types, strings.TrimPrefix(strings.ToLower(text), "application/"))
}

// skew is the tolerance for differences between the provider's clock and ours.
const skew = time.Minute

func (p *Provider) checkClaims(c *claims, now time.Time) error {
	switch {
	case c.Issuer != p.settings.Issuer && c.isVersion1():
		return refuse(WrongVersion, "it is a v1.0 token; set api.requestedAccessTokenVersion to 2 in the manifest of the API's registration")
	case c.Issuer != p.settings.Issuer:
		return refuse(WrongIssuer, "the token is from another issuer")
	case p.tenant != "" && c.Tenant != p.tenant:
		return refuse(WrongTenant, "the token is from another tenant, or names none")
	case c.Expires.IsZero():
		return refuse(Expired, "the token has no exp")
	case !now.Before(c.Expires.Time): // without skew: a token is useless after its exp
		return refuse(Expired, "the token has expired")
	case c.NotBefore.After(now.Add(skew)), c.Issued.After(now.Add(skew)):
		return refuse(NotYetValid, "the token is from the future; compare the clocks")
	}
	return nil
}

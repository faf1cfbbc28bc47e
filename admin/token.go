package admin

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"sallyport/audit"
	"sallyport/scim"
)

// Secret is the text of a token. It prints as [secret], except in JSON.
type Secret string

// String keeps the secret out of text.
func (Secret) String() string { return "[secret]" }

// GoString keeps the secret out of %#v.
func (Secret) GoString() string { return "[secret]" }

// LogValue keeps the secret out of slog.
func (Secret) LogValue() slog.Value { return slog.StringValue("[secret]") }

// Token is a provisioning token as operators see it.
type Token struct {
	ID       string     `json:"id"`
	Name     string     `json:"name"`
	Text     Secret     `json:"token,omitempty"` // only when it is created
	Created  time.Time  `json:"created"`
	Expires  *time.Time `json:"expires"`              // nil: never
	Expired  bool       `json:"expired,omitempty"`    // it is not valid any more
	LastUsed *time.Time `json:"last_used,omitempty"`  // stored once in ten minutes, so it may be that much later
	Issued   string     `json:"issued_for,omitempty"` // what it was exchanged for at the token endpoint
	Damaged  bool       `json:"damaged,omitempty"`    // its record cannot be read, so that it is not valid
}

func newToken(t scim.Token) Token {
	return Token{ID: t.ID, Name: t.Name, Created: t.Created, Expires: timeOrNil(t.Expires), Expired: hasExpired(t),
		LastUsed: timeOrNil(t.LastUsed), Issued: t.Parent, Damaged: t.Damaged}
}

func hasExpired(t scim.Token) bool { return !t.Expires.IsZero() && !time.Now().Before(t.Expires) }

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// Tokens returns every provisioning token, without its text.
func (a *Admin) Tokens(ctx context.Context, _ Actor) ([]Token, error) {
	stored, err := a.provisioning.Tokens(ctx)
	tokens := make([]Token, 0, len(stored))
	for _, t := range stored {
		tokens = append(tokens, newToken(t))
	}
	return tokens, err
}

// CreateToken creates a token that expires after ttl (0: never), and returns it with its text.
func (a *Admin) CreateToken(ctx context.Context, actor Actor, name string, ttl time.Duration) (Token, error) {
	t, text, err := scim.NewToken(name, ttl)
	if err != nil {
		return Token{}, err
	}
	e := tokenEvent("created", map[string]string{"token": t.ID, "name": t.Name})
	err = a.perform(ctx, actor, action{event: e, adds: true}, func(ctx context.Context) error {
		return a.provisioning.AddToken(ctx, t)
	})
	return withText(t, text, err)
}

// RotateToken creates a token with the same name as the given one, which is named by its id or its name and expires after
// overlap at the latest. The new one expires after ttl (0: never).
func (a *Admin) RotateToken(ctx context.Context, actor Actor, name string, ttl, overlap time.Duration) (Token, error) {
	old, err := a.findToken(ctx, name)
	if err != nil {
		return Token{}, err
	}
	t, text, err := scim.NewToken(old.Name, ttl)
	if err != nil {
		return Token{}, err
	}
	e := tokenEvent("rotated", map[string]string{"token": t.ID, "name": t.Name, "former": old.ID})
	err = a.perform(ctx, actor, action{event: e, adds: true}, func(ctx context.Context) error { // the new text is shown once
		return a.provisioning.RotateToken(ctx, old.ID, t, overlap)
	})
	return withText(t, text, err)
}

// withText returns the token that was created, or nothing of it if that failed.
func withText(t scim.Token, text string, err error) (Token, error) {
	if err != nil {
		return Token{}, err
	}
	created := newToken(t)
	created.Text = Secret(text)
	return created, nil
}

// RevokeToken makes a token invalid at once, and returns it. It is named by its id or its name.
func (a *Admin) RevokeToken(ctx context.Context, actor Actor, name string) (Token, error) {
	t, err := a.findToken(ctx, name)
	if err != nil {
		return Token{}, err
	}
	e := tokenEvent("revoked", map[string]string{"token": t.ID, "name": t.Name})
	err = a.perform(ctx, actor, action{event: e}, func(ctx context.Context) error {
		return a.provisioning.RevokeToken(ctx, t.ID)
	})
	return newToken(t), err
}

// findToken returns the token with this id or name. Of several with the same name, as after a rotation, it returns the
// only one that is valid; otherwise the name is ambiguous. Tokens from the token endpoint have no name of their own.
func (a *Admin) findToken(ctx context.Context, name string) (scim.Token, error) {
	all, err := a.provisioning.Tokens(ctx)
	if err != nil {
		return scim.Token{}, err
	}
	var named, valid []scim.Token
	for _, t := range all {
		switch {
		case t.ID == name:
			return t, nil
		case t.Name != name || t.Parent != "" || t.Damaged:
			continue
		}
		named = append(named, t)
		if !hasExpired(t) {
			valid = append(valid, t)
		}
	}
	if len(valid) > 0 {
		named = valid
	}
	switch len(named) {
	case 0:
		return scim.Token{}, fmt.Errorf("no token has the id or name %q; `sallyport token list` shows them", name)
	case 1:
		return named[0], nil
	}
	ids := make([]string, len(named))
	for i, t := range named {
		ids[i] = t.ID
	}
	return scim.Token{}, fmt.Errorf("%d tokens have the name %q; name one by its id: %s", len(named), name, strings.Join(ids, ", "))
}

func tokenEvent(reason string, detail map[string]string) audit.Event {
	return audit.Event{Kind: audit.KindToken, Reason: reason, Detail: detail}
}

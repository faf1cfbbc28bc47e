package admin

import (
	"context"
	"log/slog"
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
	Expires  *time.Time `json:"expires"` // nil: never
	LastUsed *time.Time `json:"last_used,omitempty"`
	Issued   string     `json:"issued_for,omitempty"` // what it was exchanged for at the token endpoint
}

func newToken(t scim.Token) Token {
	return Token{ID: t.ID, Name: t.Name, Created: t.Created, Expires: timeOrNil(t.Expires), LastUsed: timeOrNil(t.LastUsed), Issued: t.Parent}
}

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
	err = a.perform(ctx, actor, action{event: e}, func(ctx context.Context) error {
		return a.provisioning.AddToken(ctx, t)
	})
	return withText(t, text, err)
}

// RotateToken creates a token with the name of the one with this id, which expires after overlap at the latest. The new
// one expires after ttl (0: never).
func (a *Admin) RotateToken(ctx context.Context, actor Actor, id string, ttl, overlap time.Duration) (Token, error) {
	old, err := a.provisioning.Token(ctx, id)
	if err != nil {
		return Token{}, err
	}
	t, text, err := scim.NewToken(old.Name, ttl)
	if err != nil {
		return Token{}, err
	}
	e := tokenEvent("rotated", map[string]string{"token": t.ID, "name": t.Name, "former": id})
	err = a.perform(ctx, actor, action{event: e}, func(ctx context.Context) error {
		return a.provisioning.RotateToken(ctx, id, t, overlap)
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

// RevokeToken makes the token with this id invalid at once.
func (a *Admin) RevokeToken(ctx context.Context, actor Actor, id string) error {
	t, err := a.provisioning.Token(ctx, id)
	if err != nil {
		return err
	}
	e := tokenEvent("revoked", map[string]string{"token": id, "name": t.Name})
	return a.perform(ctx, actor, action{event: e}, func(ctx context.Context) error {
		return a.provisioning.RevokeToken(ctx, id)
	})
}

func tokenEvent(reason string, detail map[string]string) audit.Event {
	return audit.Event{Kind: audit.KindToken, Reason: reason, Detail: detail}
}

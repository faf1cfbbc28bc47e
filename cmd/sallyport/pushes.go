package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"sallyport/audit"
	"sallyport/scim"
)

// What operators ask about the identity provider's pushes: tokens, what is held,
// and the provisioning log.

// tokenRequest asks for a new provisioning token.
type tokenRequest struct {
	Name string        `json:"name"`
	TTL  time.Duration `json:"ttl"` // nanoseconds; 0: never expires
}

// tokenView is a provisioning token as operators see it; Token only at creation.
type tokenView struct {
	ID       string     `json:"id"`
	Name     string     `json:"name"`
	Token    string     `json:"token,omitempty"`
	Created  time.Time  `json:"created"`
	Expires  *time.Time `json:"expires"`
	LastUsed *time.Time `json:"last_used,omitempty"`
	Issued   string     `json:"issued_for,omitempty"` // what it was exchanged for at the token endpoint
}

func viewToken(t scim.Token) tokenView {
	return tokenView{ID: t.ID, Name: t.Name, Created: t.Created, Expires: timeOrNil(t.Expires), LastUsed: timeOrNil(t.LastUsed), Issued: t.Parent}
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (c *control) createToken(r *http.Request) (any, error) {
	var in tokenRequest
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		return nil, fmt.Errorf("reading the request: %w", err)
	}
	t, secret, err := scim.NewToken(in.Name, in.TTL)
	if err != nil {
		return nil, err
	}
	if err := c.scim.AddToken(r.Context(), t); err != nil {
		return nil, err
	}
	v := viewToken(t)
	v.Token = secret
	return v, c.note(audit.Event{Kind: audit.KindToken, Reason: "created", Detail: map[string]string{"token": t.ID, "name": t.Name}})
}

func (c *control) listTokens(r *http.Request) (any, error) {
	tokens, err := c.scim.Tokens(r.Context())
	views := make([]tokenView, 0, len(tokens))
	for _, t := range tokens {
		views = append(views, viewToken(t))
	}
	return views, err
}

func (c *control) revokeToken(r *http.Request) (any, error) {
	id := r.PathValue("id")
	if err := c.scim.RevokeToken(r.Context(), id); err != nil {
		return nil, err
	}
	return struct{}{}, c.note(audit.Event{Kind: audit.KindToken, Reason: "revoked", Detail: map[string]string{"token": id}})
}

// rotateToken makes a new token of the same name; the old one lives on for the
// time that replacing it at the identity provider takes.
func (c *control) rotateToken(r *http.Request) (any, error) {
	var in rotation
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		return nil, fmt.Errorf("reading the request: %w", err)
	}
	id := r.PathValue("id")
	old, err := c.scim.Token(r.Context(), id)
	if err != nil {
		return nil, err
	}
	t, secret, err := scim.NewToken(old.Name, in.TTL)
	if err != nil {
		return nil, err
	}
	if err := c.scim.RotateToken(r.Context(), id, t, in.Overlap); err != nil {
		return nil, err
	}
	v := viewToken(t)
	v.Token = secret
	return v, c.note(audit.Event{Kind: audit.KindToken, Reason: "rotated", Detail: map[string]string{"token": t.ID, "name": t.Name, "former": id}})
}

// rotation asks for a token's successor.
type rotation struct {
	TTL     time.Duration `json:"ttl"`     // of the new token, nanoseconds; 0: never expires
	Overlap time.Duration `json:"overlap"` // how long the old one lives on
}

// heldView is a deactivation that waits for a human.
type heldView struct {
	ID       string     `json:"id"`
	UserName string     `json:"userName"`
	Since    time.Time  `json:"since"`
	Rejected *time.Time `json:"rejected"` // nil: nobody decided yet
}

func (c *control) listHeld(r *http.Request) (any, error) {
	held, err := c.scim.Holds(r.Context())
	views := make([]heldView, 0, len(held))
	for _, h := range held {
		views = append(views, heldView{h.ID, h.UserName, h.Since, timeOrNil(h.Rejected)})
	}
	return views, err
}

// decision names the users whose deactivation is decided about; none: all.
type decision struct {
	Users []string `json:"users"`
}

func (c *control) releaseHeld(r *http.Request) (any, error) {
	return c.decide(r, "released", c.scim.Release)
}

func (c *control) rejectHeld(r *http.Request) (any, error) {
	return c.decide(r, "rejected", c.scim.Reject)
}

// decider is Release or Reject of [scim.Provisioning].
type decider func(context.Context, []string) (int, error)

func (c *control) decide(r *http.Request, word string, carryOut decider) (any, error) {
	var in decision
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		return nil, fmt.Errorf("reading the request: %w", err)
	}
	detail := map[string]string{"users": "all"}
	if len(in.Users) > 0 {
		detail["users"] = fmt.Sprint(len(in.Users))
		for i, user := range in.Users[:min(len(in.Users), 20)] {
			detail["user_"+strconv.Itoa(i+1)] = user
		}
	}
	if err := c.note(audit.Event{Kind: audit.KindSCIM, Reason: "held deactivations " + word, Detail: detail}); err != nil {
		return nil, err
	}
	n, err := carryOut(r.Context(), in.Users)
	return map[string]int{word: n}, err
}

func (c *control) listExchanges(r *http.Request) (any, error) {
	n, err := strconv.Atoi(r.URL.Query().Get("n"))
	if err != nil || n < 1 {
		return nil, fmt.Errorf("the number of entries must be 1 or more")
	}
	return c.scim.Log(r.Context(), n)
}

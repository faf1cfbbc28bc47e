// Package whoami says who the proxy takes a caller for: the JSON of /.sallyport/me.
package whoami

import (
	"encoding/json"
	"time"

	"sallyport/access"
	"sallyport/directory"
	"sallyport/grant"
	"sallyport/oidc"
	"sallyport/session"
)

// Caller is who calls, by a session or by a token.
type Caller struct {
	User     *directory.User  // nil for an application that calls for itself
	Held     *grant.Holdings  // what grants and reviews change for User; nil if nothing
	Session  *session.Session // nil for a token
	Token    *oidc.Identity   // nil for a session
	Revision uint64           // of the directory
}

// JSON returns what is said of c.
func (c Caller) JSON() ([]byte, error) { return json.Marshal(c.body()) }

type body struct {
	User     *userBody    `json:"user,omitempty"`
	App      *appBody     `json:"app,omitempty"` // set if an application calls for itself
	Groups   []groupBody  `json:"groups"`
	Session  *sessionBody `json:"session,omitempty"` // set if a browser calls
	Token    *tokenBody   `json:"token,omitempty"`   // set if a bearer token was sent
	Revision uint64       `json:"directory_revision"`
}

type userBody struct {
	ID          string   `json:"id"`
	ExternalID  string   `json:"external_id,omitempty"`
	UserName    string   `json:"user_name"`
	DisplayName string   `json:"display_name,omitempty"`
	Email       string   `json:"email,omitempty"`
	Roles       []string `json:"roles,omitempty"`
}

type appBody struct {
	ID    string   `json:"id"`
	Roles []string `json:"roles,omitempty"`
}

type groupBody struct {
	ID   string `json:"id,omitempty"` // the id that the identity provider gave it
	Name string `json:"name"`
}

type sessionBody struct {
	ID            string    `json:"id"`
	Began         time.Time `json:"began"`
	Authenticated time.Time `json:"authenticated,omitzero"` // not of a session that began without a login
	Expires       time.Time `json:"expires"`
	BreakGlass    bool      `json:"break_glass,omitempty"` // it began by a code, without a login at the identity provider
}

type tokenBody struct {
	Issuer  string    `json:"issuer"`
	Expires time.Time `json:"expires"`
}

func (c Caller) body() body {
	b := body{Groups: []groupBody{}, Revision: c.Revision}
	if t := c.Token; t != nil {
		b.Token = &tokenBody{Issuer: t.Issuer, Expires: t.Expires}
		if t.App != "" {
			b.App = &appBody{t.App, t.Roles}
			return b
		}
	}
	u := c.User
	b.User = &userBody{ID: u.ID, ExternalID: u.ExternalID, UserName: u.UserName, DisplayName: u.DisplayName, Email: u.Email, Roles: u.Roles}
	for i, id := range u.GroupIDs {
		if access.Revoked(c.Held, u, i) {
			continue
		}
		b.Groups = append(b.Groups, groupBody{ID: id, Name: u.GroupNames[i]})
	}
	if s := c.Session; s != nil {
		b.Session = &sessionBody{ID: s.ID, Began: s.Began, Authenticated: s.Authenticated, Expires: s.Expires, BreakGlass: s.IsBreakGlass()}
	}
	return b
}

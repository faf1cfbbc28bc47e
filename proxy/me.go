package proxy

import (
	"encoding/json"
	"net/http"
	"time"

	"sallyport/directory"
	"sallyport/proxy/internal/header"
)

// me is the JSON of /.sallyport/me: who the proxy takes the caller for.
type me struct {
	User     *meUser    `json:"user,omitempty"`
	App      *meApp     `json:"app,omitempty"` // set if an application calls for itself
	Groups   []meGroup  `json:"groups"`
	Session  *meSession `json:"session,omitempty"` // set if a browser calls
	Token    *meToken   `json:"token,omitempty"`   // set if a bearer token was sent
	Revision uint64     `json:"directory_revision"`
}

type meUser struct {
	ID          string   `json:"id"`
	ExternalID  string   `json:"external_id,omitempty"`
	UserName    string   `json:"user_name"`
	DisplayName string   `json:"display_name,omitempty"`
	Email       string   `json:"email,omitempty"`
	Roles       []string `json:"roles,omitempty"`
}

type meApp struct {
	ID    string   `json:"id"`
	Roles []string `json:"roles,omitempty"`
}

type meGroup struct {
	ID   string `json:"id,omitempty"` // the id that the identity provider gave it
	Name string `json:"name"`
}

type meSession struct {
	ID            string    `json:"id"`
	Began         time.Time `json:"began"`
	Authenticated time.Time `json:"authenticated"`
	Expires       time.Time `json:"expires"`
}

type meToken struct {
	Issuer  string    `json:"issuer"`
	Expires time.Time `json:"expires"`
}

// me returns who the proxy takes the caller for.
func (p *Proxy) me(w http.ResponseWriter, r *http.Request, req *request) *denial {
	user, denied := p.identifyInternal(r, req)
	if denied != nil {
		return denied
	}
	body, err := json.Marshal(meOf(req.caller, user, p.directory.Revision()))
	if err != nil {
		return deny(internalError, err.Error())
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(body, '\n'))
	return nil
}

// identifyInternal sets the caller of a request for one of our own paths, which accept both sessions and bearer tokens,
// and returns the user; nil for an application. An anonymous caller is denied.
func (p *Proxy) identifyInternal(r *http.Request, req *request) (*directory.User, *denial) {
	token, ok, err := header.BearerToken(r.Header)
	var denied *denial
	switch {
	case err != nil:
		denied = deny(tokenRefused, err.Error())
	case ok:
		denied = p.identifyBearer(r.Context(), req, token, false)
	default:
		denied = p.identifySession(r.Header, req)
	}
	switch {
	case denied != nil:
		return nil, denied
	case req.caller == nil && req.sessionError != "":
		return nil, deny(req.sessionError, "")
	case req.caller == nil:
		return nil, deny(notSignedIn, "")
	}
	user, denied := p.currentUser(req)
	if denied == nil {
		p.authenticated(r.Context())
	}
	return user, denied
}

// currentUser returns what the directory says now of the caller of req.
func (p *Proxy) currentUser(req *request) (*directory.User, *denial) {
	if err := p.directory.Fresh(); err != nil {
		return nil, deny(directoryStale, err.Error())
	}
	return p.checkUser(req.caller, req.received)
}

func meOf(c *caller, user *directory.User, revision uint64) me {
	m := me{Groups: []meGroup{}, Revision: revision}
	if c.app() != "" {
		m.App = &meApp{c.app(), c.token.Roles}
		m.Token = &meToken{Issuer: c.token.Issuer, Expires: c.token.Expires}
		return m
	}
	m.User = &meUser{ID: user.ID, ExternalID: user.ExternalID, UserName: user.UserName,
		DisplayName: user.DisplayName, Email: user.Email, Roles: user.Roles}
	for i, id := range user.GroupIDs {
		m.Groups = append(m.Groups, meGroup{ID: id, Name: user.GroupNames[i]})
	}
	if s := c.session; s != nil {
		m.Session = &meSession{ID: s.ID, Began: s.Began, Authenticated: s.Authenticated, Expires: s.Expires}
	}
	if t := c.token; t != nil {
		m.Token = &meToken{Issuer: t.Issuer, Expires: t.Expires}
	}
	return m
}

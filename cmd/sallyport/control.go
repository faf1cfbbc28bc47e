package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"sallyport/audit"
	"sallyport/directory"
	"sallyport/scim"
	"sallyport/session"
	"sallyport/store/bolt"
)

// control answers the operator's verbs: over the Unix socket of a running
// server, or within the verb's own process when no server runs. Whoever can
// open the socket (mode 0600) may do all of it.
type control struct {
	store     *bolt.Store
	directory *directory.Directory
	scim      *scim.Provisioning
	sessions  *session.Sessions
	record    *audit.Log
	reload    func(context.Context) error // nil when no server runs
	log       *slog.Logger
}

func (c *control) handler() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, f func(*http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { c.answer(w, r, f) })
	}
	handle("GET /tokens", c.listTokens)
	handle("POST /tokens", c.createToken)
	handle("DELETE /tokens/{id}", c.revokeToken)
	handle("POST /tokens/{id}/successor", c.rotateToken)
	handle("GET /users", c.listUsers)
	handle("POST /users/{user}/suspension", c.suspendUser)
	handle("DELETE /users/{user}/suspension", c.unsuspendUser)
	handle("GET /groups", c.listGroups)
	handle("GET /sessions", c.listSessions)
	handle("DELETE /sessions/{id}", c.endSession)
	handle("DELETE /users/{user}/sessions", c.endUserSessions)
	handle("POST /reload", c.reloadConfig)
	handle("GET /held", c.listHeld)
	handle("POST /held/release", c.releaseHeld)
	handle("POST /held/reject", c.rejectHeld)
	handle("GET /exchanges", c.listExchanges)
	handle("GET /facts", c.facts)
	mux.HandleFunc("GET /backup", c.backup)
	return mux
}

// answer writes what f returned as JSON; errors become {"error": …}.
func (c *control) answer(w http.ResponseWriter, r *http.Request, f func(*http.Request) (any, error)) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	v, err := f(r)
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusUnprocessableEntity)
		v = map[string]string{"error": err.Error()}
	}
	if err := json.NewEncoder(w).Encode(v); err != nil {
		c.log.Debug("control answer not delivered", "err", err)
	}
}

// userView is a user as operators see them.
type userView struct {
	ID         string `json:"id"`
	UserName   string `json:"userName"`
	ExternalID string `json:"externalId"`
	Name       string `json:"displayName"`
	Email      string `json:"email"`
	Active     bool   `json:"active"`
	Suspended  string `json:"suspended,omitempty"` // an operator's reason
}

func (c *control) listUsers(r *http.Request) (any, error) {
	views := []userView{}
	err := c.directory.View(r.Context(), func(tx *directory.Tx) error {
		for u, err := range tx.Users("") {
			if err != nil {
				return err
			}
			view := userView{ID: u.ID, UserName: u.UserName, ExternalID: u.ExternalID, Name: u.DisplayName, Email: u.Email, Active: u.Active}
			if s, err := tx.Suspension(u.ID); err == nil {
				view.Suspended = s.Reason
			} else if !errors.Is(err, directory.ErrNotFound) {
				return err
			}
			views = append(views, view)
		}
		return nil
	})
	return views, err
}

// groupView is a group as operators see it.
type groupView struct {
	ID         string `json:"id"`
	Name       string `json:"displayName"`
	ExternalID string `json:"externalId"`
	Members    int    `json:"members"`
}

func (c *control) listGroups(*http.Request) (any, error) {
	views := []groupView{}
	for _, g := range c.directory.Groups() {
		views = append(views, groupView{g.ID, g.DisplayName, g.ExternalID, g.Members})
	}
	return views, nil
}

// sessionView is a session as operators see it.
type sessionView struct {
	ID       string    `json:"id"`
	User     string    `json:"user"`
	UserName string    `json:"userName"`
	Address  string    `json:"address"`
	Began    time.Time `json:"began"`
	Used     time.Time `json:"used"`
	Expires  time.Time `json:"expires"`
}

func (c *control) listSessions(*http.Request) (any, error) {
	views := []sessionView{}
	for _, s := range c.sessions.List() {
		if u, ok := c.directory.ByID(s.User); !ok || !u.Active || u.Epoch != s.Epoch {
			continue // over with its user's leaving
		}
		views = append(views, sessionView{s.ID, s.User, s.UserName, s.Address, s.Began, s.Used, s.Expires})
	}
	return views, nil
}

func (c *control) endSession(r *http.Request) (any, error) {
	id := r.PathValue("id")
	if _, err := c.sessions.Live(id); err != nil {
		return nil, fmt.Errorf("no live session has the id %q; `sallyport sessions list` shows them", id)
	}
	if err := c.note(audit.Event{Kind: audit.KindEnd, Session: id, Reason: string(session.ReasonOperator)}); err != nil {
		return nil, err
	}
	return map[string]int{"ended": 1}, c.sessions.End(r.Context(), id, session.ReasonOperator)
}

func (c *control) endUserSessions(r *http.Request) (any, error) {
	user := r.PathValue("user")
	if err := c.note(audit.Event{Kind: audit.KindEnd, User: user, Reason: string(session.ReasonOperator)}); err != nil {
		return nil, err
	}
	n, err := c.sessions.EndUser(r.Context(), user, session.ReasonOperator)
	return map[string]int{"ended": n}, err
}

var errNoServer = errors.New("no server is running")

func (c *control) reloadConfig(r *http.Request) (any, error) {
	if c.reload == nil {
		return nil, errNoServer
	}
	return struct{}{}, c.reload(r.Context())
}

func (c *control) backup(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Trailer", "Sallyport-Error")
	if err := c.store.Backup(r.Context(), w); err != nil {
		w.Header().Set("Sallyport-Error", err.Error())
		c.log.Error("backup failed", "err", err)
	}
}

// note writes an audit event about what an operator does.
func (c *control) note(e audit.Event) error {
	e.Time = time.Now().UTC()
	return c.record.Write(e)
}

// listenControl opens the control socket. A socket left behind by a server
// that is gone is replaced; one that answers means another server runs.
func listenControl(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("making the control socket's folder: %w", err)
	}
	if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
		_ = conn.Close()
		return nil, fmt.Errorf("control socket %s is answered by another server; stop it, or give control.socket another path", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("removing the control socket a former server left: %w", err)
	}
	return listenPrivate(path)
}

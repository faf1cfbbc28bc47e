package session_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"sallyport/session"
)

// model is the simplest implementation of sessions.
type model struct {
	settings session.Settings
	sessions map[string]*modelSession
	tokens   map[string]modelToken
	tickets  map[string]modelTicket
}

type modelSession struct {
	user    string
	expires time.Time
	used    time.Time
	ended   bool
	expired bool
}

type modelToken struct{ session, host string }

type modelTicket struct {
	session, host, bind string
	expires             time.Time
}

// live returns the error that Live should return.
func (m *model) live(id string) error {
	s := m.sessions[id]
	switch {
	case s.ended:
		return session.ErrEnded
	case s.expired || !time.Now().Before(s.expires) || time.Since(s.used) >= m.settings.Idle:
		s.expired = true
		return session.ErrExpired
	}
	return nil
}

var (
	machineHosts = []string{app, login, "api.example.com"}
	machineUsers = []string{"u1", "u2"}
)

// TestSessions_MatchModel does random things with sessions, time and restarts, and compares every result with the
// model's. It stays below the bounds on sessions, tokens and tickets, which have tests of their own.
func TestSessions_MatchModel(t *testing.T) {
	settings := session.Settings{Lifetime: 3 * time.Hour, Idle: time.Hour, MaxSessions: 1000}
	rapid.Check(t, func(rt *rapid.T) {
		var failed any // rapid fails by panicking, which must not happen to the bubble's goroutine
		synctest.Test(t, func(t *testing.T) {
			defer func() { failed = recover() }()
			matchModel(t, rt, settings)
		})
		if failed != nil {
			panic(failed)
		}
	})
}

func matchModel(t *testing.T, rt *rapid.T, settings session.Settings) {
	h := open(t, settings, "")
	defer func() { h.stop() }()
	m := &model{settings: settings, sessions: map[string]*modelSession{}, tokens: map[string]modelToken{}, tickets: map[string]modelTicket{}}
	ctx := t.Context()
	wantError := func(t *rapid.T, doing string, got, want error) {
		if !errors.Is(got, want) || (got == nil) != (want == nil) {
			t.Fatalf("%s: %v, want %v", doing, got, want)
		}
	}
	anyID := func(t *rapid.T) string { return choose(t, maps.Keys(m.sessions)) }
	rt.Repeat(map[string]func(*rapid.T){
		"begin": func(t *rapid.T) {
			user := rapid.SampledFrom(machineUsers).Draw(t, "user")
			begun, err := h.Begin(ctx, session.Session{User: user})
			wantError(t, "Begin", err, nil)
			m.sessions[begun.ID] = &modelSession{user: user, used: time.Now(), expires: time.Now().Add(settings.Lifetime)}
		},
		"new token": func(t *rapid.T) {
			id, host := anyID(t), rapid.SampledFrom(machineHosts).Draw(t, "host")
			for _, token := range m.tokens {
				if token == (modelToken{id, host}) {
					t.Skip("it has one already")
				}
			}
			cookie, err := h.NewToken(ctx, id, host)
			wantError(t, "NewToken", err, m.live(id))
			if err == nil {
				m.tokens[cookie] = modelToken{id, host}
			}
		},
		"ticket": func(t *rapid.T) {
			id, host := anyID(t), rapid.SampledFrom(machineHosts).Draw(t, "host")
			bind := fmt.Sprint(rapid.IntRange(0, 2).Draw(t, "bind"))
			for _, ticket := range m.tickets {
				if ticket.session == id {
					t.Skip("it has one already")
				}
			}
			text, err := h.Ticket(ctx, id, host, bind)
			wantError(t, "Ticket", err, m.live(id))
			if err == nil {
				m.tickets[text] = modelTicket{id, host, bind, time.Now().Add(time.Minute)}
			}
		},
		"redeem": func(t *rapid.T) {
			text := choose(t, maps.Keys(m.tickets))
			ticket := m.tickets[text]
			host := rapid.SampledFrom(machineHosts).Draw(t, "host")
			bind := fmt.Sprint(rapid.IntRange(0, 2).Draw(t, "bind"))
			delete(m.tickets, text)
			want := m.live(ticket.session)
			if host != ticket.host || bind != ticket.bind || !time.Now().Before(ticket.expires) {
				want = session.ErrNone
			}
			cookie, _, err := h.Redeem(ctx, text, host, bind)
			wantError(t, "Redeem", err, want)
			_, _, err = h.Redeem(ctx, text, ticket.host, ticket.bind)
			wantError(t, "Redeem again", err, session.ErrNone)
			if cookie != "" {
				m.tokens[cookie] = modelToken{ticket.session, host}
			}
		},
		"read": func(t *rapid.T) {
			cookie := choose(t, maps.Keys(m.tokens))
			token, host := m.tokens[cookie], rapid.SampledFrom(machineHosts).Draw(t, "host")
			want := m.live(token.session)
			if host != token.host {
				want = session.ErrNone
			}
			got, err := h.Read(cookie, host)
			wantError(t, "Read", err, want)
			if err == nil {
				if got.ID != token.session || got.User != m.sessions[token.session].user {
					t.Fatalf("read %+v", got)
				}
				m.sessions[token.session].used = time.Now()
			}
		},
		"use": func(t *rapid.T) {
			id := anyID(t)
			want := m.live(id)
			h.Use(id).Note()
			_, err := h.Live(id)
			wantError(t, "Live", err, want)
			if want == nil {
				m.sessions[id].used = time.Now()
			}
		},
		"end": func(t *rapid.T) {
			id := anyID(t)
			want := m.live(id)
			err := h.End(ctx, id, session.ReasonLogout)
			if want != nil && !m.sessions[id].ended { // expired, but perhaps not swept yet
				return
			}
			if want != nil {
				want = session.ErrNone
			}
			wantError(t, "End", err, want)
			m.sessions[id].ended = true
		},
		"end user": func(t *rapid.T) {
			user := rapid.SampledFrom(machineUsers).Draw(t, "user")
			_, err := h.EndUser(ctx, user, session.ReasonUser)
			wantError(t, "EndUser", err, nil)
			for id, s := range m.sessions {
				if s.user == user && m.live(id) == nil {
					s.ended = true
				}
			}
		},
		"sleep": func(t *rapid.T) {
			time.Sleep(time.Duration(rapid.IntRange(1, 45*60).Draw(t, "seconds")) * time.Second)
			synctest.Wait()
		},
		"restart": func(t *rapid.T) {
			time.Sleep(time.Minute) // by then every use is stored
			synctest.Wait()
			h = h.restart(settings)
		},
		"": func(t *rapid.T) {
			for id, s := range m.sessions {
				if time.Now().After(s.expires.Add(time.Hour)) { // deleted by the sweep
					delete(m.sessions, id)
					maps.DeleteFunc(m.tokens, func(_ string, token modelToken) bool { return token.session == id })
					maps.DeleteFunc(m.tickets, func(_ string, ticket modelTicket) bool { return ticket.session == id })
				}
			}
			live := 0
			for id := range m.sessions {
				if m.live(id) == nil {
					live++
				}
			}
			if n := len(h.List()); n != live {
				t.Fatalf("%d sessions are live, want %d", n, live)
			}
		},
	})
}

// choose draws one of keys. A replayed seed draws the same one, as far as keys are not random.
func choose(t *rapid.T, keys func(func(string) bool)) string {
	all := slices.Sorted(keys)
	if len(all) == 0 {
		t.Skip("there is none yet")
	}
	return all[rapid.IntRange(0, len(all)-1).Draw(t, "which")]
}

package session

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"sallyport/store"
)

const (
	ticketLifetime = time.Minute
	ticketsKept    = 8 // outstanding tickets of one session; the oldest go first
	grantsKept     = 4 // tokens of one session on one host: tabs that log in at once each get one
)

// Grant makes the token by which a browser shows host that it has the session: the value of its cookie there. It is
// returned this once; the store holds its SHA-256.
func (s *Sessions) Grant(ctx context.Context, id, host string) (cookie string, err error) {
	cookie = newToken()
	err = s.update(ctx, func(w store.Writer) error {
		if _, err := s.liveIn(w, id); err != nil {
			return err
		}
		return s.putGrant(w, id, host, cookie)
	})
	if err != nil {
		return "", fmt.Errorf("granting a session to %s: %w", host, err)
	}
	return cookie, nil
}

// liveIn reads a session's record from the store and says whether it lives.
func (s *Sessions) liveIn(r store.Reader, id string) (record, error) {
	e := s.entry(id)
	if e == nil {
		return record{}, ErrNone
	}
	one, err := readRecord(r, e.record.Load().User, id)
	if err != nil {
		return record{}, err
	}
	return one, s.standing(e, &one, s.clock.now())
}

// putGrant stores a token and drops the oldest beyond grantsKept on that host.
func (s *Sessions) putGrant(w store.Writer, id, host, cookie string) error {
	type kept struct {
		key  []byte
		made time.Time
	}
	var had []kept
	for e, err := range w.Scan([]byte(prefixGrant+id+"/"), nil) {
		var g grantRecord
		if err != nil && !errors.Is(err, store.ErrDamaged) {
			return err
		}
		if err == nil && json.Unmarshal(e.Value, &g) == nil && g.Host == host {
			had = append(had, kept{slices.Clone(e.Key), g.Made})
		}
	}
	slices.SortFunc(had, func(a, b kept) int { return a.made.Compare(b.made) })
	for ; len(had) >= grantsKept; had = had[1:] {
		if err := w.Delete(had[0].key); err != nil {
			return err
		}
	}
	d, _ := digestOf(cookie)
	return put(w, tokenKey(prefixGrant, id, d), grantRecord{Host: host, Made: s.clock.now()})
}

// Ticket makes a ticket that carries a session to another host: good once, for a minute, on that host, for the
// browser that knows bind.
func (s *Sessions) Ticket(ctx context.Context, id, host, bind string) (string, error) {
	ticket := id + newToken()
	err := s.update(ctx, func(w store.Writer) error {
		if _, err := s.liveIn(w, id); err != nil {
			return err
		}
		if err := s.dropTickets(w, id); err != nil {
			return err
		}
		d, _ := digestOf(ticket[len(id):])
		return put(w, tokenKey(prefixTicket, id, d), ticketRecord{Host: host, Bind: bind, Expires: s.clock.now().Add(ticketLifetime)})
	})
	if err != nil {
		return "", fmt.Errorf("making a ticket for %s: %w", host, err)
	}
	return ticket, nil
}

// dropTickets makes room for one more ticket of a session: the expired go, and the oldest.
func (s *Sessions) dropTickets(w store.Writer, id string) error {
	type kept struct {
		key     []byte
		expires time.Time
	}
	var had []kept
	for e, err := range w.Scan([]byte(prefixTicket+id+"/"), nil) {
		var t ticketRecord
		if err != nil && !errors.Is(err, store.ErrDamaged) {
			return err
		}
		if err != nil || json.Unmarshal(e.Value, &t) != nil {
			t = ticketRecord{} // unreadable: first to go
		}
		had = append(had, kept{slices.Clone(e.Key), t.Expires})
	}
	slices.SortFunc(had, func(a, b kept) int { return a.expires.Compare(b.expires) })
	now := s.clock.now()
	for ; len(had) > 0 && (len(had) >= ticketsKept || !now.Before(had[0].expires)); had = had[1:] {
		if err := w.Delete(had[0].key); err != nil {
			return err
		}
	}
	return nil
}

// Redeem turns a ticket into a cookie value for host: ErrNone if the ticket is unknown, used, expired, or meant for
// another host or browser (it is then used up all the same); ErrExpired or ErrEnded if its session is over.
func (s *Sessions) Redeem(ctx context.Context, ticket, host, bind string) (cookie string, session *Session, err error) {
	id, d, ok := parseTicket(ticket)
	if !ok || !s.knows(ctx, tokenKey(prefixTicket, id, d)) {
		return "", nil, ErrNone
	}
	cookie = newToken()
	var verdict error // committed along with the ticket's end, unlike an error of the transaction
	err = s.update(ctx, func(w store.Writer) (err error) {
		if verdict, err = s.spend(w, id, d, host, bind); err != nil || verdict != nil {
			return err
		}
		return s.putGrant(w, id, host, cookie)
	})
	if err != nil {
		return "", nil, fmt.Errorf("redeeming a ticket for %s: %w", host, err)
	}
	if verdict != nil {
		return "", nil, verdict
	}
	session, err = s.Live(id)
	return cookie, session, err
}

// knows says whether the store has key, so that made-up tickets cost no write.
func (s *Sessions) knows(ctx context.Context, key []byte) bool {
	err := s.store.View(ctx, func(r store.Reader) error {
		_, err := r.Get(key)
		return err
	})
	return err == nil
}

// spend uses a ticket up and says in verdict what is wrong with it.
func (s *Sessions) spend(w store.Writer, id string, d digest, host, bind string) (verdict, err error) {
	var t ticketRecord
	key := tokenKey(prefixTicket, id, d)
	switch err := read(w, key, &t); {
	case errors.Is(err, store.ErrNotFound):
		return ErrNone, nil
	case err != nil && !errors.Is(err, store.ErrDamaged):
		return nil, err
	}
	if err := w.Delete(key); err != nil {
		return nil, err
	}
	if t.Host == "" || t.Host != host || t.Bind != bind || !s.clock.now().Before(t.Expires) {
		return ErrNone, nil
	}
	_, err = s.liveIn(w, id)
	if errors.Is(err, ErrNone) || errors.Is(err, ErrEnded) || errors.Is(err, ErrExpired) {
		return err, nil
	}
	return nil, err
}

// parseTicket splits a ticket into the id of its session and the digest of its token.
func parseTicket(ticket string) (id string, d digest, ok bool) {
	const idLength = 32
	if len(ticket) != idLength+tokenLength {
		return "", d, false
	}
	id = ticket[:idLength]
	if bits, err := hex.DecodeString(id); err != nil || hex.EncodeToString(bits) != id {
		return "", d, false
	}
	d, ok = digestOf(ticket[idLength:])
	return id, d, ok
}

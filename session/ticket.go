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
	maxTickets     = 32 // outstanding tickets of one session; the oldest is deleted first
)

// Ticket makes a ticket that carries a session to another host: valid once, for a minute, on that host, for the
// browser that presents bind.
func (s *Sessions) Ticket(ctx context.Context, id, host, bind string) (string, error) {
	ticket := id + newToken()
	err := s.update(ctx, func(w store.Writer) error {
		if _, err := s.checkIn(w, id); err != nil {
			return err
		}
		if err := s.limitTickets(w, id); err != nil {
			return err
		}
		d, _ := digestOf(ticket[len(id):])
		return putJSON(w, tokenKey(prefixTicket, id, d), ticketRecord{Host: host, Bind: bind, Expires: s.clock.now().Add(ticketLifetime)})
	})
	if err != nil {
		return "", fmt.Errorf("making a ticket for %s: %w", host, err)
	}
	return ticket, nil
}

// limitTickets deletes the expired tickets of a session, and the oldest, so that one more stays within maxTickets.
func (s *Sessions) limitTickets(w store.Writer, id string) error {
	type stored struct {
		key     []byte
		expires time.Time
	}
	var tickets []stored
	for e, err := range w.Scan([]byte(prefixTicket+id+"/"), nil) {
		var t ticketRecord
		if err != nil && !errors.Is(err, store.ErrDamaged) {
			return err
		}
		if err != nil || json.Unmarshal(e.Value, &t) != nil {
			t = ticketRecord{} // unreadable: it sorts first and counts as expired
		}
		tickets = append(tickets, stored{slices.Clone(e.Key), t.Expires})
	}
	slices.SortFunc(tickets, func(a, b stored) int { return a.expires.Compare(b.expires) })
	now := s.clock.now()
	for ; len(tickets) > 0 && (len(tickets) >= maxTickets || !now.Before(tickets[0].expires)); tickets = tickets[1:] {
		if err := w.Delete(tickets[0].key); err != nil {
			return err
		}
	}
	return nil
}

// Redeem exchanges a ticket for a token on host. It returns [ErrNone] if the ticket is unknown, used, expired, or
// meant for another host or browser; the ticket is then used up nevertheless. It returns [ErrExpired] or [ErrEnded]
// if the session is.
func (s *Sessions) Redeem(ctx context.Context, ticket, host, bind string) (token string, session *Session, err error) {
	id, d, ok := parseTicket(ticket)
	if !ok {
		return "", nil, ErrNone
	}
	if err := s.demandTicket(ctx, id, d); err != nil {
		return "", nil, err
	}
	token = newToken()
	var denied error // committed with the deletion of the ticket, unlike an error of the transaction
	err = s.update(ctx, func(w store.Writer) (err error) {
		if denied, err = s.consume(w, id, d, host, bind); err != nil || denied != nil {
			return err
		}
		return s.putToken(w, id, host, token)
	})
	if err != nil {
		return "", nil, fmt.Errorf("redeeming a ticket for %s: %w", host, err)
	}
	if denied != nil {
		return "", nil, denied
	}
	session, err = s.Live(id)
	return token, session, err
}

// demandTicket returns [ErrNone] if there is no such ticket. It writes nothing, and reads the store only for a ticket that
// names a session: nobody can invent that, and of tickets that are invented, all that come at the same time share one
// question to the database.
func (s *Sessions) demandTicket(ctx context.Context, id string, d digest) error {
	if s.entry(id) == nil {
		if err := s.CatchUp(ctx); err != nil {
			return err
		}
	}
	if s.entry(id) == nil {
		return ErrNone
	}
	err := s.store.View(ctx, func(r store.Reader) error {
		_, err := r.Get(tokenKey(prefixTicket, id, d))
		return err
	})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return ErrNone
	case err != nil && !errors.Is(err, store.ErrDamaged): // a damaged ticket is used up, as every one is
		return fmt.Errorf("looking for a ticket: %w", err)
	}
	return nil
}

// consume deletes a ticket. denied says why it gives no token, or is nil.
func (s *Sessions) consume(w store.Writer, id string, d digest, host, bind string) (denied, err error) {
	var t ticketRecord
	key := tokenKey(prefixTicket, id, d)
	switch err := readJSON(w, key, &t); {
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
	_, err = s.checkIn(w, id)
	if errors.Is(err, ErrNone) || errors.Is(err, ErrEnded) || errors.Is(err, ErrExpired) {
		return err, nil
	}
	return nil, err
}

// parseTicket splits a ticket into the id of its session and the digest of its random part.
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

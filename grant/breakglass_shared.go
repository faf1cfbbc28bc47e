package grant

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"

	"sallyport/store"
)

// codeTimeout bounds how long the store is asked for a code.
const codeTimeout = 10 * time.Second

// armedCode is a code that is armed, as stored.
type armedCode struct {
	Arming
	Digest [32]byte `json:"digest"`
}

func (c *armedCode) key() []byte { return []byte(prefixArmed + c.User) }

// NewBreakGlass returns what holds the codes of a server with the grants g: in its store, if several replicas use that.
func NewBreakGlass(g *Grants) *BreakGlass {
	if _, ok := g.store.(store.Leaser); ok {
		return &BreakGlass{shared: g}
	}
	return &BreakGlass{}
}

// mayEnter reports whether the code may be entered at a time. Replicas have no monotonic clock in common.
func (c *armedCode) mayEnter(now time.Time) bool { return now.Round(0).Before(c.Enter) }

// armed returns the codes that may be entered. It reads memory only.
func (g *Grants) armed(now time.Time) (list []armedCode) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.memory.codes {
		if c.mayEnter(now) {
			list = append(list, *c)
		}
	}
	return list
}

// readArmed returns the codes in a store that may be entered, and the keys of the others.
func readArmed(r store.Reader, now time.Time) (list []armedCode, others [][]byte, err error) {
	for e, err := range r.Scan([]byte(prefixArmed), nil) {
		if err != nil && !errors.Is(err, store.ErrDamaged) {
			return nil, nil, err
		}
		var c armedCode
		if err != nil || decode(e.Key, e.Value, &c) != nil || !c.mayEnter(now) {
			others = append(others, []byte(string(e.Key)))
			continue
		}
		list = append(list, c)
	}
	return list, others, nil
}

func (b *BreakGlass) armShared(a Arming, lasting time.Duration, now time.Time) (code string, complete Arming, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), codeTimeout)
	defer cancel()
	code = newCode()
	a.Until, a.Enter = now.Add(lasting).Round(0).UTC(), now.Add(min(lasting, CodeLifetime)).Round(0).UTC()
	first := false
	err = b.shared.update(ctx, func(w store.Writer) error {
		list, others, err := readArmed(w, now)
		if err != nil {
			return err
		}
		first = len(list) == 0
		count := 0
		for _, c := range list {
			if c.User != a.User {
				count++
			}
		}
		if count >= maxArmed {
			return ErrTooManyArmed
		}
		for _, key := range others {
			if err := w.Delete(key); err != nil {
				return err
			}
		}
		return put(w, &armedCode{a, digestOf(code)})
	})
	if err != nil {
		return "", a, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if first {
		b.wrong = 0
	}
	return code, a, nil
}

func (b *BreakGlass) disarmShared(user string) (had bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), codeTimeout)
	defer cancel()
	err = b.shared.update(ctx, func(w store.Writer) error {
		store.Urgent(w)
		c := &armedCode{Arming: Arming{User: user}}
		switch err := read(w, c); {
		case errors.Is(err, ErrNone):
			had = false
			return nil
		case err != nil && !errors.Is(err, store.ErrDamaged):
			return err
		default:
			had = err == nil && c.mayEnter(time.Now())
		}
		return w.Delete([]byte(prefixArmed + user))
	})
	return had, err
}

func (b *BreakGlass) findShared(code string) (a Arming, ok bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), codeTimeout)
	defer cancel()
	err = b.shared.store.View(ctx, func(r store.Reader) error {
		list, _, err := readArmed(r, time.Now())
		a, ok = like(list, code)
		return err
	})
	if err != nil {
		return Arming{}, false, fmt.Errorf("looking for a break-glass code: %w", err)
	}
	return a, ok, nil
}

// like compares a code with all of a list, in a time that does not depend on which of them is like it.
func like(list []armedCode, code string) (found Arming, ok bool) {
	digest := digestOf(code)
	for _, c := range list {
		if subtle.ConstantTimeCompare(digest[:], c.Digest[:]) == 1 {
			found, ok = c.Arming, true
		}
	}
	return found, ok
}

// useShared deletes the code in the transaction that finds it, so that of several replicas one has it.
func (b *BreakGlass) useShared(code string) (a Arming, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), codeTimeout)
	defer cancel()
	err = b.shared.update(ctx, func(w store.Writer) error {
		list, _, err := readArmed(w, time.Now())
		if err != nil {
			return err
		}
		var ok bool
		if a, ok = like(list, code); !ok {
			return ErrCode
		}
		return w.Delete([]byte(prefixArmed + a.User))
	})
	if err != nil {
		return Arming{}, err
	}
	return a, nil
}

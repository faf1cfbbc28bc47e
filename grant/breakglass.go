package grant

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
)

// Bounds of break-glass codes.
const (
	CodeLifetime = 15 * time.Minute // how long a code may be entered after it was armed
	MinLasting   = time.Minute      // of the session that a code begins, from the arming on
	MaxLasting   = 12 * time.Hour

	maxArmed    = 100 // users with a code at the same time
	codeLength  = 28  // letters and digits: 140 random bits
	codeGroup   = 4   // letters and digits between two dashes
	maxCodeText = 200 // bytes of what a person enters
)

// codeDigits are the letters and digits of a code, without those that look like another (Crockford's base 32).
const codeDigits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// ErrTooManyArmed means that too many users have a code already.
var ErrTooManyArmed = errors.New("too many break-glass codes are armed; disarm one, or wait until they expire")

// ErrCode means that a code is wrong, was used, was disarmed or has expired. Nobody is told which of these.
var ErrCode = errors.New("the code is not valid")

// Arming is a permission to begin one session without a login at the identity provider: whose, by whom and why.
type Arming struct {
	User     string // the directory's id of the user
	UserName string
	Epoch    uint64 // of the user; a code of another epoch is not valid
	By       string // who armed it
	Reason   string
	Until    time.Time // when the session ends at the latest
	Enter    time.Time // until when the code may be entered
}

// BreakGlass holds the codes that are armed, in memory alone: a restart disarms them all. Where several replicas use one
// store, they are in the store instead, so that a code is valid on each replica and used once. It keeps the SHA-256 of a
// code and never the code. A user has one code at most. Its methods may be called concurrently. The zero BreakGlass holds
// none, in memory.
type BreakGlass struct {
	shared *Grants // whose store has the codes; nil: they are in memory

	mu    sync.Mutex // guards the fields below
	armed map[string]armed
	wrong int // codes that were wrong since a code was armed while none was
}

type armed struct {
	Arming
	digest [sha256.Size]byte
}

// Arm returns a new code with which a.User may begin a session that ends after lasting. It replaces the code that the user
// has. It sets the times of a.
func (b *BreakGlass) Arm(a Arming, lasting time.Duration) (code string, complete Arming, err error) {
	now := time.Now()
	if b.shared != nil {
		return b.armShared(a, lasting, now)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expire(now)
	if _, has := b.armed[a.User]; !has && len(b.armed) >= maxArmed {
		return "", a, ErrTooManyArmed
	}
	if len(b.armed) == 0 {
		b.armed, b.wrong = map[string]armed{}, 0
	}
	code = newCode()
	a.Until, a.Enter = now.Add(lasting), now.Add(min(lasting, CodeLifetime))
	b.armed[a.User] = armed{a, digestOf(code)}
	return code, a, nil
}

// Disarm forgets the code of a user and reports whether there was one.
func (b *BreakGlass) Disarm(user string) (bool, error) {
	if b.shared != nil {
		return b.disarmShared(user)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expire(time.Now())
	_, has := b.armed[user]
	delete(b.armed, user)
	return has, nil
}

// Has reports whether a user has a code that may be entered.
func (b *BreakGlass) Has(user string) bool {
	if b.shared != nil {
		return slices.ContainsFunc(b.shared.armed(time.Now()), func(c armedCode) bool { return c.User == user })
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expire(time.Now())
	_, has := b.armed[user]
	return has
}

// Armed reports whether there is a code that may be entered.
func (b *BreakGlass) Armed() bool {
	if b.shared != nil {
		return len(b.shared.armed(time.Now())) > 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expire(time.Now())
	return len(b.armed) > 0
}

// Find returns what a code permits, without using it, or [ErrCode] and how many codes were wrong so far. Another error
// means that it could not be found out.
func (b *BreakGlass) Find(code string) (a Arming, wrong int, err error) {
	var ok bool
	if b.shared != nil {
		if a, ok, err = b.findShared(code); err != nil {
			return Arming{}, 0, err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.shared == nil {
		a, ok = b.find(code)
	}
	if ok {
		return a, b.wrong, nil
	}
	b.wrong++
	return Arming{}, b.wrong, ErrCode
}

// Use uses a code up and returns what it permits, or [ErrCode].
func (b *BreakGlass) Use(code string) (Arming, error) {
	if b.shared != nil {
		return b.useShared(code)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	a, ok := b.find(code)
	if !ok {
		return Arming{}, ErrCode
	}
	delete(b.armed, a.User)
	return a, nil
}

// find compares a code with every one that may be entered, in a time that does not depend on which of them is like it. The
// caller holds b.mu.
func (b *BreakGlass) find(code string) (found Arming, ok bool) {
	b.expire(time.Now())
	digest := digestOf(code)
	for _, a := range b.armed {
		if subtle.ConstantTimeCompare(digest[:], a.digest[:]) == 1 {
			found, ok = a.Arming, true
		}
	}
	return found, ok
}

// expire forgets the codes that may no longer be entered, by the monotonic clock, which nobody sets back, or by the wall
// clock, which goes on while the machine sleeps. The caller holds b.mu.
func (b *BreakGlass) expire(now time.Time) {
	for user, a := range b.armed {
		if !now.Before(a.Enter) || !now.Round(0).Before(a.Enter.Round(0)) {
			delete(b.armed, user)
		}
	}
}

// newCode returns a random code in groups.
func newCode() string {
	var random [codeLength]byte
	rand.Read(random[:])
	var code strings.Builder
	for i, r := range random {
		if i > 0 && i%codeGroup == 0 {
			code.WriteByte('-')
		}
		code.WriteByte(codeDigits[int(r)%len(codeDigits)]) // 256 is a multiple of 32: every digit is equally likely
	}
	return code.String()
}

// digestOf returns the digest of a code, however its groups are set apart (chats and word processors replace dashes and
// blanks), in capitals or not, and with letters in place of the digits that they look like.
func digestOf(code string) [sha256.Size]byte {
	if len(code) > maxCodeText {
		code = ""
	}
	return sha256.Sum256([]byte(strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z':
			r -= 'a' - 'A'
		case unicode.In(r, unicode.Dash, unicode.White_Space, unicode.Cf):
			return -1
		}
		switch r {
		case 'O':
			return '0'
		case 'I', 'L':
			return '1'
		}
		return r
	}, code)))
}

package notice

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"sallyport/listen"
	"sallyport/scim"
)

// thresholds are how many days before the end of a certificate or a token an event tells of it.
var thresholds = []int{1, 3, 7, 14, 30}

const (
	day         = 24 * time.Hour
	expiryEvery = time.Minute // how often certificates and tokens are looked at
	untoldEvery = 2 * time.Second
)

// untoldFor is for how long a replica that does not lead remembers what is due as untold: if it leads by then, it tells, since
// the former one may have ended before it did. So what is due may be told twice, but is not lost.
const untoldFor = 5 * time.Minute

// Expiring tells of certificates and tokens that are about to expire. After a restart it tells again of those that it told
// of before. Of several replicas, the one that leads tells.
type Expiring struct {
	Leads        func(context.Context) (bool, error)
	Certificates func() []listen.InUse
	Tokens       func(context.Context) ([]scim.Token, error)
	Send         func(event string, data any) // must not wait
	Log          *slog.Logger

	told map[subject]threshold // what was due last
}

// threshold is the last threshold that something is within.
type threshold struct {
	days  int
	since time.Time // when it was found
	told  bool      // by this process
}

// subject is something that expires. What replaces it is another.
type subject struct {
	event   string
	name    string
	expires time.Time
}

// Run looks at once and every minute, until ctx ends.
func (x *Expiring) Run(ctx context.Context) error {
	for {
		x.look(ctx, time.Now())
		wait := expiryEvery
		if x.waits(time.Now()) {
			wait = untoldEvery
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// waits reports whether something is due that another replica has to tell of, or this one if it comes to lead.
func (x *Expiring) waits(now time.Time) bool {
	for _, last := range x.told {
		if !last.told && now.Sub(last.since) < untoldFor {
			return true
		}
	}
	return false
}

func (x *Expiring) look(ctx context.Context, now time.Time) {
	former := x.told
	x.told = map[subject]threshold{}
	leads, err := x.Leads(ctx)
	if err != nil && ctx.Err() == nil {
		x.Log.Debug("it is not known which replica tells of what expires", "err", err)
	}
	for _, c := range x.Certificates() {
		names := c.Names[:min(len(c.Names), maxNamed)]
		first := ""
		if len(names) > 0 {
			first = names[0]
		}
		s := subject{CertificateExpiring, first, c.NotAfter}
		// An ACME certificate is renewed when a third of its time is left, so what is earlier than that is no news.
		if days, ok := x.due(former, s, now, leads); ok && !(c.Renewed && time.Duration(days)*day*3 >= c.NotAfter.Sub(c.NotBefore)) {
			x.Send(CertificateExpiring, CertificateNotice{Names: names, More: len(c.Names) - len(names), Expires: c.NotAfter.UTC(), Days: days, Renewed: c.Renewed})
		}
	}
	tokens, err := x.Tokens(ctx)
	if err != nil {
		if ctx.Err() == nil {
			x.Log.Error("provisioning tokens that expire cannot be told of", "err", err)
		}
		for s, last := range former { // or each would be told of again
			if s.event == TokenExpiring {
				x.told[s] = last
			}
		}
		return
	}
	for _, t := range tokens {
		if t.Damaged || t.Parent != "" || t.Expires.IsZero() || replaced(t, tokens) {
			continue
		}
		if days, ok := x.due(former, subject{TokenExpiring, t.ID, t.Expires}, now, leads); ok {
			x.Send(TokenExpiring, TokenNotice{Token: t.ID, Name: t.Name, Expires: t.Expires, Days: days})
		}
	}
}

// due returns the threshold that s is within at now. ok is false if there is none, or if it is not to be told now: it was
// told before, or another replica leads.
func (x *Expiring) due(former map[subject]threshold, s subject, now time.Time, leads bool) (days int, ok bool) {
	left := s.expires.Sub(now)
	i := slices.IndexFunc(thresholds, func(days int) bool { return left <= time.Duration(days)*day })
	if i < 0 || left <= 0 {
		return 0, false
	}
	current, known := former[s]
	if !known || thresholds[i] < current.days {
		current = threshold{days: thresholds[i], since: now}
	}
	ok = leads && !current.told && now.Sub(current.since) < untoldFor
	current.told = current.told || ok
	x.told[s] = current
	return current.days, ok
}

// replaced reports whether another token of the same name is valid for longer, as after a rotation.
func replaced(t scim.Token, all []scim.Token) bool {
	return slices.ContainsFunc(all, func(other scim.Token) bool {
		return other.Name == t.Name && other.Parent == "" && !other.Damaged && (other.Expires.IsZero() || other.Expires.After(t.Expires))
	})
}

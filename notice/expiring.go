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
)

// Expiring tells of certificates and tokens that are about to expire. After a restart it tells again of those that it told
// of before.
type Expiring struct {
	Certificates func() []listen.InUse
	Tokens       func(context.Context) ([]scim.Token, error)
	Send         func(event string, data any) // must not wait
	Log          *slog.Logger

	told map[subject]int // the threshold that was told last
}

// subject is something that expires. What replaces it is another.
type subject struct {
	event   string
	name    string
	expires time.Time
}

// Run looks at once and every minute, until ctx ends.
func (x *Expiring) Run(ctx context.Context) error {
	tick := time.NewTicker(expiryEvery)
	defer tick.Stop()
	for {
		x.look(ctx, time.Now())
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (x *Expiring) look(ctx context.Context, now time.Time) {
	former := x.told
	x.told = map[subject]int{}
	for _, c := range x.Certificates() {
		names := c.Names[:min(len(c.Names), maxNamed)]
		first := ""
		if len(names) > 0 {
			first = names[0]
		}
		s := subject{CertificateExpiring, first, c.NotAfter}
		// An ACME certificate is renewed when a third of its time is left, so what is earlier than that is no news.
		if days, ok := x.due(former, s, now); ok && !(c.Renewed && time.Duration(days)*day*3 >= c.NotAfter.Sub(c.NotBefore)) {
			x.Send(CertificateExpiring, CertificateNotice{Names: names, More: len(c.Names) - len(names), Expires: c.NotAfter.UTC(), Days: days, Renewed: c.Renewed})
		}
	}
	tokens, err := x.Tokens(ctx)
	if err != nil {
		if ctx.Err() == nil {
			x.Log.Error("provisioning tokens that expire cannot be told of", "err", err)
		}
		for s, days := range former { // or each would be told of again
			if s.event == TokenExpiring {
				x.told[s] = days
			}
		}
		return
	}
	for _, t := range tokens {
		if t.Damaged || t.Parent != "" || t.Expires.IsZero() || replaced(t, tokens) {
			continue
		}
		if days, ok := x.due(former, subject{TokenExpiring, t.ID, t.Expires}, now); ok {
			x.Send(TokenExpiring, TokenNotice{Token: t.ID, Name: t.Name, Expires: t.Expires, Days: days})
		}
	}
}

// due returns the threshold that s is within at now. ok is false if there is none, or if it was told before.
func (x *Expiring) due(former map[subject]int, s subject, now time.Time) (days int, ok bool) {
	left := s.expires.Sub(now)
	i := slices.IndexFunc(thresholds, func(days int) bool { return left <= time.Duration(days)*day })
	if i < 0 || left <= 0 {
		return 0, false
	}
	x.told[s] = thresholds[i]
	last, told := former[s]
	return thresholds[i], !told || thresholds[i] < last
}

// replaced reports whether another token of the same name is valid for longer, as after a rotation.
func replaced(t scim.Token, all []scim.Token) bool {
	return slices.ContainsFunc(all, func(other scim.Token) bool {
		return other.Name == t.Name && other.Parent == "" && !other.Damaged && (other.Expires.IsZero() || other.Expires.After(t.Expires))
	})
}

package manage

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"sallyport/admin"
)

// rhythm is the picture of when identity providers sent requests.
type rhythm struct {
	*chart
	Every    string
	Gaps     []gap
	Untold   time.Time // from when on the provisioning log tells; zero if that is before the picture
	Refused  string
	Accepted string
}

// gap is a time in which no request came although one was due.
type gap struct {
	From, Until time.Time
	Long        string
	Open        bool
	X, Width    string
}

// rhythmOf returns the picture of a rhythm.
func (h *Handler) rhythmOf(r admin.Rhythm, until time.Time) *rhythm {
	p := &rhythm{chart: h.newChart("pushes", unitCount, true, r.From, r.Step, len(r.Accepted))}
	sum := func(counts []uint32) (n uint64) {
		for _, c := range counts {
			n += uint64(c)
		}
		return n
	}
	p.Accepted, p.Refused = thousands(sum(r.Accepted)), thousands(sum(r.Refused))
	p.add(h.say("overview.accepted"), "s4", p.Accepted, counted(r.Accepted))
	p.add(h.say("overview.refused"), "s3", p.Refused, counted(r.Refused))
	p.draw()
	if r.Every > 0 {
		p.Every = tookText(r.Every)
	}
	if r.Begins.After(r.From) {
		p.Untold = r.Begins
	}
	span := until.Sub(r.From)
	for _, g := range r.Gaps {
		begin, end := max(g.From.Sub(r.From), 0), min(g.Until.Sub(r.From), span)
		x := float64(begin) / float64(span) * chartWidth
		p.Gaps = append(p.Gaps, gap{From: g.From, Until: g.Until, Long: short(g.Until.Sub(g.From)), Open: g.Open,
			X: short1(x), Width: short1(max(float64(end)/float64(span)*chartWidth-x, 2))})
	}
	if len(p.Gaps) > 0 {
		p.Empty = false
	}
	slices.Reverse(p.Gaps)
	return p
}

// cuts is the picture of how soon requests were cut after a change of the directory.
type cuts struct {
	*chart
	Dots     string // of an SVG path
	Line     string // the y of the p99
	P50, P99 string
	Count    string
	Newest   []cut
}

// cut is a request that was cut.
type cut struct {
	Time          time.Time
	Name, Link    string
	Route, Reason string
	Took          string
}

// The axis of time-to-revoke is logarithmic, from a tenth of a millisecond to at least a second.
const fastest, leastSlow = .0001, 1 // seconds

// cutsOf returns the picture of requests that were cut.
func (h *Handler) cutsOf(f admin.Figures, until time.Time) *cuts {
	s := f.Summarize()
	p := &cuts{chart: h.newChart("revoke", unitSeconds, false, f.From, f.Step, f.Points), P50: tookOr(s.RevokeP50), P99: tookOr(s.RevokeP99), Count: thousands(s.Cuts)}
	slowest := float64(leastSlow)
	for _, c := range f.Revocations {
		for c.Took != nil && c.Took.Seconds() > slowest {
			slowest *= 10
		}
	}
	y := func(took time.Duration) string {
		share := math.Log(max(took.Seconds(), fastest)/fastest) / math.Log(slowest/fastest)
		return short1(chartHeight - 6 - min(share, 1)*(chartHeight-12))
	}
	span := until.Sub(f.From)
	var dots strings.Builder
	for _, c := range f.Revocations {
		if c.Took != nil {
			fmt.Fprintf(&dots, "M%s %sh.1", short1(float64(c.Time.Sub(f.From))/float64(span)*chartWidth), y(*c.Took))
		}
		if len(p.Newest) < cutsInTable {
			shown := cut{Time: c.Time, Name: c.UserName, Route: c.Route, Reason: h.reason(c.Reason), Took: tookOr(c.Took)}
			if shown.Name == "" {
				shown.Name = c.User
			}
			if people := h.hasPage("/people"); people != "" && c.User != "" {
				shown.Link = people + "/" + c.User
			}
			p.Newest = append(p.Newest, shown)
		}
	}
	p.Dots, p.Empty = dots.String(), dots.Len() == 0
	if s.RevokeP99 != nil {
		p.Line = y(*s.RevokeP99)
	}
	p.Top, p.Mid = p.label(slowest), p.label(math.Sqrt(slowest*fastest))
	return p
}

// health is how upstreams, replicas and certificates are.
type health struct {
	Replicas     []replicaRow
	Upstreams    []upstreamRow
	More         int // upstreams that are not shown, all of which are up
	Certificates []certificateRow
	Several      bool // replicas
}

type replicaRow struct {
	Name, Version, Wrong string
	Started              time.Time
	Live                 string
	Missing              bool
}

// upstreamRow is the targets of a route, as the replica sees them that sees the most of them down.
type upstreamRow struct {
	Route, Link   string
	Targets, Down int
	Checked       bool
}

type certificateRow struct {
	Names   string
	Expires time.Time
	Left    string
	Renewed bool
	Mark    string
}

// addState adds what the doctor found and how replicas are.
func (h *Handler) addState(ctx context.Context, actor admin.Actor, c *overviewContent) error {
	diagnosis, err := h.Admin.Diagnosis(ctx, actor)
	if err != nil && !errors.Is(err, admin.ErrNoServer) {
		return err
	}
	c.Diagnosis = diagnosis
	for _, f := range diagnosis.Findings {
		if f.State == "ok" {
			c.Fine++
			continue
		}
		c.Findings = append(c.Findings, finding{f.State, f.Check, strings.TrimSuffix(f.Detail, "; "+f.Fix), f.Fix})
	}
	order := []string{"fail", "warn", "unknown"}
	slices.SortStableFunc(c.Findings, func(a, b finding) int { return slices.Index(order, a.State) - slices.Index(order, b.State) })
	replicas, err := h.Admin.Replicas(ctx, actor)
	if err != nil && !errors.Is(err, admin.ErrNoServer) {
		return err
	}
	c.Health = h.healthOf(replicas)
	return nil
}

// healthOf puts together what replicas say.
func (h *Handler) healthOf(all admin.Replicas) (s health) {
	s.Several = len(all.Replicas)+len(all.Missing) > 1
	upstreams := map[string]admin.Upstream{}
	certificates := map[string]admin.Certificate{}
	for _, r := range all.Replicas {
		row := replicaRow{Name: r.Replica, Version: r.Version, Started: r.Started, Live: thousands(uint64(max(r.Live, 0)))} //nolint:gosec // not negative
		if row.Name == "" {
			row.Name = h.say("overview.this")
		}
		for _, wrong := range []string{r.Stale, r.Record, r.Store} {
			if wrong != "" && row.Wrong == "" {
				row.Wrong = wrong
			}
		}
		s.Replicas = append(s.Replicas, row)
		for _, u := range r.Upstreams {
			if known, ok := upstreams[u.Route]; !ok || u.Down > known.Down {
				upstreams[u.Route] = u
			}
		}
		for _, cert := range r.Certificates {
			names := strings.Join(cert.Names, ", ")
			if known, ok := certificates[names]; !ok || cert.Expires.Before(known.Expires) {
				certificates[names] = cert
			}
		}
	}
	for _, m := range all.Missing {
		s.Replicas = append(s.Replicas, replicaRow{Name: m.Replica, Wrong: m.Why, Missing: true})
	}
	s.addUpstreams(h, upstreams)
	s.addCertificates(certificates)
	return s
}

// addUpstreams adds upstreams: those first of which the most targets are down.
func (s *health) addUpstreams(h *Handler, upstreams map[string]admin.Upstream) {
	for _, u := range upstreams {
		row := upstreamRow{Route: u.Route, Targets: u.Targets, Down: u.Down, Checked: u.Checked}
		if routes := h.hasPage("/routes"); routes != "" {
			row.Link = routes + "/" + u.Route
		}
		s.Upstreams = append(s.Upstreams, row)
	}
	slices.SortFunc(s.Upstreams, func(a, b upstreamRow) int {
		if a.Down != b.Down {
			return b.Down - a.Down
		}
		return strings.Compare(a.Route, b.Route)
	})
	if len(s.Upstreams) > upstreamsShown {
		s.More = len(s.Upstreams) - upstreamsShown
		s.Upstreams = s.Upstreams[:upstreamsShown]
	}
}

// addCertificates adds certificates: those first that end first.
func (s *health) addCertificates(certificates map[string]admin.Certificate) {
	for names, c := range certificates {
		row := certificateRow{Names: names, Expires: c.Expires, Renewed: c.Renewed, Left: short(max(time.Until(c.Expires), 0)), Mark: "yes"}
		switch left := time.Until(c.Expires); {
		case left <= 0:
			row.Mark = "no"
		case left < certificateSoon:
			row.Mark = "fault"
		}
		s.Certificates = append(s.Certificates, row)
	}
	slices.SortFunc(s.Certificates, func(a, b certificateRow) int { return a.Expires.Compare(b.Expires) })
	s.Certificates = s.Certificates[:min(len(s.Certificates), upstreamsShown)]
}

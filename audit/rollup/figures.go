package rollup

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Query asks for figures over time. [Query.Fit] makes it one that every replica replies to alike.
type Query struct {
	From  time.Time     `json:"from"`
	Until time.Time     `json:"until"`
	Step  time.Duration `json:"step"`            // of a point
	Route string        `json:"route,omitempty"` // "" asks about all
	By    By            `json:"by,omitempty"`

	Without string `json:"without,omitempty"` // a route whose requests are left out
}

// By says how requests are told apart beside being allowed or denied.
type By string

// The values of By.
const (
	ByReason By = ""
	ByRoute  By = "route"
)

// The bounds of a query.
const (
	maxPoints      = 500
	maxSeries      = 40 // the rest is one of the route or reason [Other]
	maxRevocations = 500
)

// steps are the lengths of time of a point, each a multiple of the step of a resolution.
var steps = []time.Duration{
	5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute,
	15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour,
	24 * time.Hour, 7 * 24 * time.Hour,
}

// Fit returns the query with the finest step that has figures for the whole time and makes at most so many points, and with
// times that are multiples of it.
func (q Query) Fit(points int, now time.Time) Query {
	points = min(max(points, 1), maxPoints)
	if q.Until.IsZero() || q.Until.After(now) {
		q.Until = now
	}
	longest := 400 * 24 * time.Hour
	if q.From.Before(now.Add(-longest)) {
		q.From = now.Add(-longest)
	}
	if q.From.After(q.Until) {
		q.From = q.Until
	}
	for _, step := range steps {
		q.Step = step
		r := resolutionOf(step)
		from, until := q.From.Truncate(step), q.Until.Truncate(step).Add(step)
		if now.Sub(from) <= time.Duration(r.slots-2)*r.step && until.Sub(from)/step <= time.Duration(points)+1 {
			break
		}
	}
	q.From, q.Until = q.From.Truncate(q.Step).UTC(), q.Until.Truncate(q.Step).Add(q.Step).UTC()
	return q
}

// resolutionOf returns the coarsest resolution that has a step.
func resolutionOf(step time.Duration) resolution {
	best := resolutions[0]
	for _, r := range resolutions {
		if step%r.step == 0 {
			best = r
		}
	}
	return best
}

// Figures are what happened over time, in points of equal length.
type Figures struct {
	From   time.Time     `json:"from"`
	Step   time.Duration `json:"step"`
	Points int           `json:"points"`

	Requests []Requests  `json:"requests"`
	Seconds  []Durations `json:"seconds,omitempty"` // how long requests took, by point
	Sessions []int32     `json:"sessions"`          // -1: not known
	Live     []int32     `json:"live"`              // as above
	Pushes   []uint32    `json:"pushes"`            // changes that identity providers made
	Cuts     []uint32    `json:"cuts"`

	Revocations []Revocation `json:"revocations"` // the newest requests that were cut, the newest first

	Begins   time.Time `json:"begins"`             // of what was counted
	Counting bool      `json:"counting,omitempty"` // the record is still being read, the newest first
}

// Requests are the requests that were decided one way.
type Requests struct {
	Route  string   `json:"route,omitempty"`
	Reason string   `json:"reason,omitempty"`
	Allow  bool     `json:"allow"`
	Total  uint64   `json:"total"`
	Counts []uint32 `json:"counts"` // by point
}

// Durations are how many requests took how long, in buckets from the number First on.
type Durations struct {
	First  int      `json:"first"`
	Counts []uint32 `json:"counts"`
}

// Revocation is a live request that was cut.
type Revocation struct {
	Time     time.Time      `json:"time"`
	Took     *time.Duration `json:"took,omitempty"` // since the change of the directory that ended it arrived; nil if none did
	User     string         `json:"user,omitempty"`
	UserName string         `json:"user_name,omitempty"`
	Route    string         `json:"route"`
	Reason   string         `json:"reason"`
}

// Figures returns what a query asks for, which Fit has returned.
func (r *Rollup) Figures(q Query) Figures {
	f := emptyFigures(q)
	if q.Step <= 0 || f.Points == 0 {
		return f
	}
	r.mu.Lock()
	f.Begins, f.Counting = r.begins, r.rebuilds
	ring := r.ringOf(q.Step)
	f.Revocations = r.revocations(q)
	r.mu.Unlock()
	series := newSeriesSet(q.By)
	histograms := make([]histogram, f.Points)
	per := int64(q.Step / ring.step)
	first := ring.number(q.From.Unix())
	for point := range f.Points {
		r.mu.Lock() // for each point anew: decisions wait for it
		for number := first + int64(point)*per; number < first+int64(point+1)*per; number++ {
			if s := ring.find(number); s != nil {
				r.addSlot(&f, s, point, q, series)
				if s.seconds != nil {
					for i, n := range s.seconds {
						histograms[point][i] += n
					}
				}
			}
		}
		r.mu.Unlock()
	}
	for _, h := range histograms {
		f.Seconds = append(f.Seconds, h.trimmed())
	}
	f.Requests = append(f.Requests, series.list...)
	f.sort()
	return f
}

func emptyFigures(q Query) Figures {
	f := Figures{From: q.From, Step: q.Step, Requests: []Requests{}, Revocations: []Revocation{}}
	if q.Step > 0 {
		f.Points = int(min(max(q.Until.Sub(q.From)/q.Step, 0), maxPoints+1))
	}
	f.Sessions, f.Live, f.Pushes, f.Cuts = make([]int32, f.Points), make([]int32, f.Points), make([]uint32, f.Points), make([]uint32, f.Points)
	for i := range f.Points {
		f.Sessions[i], f.Live[i] = -1, -1
	}
	return f
}

func (r *Rollup) ringOf(step time.Duration) *ring {
	want := resolutionOf(step)
	for _, ring := range r.rings {
		if ring.resolution == want {
			return ring
		}
	}
	return r.rings[0]
}

// seriesSet is the series of a query, by what its cells have in common: the reason or the route, and the decision.
type seriesSet struct {
	list    []Requests
	reasons [256]int32       // the place of each in list, from 1
	routes  map[uint32]int32 // as above; nil unless requests are told apart by route
}

func newSeriesSet(by By) *seriesSet {
	s := new(seriesSet)
	if by == ByRoute {
		s.routes = map[uint32]int32{}
	}
	return s
}

// find returns the series of a cell, which is made if there is none yet.
func (s *seriesSet) find(r *Rollup, key uint32, points int) *Requests {
	at := s.reasons[key&0xff]
	if s.routes != nil {
		at = s.routes[key&^0xfe]
	}
	if at == 0 {
		one := Requests{Allow: key&1 == 1, Counts: make([]uint32, points)}
		if at = int32(len(s.list)) + 1; s.routes != nil { //nolint:gosec // bounded by the routes
			one.Route = r.routes.list[key>>8]
			s.routes[key&^0xfe] = at
		} else {
			one.Reason = r.reasons.list[key&0xff>>1]
			s.reasons[key&0xff] = at
		}
		s.list = append(s.list, one)
	}
	return &s.list[at-1]
}

// addSlot adds a slot to a point. mu is held.
func (r *Rollup) addSlot(f *Figures, s *slot, point int, q Query, series *seriesSet) {
	only, known := r.routes.lookup[q.Route]
	without, omit := r.routes.lookup[q.Without]
	omit = omit && q.Without != ""
	for _, c := range s.cells {
		route := c.key >> 8
		if omit && route == without || q.Route != "" && (!known || route != only) {
			continue
		}
		one := series.find(r, c.key, f.Points)
		one.Counts[point] += c.count
		one.Total += uint64(c.count)
	}
	f.Pushes[point] += s.pushes
	f.Cuts[point] += s.cuts
	if s.samples {
		f.Sessions[point], f.Live[point] = max(f.Sessions[point], s.sessions), max(f.Live[point], s.live)
	}
}

// revocations returns the newest requests that were cut in the time of a query. mu is held.
func (r *Rollup) revocations(q Query) []Revocation {
	list := []Revocation{}
	for _, cut := range r.cuts {
		if !cut.Time.Before(q.From) && cut.Time.Before(q.Until) && (q.Route == "" || q.Route == cut.Route) {
			list = append(list, cut)
		}
	}
	return newestCuts(list)
}

func newestCuts(list []Revocation) []Revocation {
	slices.SortStableFunc(list, func(a, b Revocation) int { return b.Time.Compare(a.Time) })
	return list[:min(len(list), maxRevocations)]
}

// sort sorts requests: those that were allowed first, the most first, and bounds how many series there are.
func (f *Figures) sort() {
	slices.SortFunc(f.Requests, func(a, b Requests) int {
		if a.Allow != b.Allow {
			if a.Allow {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(b.Total, a.Total), strings.Compare(a.Route, b.Route), strings.Compare(a.Reason, b.Reason))
	})
	if len(f.Requests) <= maxSeries {
		return
	}
	listed := f.Requests[:0:0]
	rest := map[bool]*Requests{}
	shown := map[bool]int{}
	for _, one := range f.Requests {
		if shown[one.Allow]++; shown[one.Allow] < maxSeries/2 {
			listed = append(listed, one)
			continue
		}
		other, ok := rest[one.Allow]
		if !ok {
			other = &Requests{Allow: one.Allow, Counts: make([]uint32, f.Points)}
			if one.Route != "" {
				other.Route = Other
			} else {
				other.Reason = Other
			}
			rest[one.Allow] = other
		}
		other.add(one)
	}
	for _, other := range rest {
		listed = append(listed, *other)
	}
	f.Requests = listed
}

func (one *Requests) add(other Requests) {
	one.Total += other.Total
	for i := range min(len(one.Counts), len(other.Counts)) {
		one.Counts[i] += other.Counts[i]
	}
}

type seriesKey struct {
	route, reason string
	allow         bool
}

// Merge returns the figures of several replicas as one: of a query that each replied to. Sessions are common to all.
func Merge(q Query, parts ...Figures) Figures {
	all := emptyFigures(q)
	histograms := make([]histogram, all.Points)
	series := map[seriesKey]*Requests{}
	for _, f := range parts {
		if f.Begins.After(all.Begins) {
			all.Begins = f.Begins
		}
		all.Counting = all.Counting || f.Counting
		for _, one := range f.Requests {
			key := seriesKey{one.Route, one.Reason, one.Allow}
			if series[key] == nil {
				series[key] = &Requests{Route: one.Route, Reason: one.Reason, Allow: one.Allow, Counts: make([]uint32, all.Points)}
			}
			series[key].add(one)
		}
		for i := range min(all.Points, len(f.Live), len(f.Sessions), len(f.Pushes), len(f.Cuts)) {
			if f.Live[i] >= 0 {
				all.Live[i] = max(all.Live[i], 0) + f.Live[i]
			}
			all.Sessions[i] = max(all.Sessions[i], f.Sessions[i])
			all.Pushes[i] += f.Pushes[i]
			all.Cuts[i] += f.Cuts[i]
		}
		for i := range min(all.Points, len(f.Seconds)) {
			histograms[i].add(f.Seconds[i])
		}
		all.Revocations = append(all.Revocations, f.Revocations...)
	}
	for _, one := range series {
		all.Requests = append(all.Requests, *one)
	}
	for _, h := range histograms {
		all.Seconds = append(all.Seconds, h.trimmed())
	}
	all.Revocations = newestCuts(all.Revocations)
	all.sort()
	return all
}

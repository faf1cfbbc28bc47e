package admin

import (
	"context"
	"slices"
	"sync"
	"time"

	"sallyport/scim"
)

const (
	rememberedPushes = 10_000           // as many as the provisioning log has
	quietTime        = 5 * time.Minute  // without a request, after which the next one begins a new round
	leastGap         = 30 * time.Minute // that is shown as one
	firstGap         = 24 * time.Hour   // as long as no rhythm is known
)

// Rhythm is when identity providers sent requests.
type Rhythm struct {
	From  time.Time     `json:"from"`
	Step  time.Duration `json:"step"`
	Every time.Duration `json:"every,omitempty"` // from the beginning of a round of requests to that of the next, mostly; 0: not known

	Accepted []uint32 `json:"accepted"` // requests, by point
	Refused  []uint32 `json:"refused"`
	Gaps     []Gap    `json:"gaps"`

	Begins time.Time `json:"begins,omitzero"` // of what the provisioning log has
	Last   time.Time `json:"last,omitzero"`   // the last request
}

// Gap is a time in which a request was due and none came.
type Gap struct {
	From  time.Time `json:"from"`
	Until time.Time `json:"until"`
	Open  bool      `json:"open,omitempty"` // it has not ended
}

// pushTime is when a request came.
type pushTime struct {
	at      int64
	refused bool
}

// pushTimes are those of the requests in the provisioning log, which is read only as far as it has grown.
type pushTimes struct {
	mu     sync.Mutex // held while the log is read; guards the fields below
	number uint64     // of the newest entry
	list   []pushTime // the oldest first
}

// update reads what is new in the log, and returns all times. The result must not be changed.
func (p *pushTimes) update(ctx context.Context, log *scim.Provisioning) ([]pushTime, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var found []pushTime
	newest := p.number
	err := log.ReadLog(ctx, 0, func(e scim.LogEntry) bool {
		if e.Number <= p.number {
			return false
		}
		newest = max(newest, e.Number)
		if !e.Rejected() {
			found = append(found, pushTime{e.Time.Unix(), e.Code >= 400 && e.Code != 404})
		}
		return len(found) < rememberedPushes
	})
	if err != nil {
		return nil, err
	}
	if len(found) > 0 {
		slices.Reverse(found)
		list := slices.Concat(p.list, found)
		slices.SortStableFunc(list, func(a, b pushTime) int { return int(a.at - b.at) }) // several replicas write the log
		p.list = list[max(0, len(list)-rememberedPushes):]
	}
	p.number = newest
	return p.list, nil
}

func (p *pushTimes) newest(ctx context.Context, log *scim.Provisioning) (t time.Time, err error) {
	list, err := p.update(ctx, log)
	if len(list) > 0 {
		t = time.Unix(list[len(list)-1].at, 0).UTC()
	}
	return t, err
}

// Rhythm returns when identity providers sent requests, in points of a step between two times, and where one was due and
// none came.
func (a *Admin) Rhythm(ctx context.Context, _ Actor, from, until time.Time, step time.Duration) (Rhythm, error) {
	list, err := a.pushes.update(ctx, a.provisioning)
	if err != nil {
		return Rhythm{}, err
	}
	return rhythmOf(list, from, until, step, time.Now()), nil
}

func rhythmOf(list []pushTime, from, until time.Time, step time.Duration, now time.Time) Rhythm {
	points := 0
	if step > 0 && until.After(from) {
		points = int(min(until.Sub(from)/step, 1000))
	}
	r := Rhythm{From: from, Step: step, Accepted: make([]uint32, points), Refused: make([]uint32, points), Gaps: []Gap{}}
	if len(list) == 0 {
		return r
	}
	r.Begins, r.Last = time.Unix(list[0].at, 0).UTC(), time.Unix(list[len(list)-1].at, 0).UTC()
	for _, p := range list {
		at := time.Unix(p.at, 0)
		if at.Before(from) {
			continue
		}
		point := int(at.Sub(from) / step)
		switch {
		case point >= points:
		case p.refused:
			r.Refused[point]++
		default:
			r.Accepted[point]++
		}
	}
	r.Every = every(list)
	longest := max(r.Every*5/2, leastGap)
	if r.Every == 0 {
		longest = firstGap
	}
	gap := func(begin, end time.Time, open bool) {
		if end.Sub(begin) > longest && end.After(from) && begin.Before(until) {
			r.Gaps = append(r.Gaps, Gap{begin.UTC(), end.UTC(), open})
		}
	}
	for i := 1; i < len(list); i++ {
		gap(time.Unix(list[i-1].at, 0), time.Unix(list[i].at, 0), false)
	}
	gap(r.Last, now, true)
	if len(r.Gaps) > maxGaps {
		r.Gaps = r.Gaps[len(r.Gaps)-maxGaps:]
	}
	return r
}

const maxGaps = 100

// every returns the median of the times between the beginnings of rounds of requests; 0 if there are fewer than four rounds.
func every(list []pushTime) time.Duration {
	var between []int64
	round := list[0].at
	for i := 1; i < len(list); i++ {
		if list[i].at-list[i-1].at >= int64(quietTime/time.Second) {
			between = append(between, list[i].at-round)
			round = list[i].at
		}
	}
	if len(between) < 3 {
		return 0
	}
	slices.Sort(between)
	return time.Duration(between[len(between)/2]) * time.Second
}

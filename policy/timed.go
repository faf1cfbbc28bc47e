package policy

import (
	"sync/atomic"
	"time"
)

// timed are rules that deny and for which the passing of time makes a difference, whoever the caller is.
type timed struct {
	rules []int
	last  atomic.Pointer[span] // the newest result; nil before the first
}

// span is the time from which and until which rules match as they do.
type span struct{ from, until time.Time } // until is zero if it does not end

func (p *Policy) setTimed() {
	for n := range p.rules {
		r := &p.rules[n]
		if r.allow || r.end.IsZero() && len(r.changers) == 0 {
			continue
		}
		if !r.report {
			p.timed[0].rules = append(p.timed[0].rules, n)
		}
		p.timed[1].rules = append(p.timed[1].rules, n)
	}
}

// denyChange returns when one of the rules that deny may begin or end to match, by the passing of time; zero if none does.
func (p *Policy) denyChange(req *Request, reports bool) (until time.Time) {
	t := &p.timed[0]
	if reports {
		t = &p.timed[1]
	}
	if len(t.rules) == 0 {
		return until
	}
	if s := t.last.Load(); s != nil && !req.Time.Before(s.from) && (s.until.IsZero() || req.Time.Before(s.until)) {
		return s.until
	}
	for _, n := range t.rules {
		until = Earlier(until, p.rules[n].until(req))
	}
	t.last.Store(&span{req.Time, until})
	return until
}

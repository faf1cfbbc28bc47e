package proxy

import (
	"sallyport/audit"
	"sallyport/live"
	"sallyport/proxy/internal/identity"
)

// Live returns those of the live requests that f asks for.
func (p *Proxy) Live(f live.Filter) live.List { return p.LiveEach([]live.Filter{f})[0] }

// LiveEach returns those of the live requests that each filter asks for.
func (p *Proxy) LiveEach(filters []live.Filter) []live.List {
	return live.ChooseEach(filters, p.live.All(), (*liveRequest).key, (*liveRequest).facts)
}

// EndLive cuts the live requests that f means, whatever its limit, and returns how many. It cuts none if f means neither one
// request nor those of one caller. by has recorded it.
func (p *Proxy) EndLive(f live.Filter, by audit.Actor) int {
	if f.ID == "" && f.User == "" {
		return 0
	}
	var cut []*liveRequest
	together := new(batch)
	for _, l := range p.live.All() {
		if k, ok := l.key(); ok && f.Matches(&k) {
			if together.add(l, deny(requestEnded, "")) {
				cut = append(cut, l)
			}
		}
	}
	endAll(cut)
	p.recordCuts(cut, p.directory.Revision(), by)
	return len(cut)
}

// key returns what the request is chosen by, or false if it has not been let in, or was cut.
func (l *liveRequest) key() (k live.Key, ok bool) {
	a := l.allowed.Load()
	if a == nil || l.cutBy() != nil {
		return k, false
	}
	k = live.Key{ID: l.id, Kind: live.Plain, Route: l.route.name, Since: l.received}
	k.Received, k.Sent = l.rw.Traffic.Bytes()
	switch events, tunnel := l.rw.IsStream(); {
	case tunnel:
		k.Kind = live.WebSocket
	case events:
		k.Kind = live.Events
	}
	if a.user != nil {
		k.User, k.UserName = a.user.ID, a.user.UserName
	} else if app := l.caller.app(); app != "" {
		k.UserName = identity.AppName(app)
	}
	return k, true
}

// facts returns what is told of the request.
func (l *liveRequest) facts(k live.Key) live.Request {
	f := live.Request{Key: k, Method: l.method, Host: l.host, Path: l.path, Address: l.address}
	if a := l.allowed.Load(); a != nil {
		f.Rule = a.rule
	}
	if l.caller != nil && l.caller.session != nil {
		f.Session = l.caller.session.ID
	}
	return f
}

package proxy

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"sallyport/proxy/internal/canonical"
	"sallyport/proxy/internal/upstream"
)

// routeUpstream is the upstream of a route. A reload keeps it, and its connections, while its settings stay the same.
type routeUpstream struct {
	*upstream.Upstream                   // of no target where labeled has them
	labeled            *upstream.Labeled // nil unless the targets have {label} in them
	settings           Route             // the part of the route that the upstream depends on
	files              [sha256.Size]byte // digest of the files that the settings name
	live               atomic.Int64      // requests under way
}

// newUpstream returns the upstream of a route. It connects to nothing.
func newUpstream(r Route) (*routeUpstream, error) {
	config, files, err := r.UpstreamTLS.Read()
	if err != nil {
		return nil, err
	}
	s := upstreamSettings(r)
	c := upstream.Config{TLS: config, Timeout: s.Timeout}
	switch s.UpstreamHost {
	case "", publicHost:
	case upstreamsHost:
		c.Host = upstream.TargetHost
	default:
		c.Host = s.UpstreamHost
	}
	if s.Health != nil {
		c.Health = &upstream.Health{Path: s.Health.Path, Every: s.Health.Every, Timeout: s.Health.Timeout}
	}
	if slices.ContainsFunc(r.Upstream, upstream.HasLabel) {
		return &routeUpstream{Upstream: upstream.New(c), labeled: upstream.NewLabeled(c, r.Upstream), settings: s, files: files}, nil
	}
	for _, text := range r.Upstream {
		target, err := parseUpstream(text)
		if err != nil {
			return nil, err
		}
		c.Targets = append(c.Targets, target)
	}
	return &routeUpstream{Upstream: upstream.New(c), settings: s, files: files}, nil
}

// of returns the upstream for requests to host.
func (u *routeUpstream) of(host string) (*upstream.Upstream, error) {
	if u.labeled == nil {
		return u.Upstream, nil
	}
	label, _, ok := canonical.CutLabel(host)
	if !ok {
		return nil, fmt.Errorf("%q has no label that could stand in the name of an upstream", host) // cannot happen: a wildcard covers host
	}
	return u.labeled.For(label)
}

// Available returns how many targets there are, and how many of them are passed over now.
func (u *routeUpstream) Available(now time.Time) (targets, down int) {
	if u.labeled == nil {
		return u.Upstream.Available(now)
	}
	return u.labeled.Available(now)
}

// CloseIdleConnections closes the connections that wait for a request.
func (u *routeUpstream) CloseIdleConnections() {
	u.Upstream.CloseIdleConnections()
	if u.labeled != nil {
		u.labeled.CloseIdleConnections()
	}
}

// upstreamSettings returns the part of a route that its upstream depends on, with the defaults filled in.
func upstreamSettings(r Route) Route {
	s := Route{Name: r.Name, Upstream: r.Upstream, UpstreamTLS: r.UpstreamTLS, UpstreamHost: r.UpstreamHost, Timeout: cmp.Or(r.Timeout, defaultTimeout)}
	if r.Health != nil {
		s.Health = &Health{Path: r.Health.Path, Every: cmp.Or(r.Health.Every, defaultHealthEvery), Timeout: cmp.Or(r.Health.Timeout, defaultHealthTimeout)}
	}
	return s
}

// same reports whether an upstream made from r now would equal u.
func (u *routeUpstream) same(r Route) bool {
	if !reflect.DeepEqual(u.settings, upstreamSettings(r)) {
		return false
	}
	_, files, err := r.UpstreamTLS.Read()
	return err == nil && files == u.files
}

// full reports whether the upstream has its share of the live requests. One that hangs leaves a fifth of the limit to
// the others.
func (u *routeUpstream) full(rt *routing) bool {
	return len(rt.routes) > 1 && u.live.Load() >= int64(rt.maxLive-rt.maxLive/5)
}

// parseUpstream returns the URL of a target: scheme, host and port. Where {label} stands for the first label of the host,
// it returns the URL for one label; whatever the label is, the host is then a name below the one that the operator wrote.
func parseUpstream(text string) (*url.URL, error) {
	const longest = "a23456789-123456789-123456789-123456789-123456789-123456789-123"
	u, err := upstream.ParseLabeled(text, longest)
	if err != nil {
		return nil, err
	}
	if upstream.HasLabel(text) {
		base, ok := strings.CutPrefix(u.Hostname(), longest+".")
		if !ok || strings.Contains(base, longest) || canonical.EndsInNumber(base) {
			return nil, fmt.Errorf("%q: {label} can only be the first label of a host below a name of yours; write for example http://{label}.apps.internal:8080", text)
		}
	}
	if _, err := canonical.Host(u.Host); err != nil {
		return nil, fmt.Errorf("%q: %w", text, err)
	}
	return u, nil
}

package oidc

import (
	"context"
	"net/http"
	"time"
)

// Probe is the result of [Provider.Probe].
type Probe struct {
	Keys int            // number of usable keys that it publishes
	Skew *time.Duration // by which its clock is ahead of ours, to the second; nil: it did not tell the time
}

// Probe fetches the metadata and keys now, without effect on what Run fetched.
func (p *Provider) Probe(ctx context.Context) (Probe, error) {
	m, err := p.discover(ctx)
	if err != nil {
		return Probe{}, err
	}
	keys, err := p.keys.download(m.keysURL)
	if err != nil {
		return Probe{}, err
	}
	probe := Probe{Keys: len(keys)}
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, m.keysURL, nil)
	if err != nil {
		return probe, err
	}
	req.Header.Set("Cache-Control", "no-cache")
	sent := time.Now()
	resp, err := p.client.Do(req)
	if err != nil {
		return probe, nil // the time is not known, and everything else is
	}
	defer resp.Body.Close()
	probe.Skew = skewOf(resp.Header, sent, time.Now())
	return probe, nil
}

// skewOf returns by how much the clock of a response's origin is ahead of ours, or nil if the response does not say. A
// response from a cache (RFC 9111 §5.1) has the time at which it was stored.
func skewOf(h http.Header, sent, received time.Time) *time.Duration {
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil || h.Get("Age") != "" && h.Get("Age") != "0" {
		return nil
	}
	skew := date.Sub(sent.Add(received.Sub(sent) / 2)).Round(time.Second)
	return &skew
}

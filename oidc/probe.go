package oidc

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// Probe is what asking the provider now finds out.
type Probe struct {
	Keys int           // how many keys it signs with that we can use
	Skew time.Duration // how far its clock is ahead of ours, to the second
}

// Probe asks the provider for its metadata and keys, beside what Run does.
func (p *Provider) Probe(ctx context.Context) (Probe, error) {
	found, err := p.discover(ctx)
	if err != nil {
		return Probe{}, err
	}
	keys, err := found.keys.ask()
	if err != nil {
		return Probe{}, err
	}
	probe := Probe{Keys: len(keys)}
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, found.keys.url, nil)
	if err != nil {
		return probe, err
	}
	asked := time.Now()
	resp, err := p.client.Do(req)
	if err != nil {
		return probe, fmt.Errorf("asking for the time: %w", err)
	}
	defer resp.Body.Close()
	if at, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		probe.Skew = at.Sub(asked).Round(time.Second)
	}
	return probe, nil
}

package oidc

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// Probe is the result of [Provider.Probe].
type Probe struct {
	Keys int           // number of usable keys that it publishes
	Skew time.Duration // by which its clock is ahead of ours, to the second
}

// Probe fetches the metadata and keys now, without effect on what Run fetched.
func (p *Provider) Probe(ctx context.Context) (Probe, error) {
	m, err := p.discover(ctx)
	if err != nil {
		return Probe{}, err
	}
	keys, err := m.keys.download()
	if err != nil {
		return Probe{}, err
	}
	probe := Probe{Keys: len(keys)}
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, m.keys.url, nil)
	if err != nil {
		return probe, err
	}
	sent := time.Now()
	resp, err := p.client.Do(req)
	if err != nil {
		return probe, fmt.Errorf("reading the clock of the provider: %w", err)
	}
	defer resp.Body.Close()
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		probe.Skew = date.Sub(sent).Round(time.Second)
	}
	return probe, nil
}

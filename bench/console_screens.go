package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sallyport/entratest"
)

const streamsPerPerson = 10

// openStreams opens live requests: event streams of many people, through a route that is open to all of the company.
func (s *site) openStreams(ctx context.Context, out io.Writer, o consoleOptions) error {
	begun, transport := time.Now(), s.transport()
	people, err := s.people(ctx, (o.live+streamsPerPerson-1)/streamsPerPerson)
	if err != nil {
		return err
	}
	next, failed := make(chan string), make(chan error, 1)
	var opened sync.WaitGroup
	for range 32 {
		opened.Go(func() {
			for token := range next {
				if err := s.openStream(ctx, transport, token, failed); err != nil {
					trySend(failed, err)
				}
			}
		})
	}
	for i := range o.live {
		person := people[i/streamsPerPerson%len(people)]
		next <- person
	}
	close(next)
	opened.Wait()
	select {
	case err := <-failed:
		return fmt.Errorf("a live request: %w", err)
	default:
	}
	fmt.Fprintf(out, "live: %d requests of %d people opened in %s, then %s\n", o.live, len(people), round(time.Since(begun)), memoryOf(s.pid))
	return nil
}

// openStream opens one live request, and reads it until ctx ends.
func (s *site) openStream(ctx context.Context, transport http.RoundTripper, token string, failed chan<- error) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+streamHost+"/stream", nil)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := transport.RoundTrip(r) //nolint:bodyclose // the reader closes it
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		return errors.New(resp.Status)
	}
	go func() {
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); ctx.Err() == nil {
			trySend(failed, fmt.Errorf("ended by itself: %w", err))
		}
	}()
	return nil
}

func trySend(to chan<- error, err error) {
	select {
	case to <- err:
	default:
	}
}

// people returns access tokens of some people.
func (s *site) people(ctx context.Context, count int) (tokens []string, err error) {
	for page := 1; len(tokens) < count; page++ {
		body, err := s.page(ctx, fmt.Sprintf("/people?state=active&format=json&page=%d", page))
		if err != nil {
			return nil, err
		}
		var list []struct {
			ExternalID string `json:"externalId"`
			UserName   string `json:"userName"`
		}
		if err := json.Unmarshal(body, &list); err != nil || len(list) == 0 {
			return tokens, err
		}
		for _, p := range list[:min(len(list), count-len(tokens))] {
			tokens = append(tokens, s.entra.AccessToken(entratest.Person{OID: p.ExternalID, UPN: p.UserName}, audience, nil))
		}
	}
	return tokens, nil
}

var eventsPattern = regexp.MustCompile(`data-events="([^"]*)"`)

// screen is an open page of the console, which receives events.
type screen struct {
	page   string
	events string // the path of its events
	count  atomic.Int64
	bytes  atomic.Int64
}

// screensOf returns screens for the pages that have events, of each as many.
func (s *site) screensOf(ctx context.Context, n int) (screens []*screen, err error) {
	paths := s.paths
	if paths == nil {
		if paths, err = s.crawl(ctx); err != nil {
			return nil, err
		}
	}
	seen := map[string]bool{}
	for _, path := range paths {
		body, err := s.get(ctx, path)
		if err != nil {
			return nil, err
		}
		match := eventsPattern.FindSubmatch(body.body)
		section, _, _ := strings.Cut(path, "?")
		if match == nil || seen[section] {
			continue
		}
		seen[section] = true
		base, err := url.Parse(consoleRoot + path)
		if err != nil {
			return nil, err
		}
		to, err := base.Parse(html.UnescapeString(string(match[1])))
		if err != nil {
			return nil, err
		}
		screens = append(screens, &screen{page: path, events: strings.TrimPrefix(to.String(), consoleRoot)})
	}
	if len(screens) == 0 {
		return nil, nil
	}
	for i := 0; len(screens) < n; i++ {
		screens = append(screens, &screen{page: screens[i].page, events: screens[i].events})
	}
	return screens[:n], nil
}

// watch receives the events of a page until ctx ends. It calls opened once the first has come.
func (s *site) watch(ctx context.Context, c *screen, opened func()) error {
	if _, err := s.page(ctx, c.page); err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, consoleRoot+c.events, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Accept", "text/event-stream")
	resp, err := s.client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", c.events, resp.Status)
	}
	lines := bufio.NewReader(resp.Body)
	for {
		line, err := lines.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return fmt.Errorf("%s, after %d events: %w", c.events, c.count.Load(), err)
		}
		c.bytes.Add(int64(len(line)))
		if strings.HasPrefix(string(line), "event:") {
			c.count.Add(1)
			opened()
		}
	}
}

// reportScreens measures what open pages cost the proxy: in pairs of measurements, one with them and one without, each of
// which is the first of its pair in turn.
func (s *site) reportScreens(ctx context.Context, out io.Writer, o consoleOptions) error {
	screens, err := s.screensOf(ctx, o.screens)
	if err != nil {
		return err
	}
	if len(screens) == 0 {
		fmt.Fprintln(out, "screens: no page has events")
		return nil
	}
	if err := s.reportIdle(ctx, out, screens); err != nil {
		return err
	}
	for _, c := range screens {
		c.count.Store(0)
		c.bytes.Store(0)
	}
	target := subject{name: "proxied", address: s.addrs["public"], transport: tlsHTTP1, host: loadHost, pid: s.pid,
		header: "Authorization: Bearer " + s.entra.AccessToken(entratest.Person{OID: administrator, UPN: administrator + "@castle.example"}, audience, nil)}
	var rates, costs [2][]float64 // without and with
	var watched time.Duration
	for round := range o.rounds {
		for _, with := range [][]bool{{false, true}, {true, false}}[round%2] {
			run, i := s.loadAlone, 0
			if with {
				run, i = s.loadWith, 1
			}
			perSecond, cpu, err := run(ctx, target, screens, o.duration)
			if err != nil {
				return err
			}
			rates[i], costs[i] = append(rates[i], perSecond), append(costs[i], cpu.Seconds()*1e6)
			if with {
				watched += o.duration + warmUp
			}
		}
	}
	table := newTable(out, "console", "requests/s", "processor time for each, µs")
	fmt.Fprintf(table, "| closed\t| %.0f\t| %.1f\t|\n| open on %d screens\t| %.0f\t| %.1f\t|\n", median(rates[0]), median(costs[0]), len(screens), median(rates[1]), median(costs[1]))
	_ = table.Flush()
	fmt.Fprintf(out, "\nopen to closed, the median of %d pairs: %.3f of the requests a second, %.3f of the processor time for each; load average %s\n",
		o.rounds, median(ratios(rates[1], rates[0])), median(ratios(costs[1], costs[0])), loadAverage())
	for _, c := range screens {
		fmt.Fprintf(out, "  %s: %.1f events and %.1f kB a second\n", c.events, float64(c.count.Load())/watched.Seconds(), float64(c.bytes.Load())/1000/watched.Seconds())
	}
	return nil
}

const warmUp = time.Second

// loadAlone measures the proxy with no page of the console open.
func (s *site) loadAlone(ctx context.Context, target subject, _ []*screen, duration time.Duration) (perSecond float64, cpu time.Duration, err error) {
	if _, err := load(ctx, target, 32, warmUp); err != nil {
		return 0, 0, err
	}
	before, begun := cpuTime(s.pid), time.Now()
	took, err := load(ctx, target, 32, duration)
	if err != nil {
		return 0, 0, err
	}
	return float64(len(took)) / time.Since(begun).Seconds(), (cpuTime(s.pid) - before) / time.Duration(len(took)), nil
}

// loadWith measures the proxy while screens show the console.
func (s *site) loadWith(ctx context.Context, target subject, screens []*screen, duration time.Duration) (perSecond float64, cpu time.Duration, err error) {
	closeAll := s.openScreens(ctx, screens)
	perSecond, cpu, err = s.loadAlone(ctx, target, nil, duration)
	return perSecond, cpu, errors.Join(err, closeAll())
}

// openScreens has screens show the console until closeAll is called, which returns why any ended before. It returns once each
// has got its first event, so that what opening costs is not taken for what showing costs.
func (s *site) openScreens(ctx context.Context, screens []*screen) (closeAll func() error) {
	ctx, stop := context.WithCancel(ctx)
	errs := make([]error, len(screens))
	var all, opening sync.WaitGroup
	opening.Add(len(screens))
	for i, c := range screens {
		opened := sync.OnceFunc(opening.Done)
		all.Go(func() {
			defer opened()
			if err := s.watch(ctx, c, opened); ctx.Err() == nil {
				errs[i] = err
			}
		})
	}
	opening.Wait()
	return func() error {
		stop()
		all.Wait()
		return errors.Join(errs...)
	}
}

// reportIdle measures what open pages cost while nothing is proxied: other work on the machine changes that little.
func (s *site) reportIdle(ctx context.Context, out io.Writer, screens []*screen) error {
	const long = 20 * time.Second
	var used [2]time.Duration
	for i, open := range [][]*screen{nil, screens} {
		closeAll := s.openScreens(ctx, open)
		wait(ctx, 2*warmUp)
		before := cpuTime(s.pid)
		wait(ctx, long)
		used[i] = cpuTime(s.pid) - before
		if err := errors.Join(ctx.Err(), closeAll()); err != nil {
			return err
		}
	}
	share := func(d time.Duration) float64 { return 100 * d.Seconds() / long.Seconds() / float64(runtime.NumCPU()) }
	fmt.Fprintf(out, "nothing proxied: the server uses %.2f %% of the %d processors with the console closed, %.2f %% with it open on %d screens\n\n",
		share(used[0]), runtime.NumCPU(), share(used[1]), len(screens))
	return nil
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func ratios(list, to []float64) []float64 {
	list = slices.Clone(list)
	for i := range list {
		list[i] /= to[i]
	}
	return list
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// serveStreams responds to /stream with events that never end, and to the rest like the other upstream.
func serveStreams(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/stream" {
		serveKiB(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = io.WriteString(w, "data: opened\n\n")
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

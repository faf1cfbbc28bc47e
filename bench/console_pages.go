package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// fetched is the response to one request for the console.
type fetched struct {
	status int
	first  time.Duration // until the first byte
	whole  time.Duration
	kind   string
	body   []byte
}

// get asks for a path below the console, over a connection that is open already, if there is one.
func (s *site) get(ctx context.Context, below string) (f fetched, err error) {
	select {
	case <-ctx.Done():
		return f, ctx.Err()
	case <-s.pace.C:
	}
	begun := time.Now()
	trace := &httptrace.ClientTrace{
		GotConn:              func(httptrace.GotConnInfo) { begun = time.Now() },
		GotFirstResponseByte: func() { f.first = time.Since(begun) },
	}
	r, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), http.MethodGet, consoleRoot+below, nil)
	if err != nil {
		return f, err
	}
	resp, err := s.client.Do(r)
	if err != nil {
		return f, err
	}
	defer resp.Body.Close()
	body := io.Reader(resp.Body)
	if resp.Header.Get("Content-Disposition") != "" { // a file to keep, not a page: the beginning is enough
		body = io.LimitReader(body, 1<<20)
	}
	f.body, err = io.ReadAll(body)
	f.status, f.whole, f.kind = resp.StatusCode, time.Since(begun), resp.Header.Get("Content-Type")
	return f, err
}

// pageRow is what was measured of a page.
type pageRow struct {
	path   string
	status int
	first  []time.Duration // sorted
	cpu    time.Duration   // of the server, for one request
	size   int
	assets int // bytes of the styles, modules and pictures that it names
}

// reportPages measures each page: what the links of others lead to, and the largest lists.
func (s *site) reportPages(ctx context.Context, out io.Writer, o consoleOptions) error {
	paths, err := s.crawl(ctx)
	if err != nil {
		return err
	}
	s.paths = paths
	table := newTable(out, "page", "status", "first byte, half, ms", "the slowest, ms", "processor time, ms", "kB", "with styles and modules, kB")
	slow, large := 0, 0
	for _, path := range paths {
		row, err := s.measurePage(ctx, path, o.repeats)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		half, slowest := quantile(row.first, 0.5), row.first[len(row.first)-1]
		if half > 200*time.Millisecond {
			slow++
		}
		if row.size > 150_000 {
			large++
		}
		fmt.Fprintf(table, "| %s\t| %d\t| %s\t| %s\t| %s\t| %.1f\t| %.1f\t|\n", shorten(path), row.status, millis(half), millis(slowest), millis(row.cpu), float64(row.size)/1000, float64(row.size+row.assets)/1000)
	}
	_ = table.Flush()
	fmt.Fprintf(out, "\n%d pages, with %d live requests: %d slower than 200 ms, %d larger than 150 kB; load average %s\n", len(paths), o.live, slow, large, loadAverage())
	return nil
}

// shorten returns a path with the ids in it shortened.
func shorten(path string) string {
	return regexp.MustCompile(`[0-9a-f]{10,}`).ReplaceAllStringFunc(path, func(id string) string { return id[:6] + "…" })
}

func (s *site) measurePage(ctx context.Context, path string, repeats int) (row pageRow, err error) {
	row.path = path
	for range repeats {
		before := cpuTime(s.pid)
		got, err := s.get(ctx, path)
		if err != nil {
			return row, err
		}
		row.cpu += (cpuTime(s.pid) - before) / time.Duration(repeats)
		row.status, row.size = got.status, len(got.body)
		row.first = append(row.first, got.first)
		if len(row.first) == 1 {
			if row.assets, err = s.assetsOf(ctx, string(got.body)); err != nil {
				return row, err
			}
		}
	}
	slices.Sort(row.first)
	return row, nil
}

var (
	linkPattern  = regexp.MustCompile(`<a\b[^>]*\bhref="([^"]*)"`)
	assetPattern = regexp.MustCompile(`(?:src|href)="(/\.sallyport/console/static/[^"]*)"`)
	idPattern    = regexp.MustCompile(`[0-9a-f]{8,}|[0-9]+`)
)

// assetsOf returns the size of the files that a page names.
func (s *site) assetsOf(ctx context.Context, page string) (size int, err error) {
	for _, match := range assetPattern.FindAllStringSubmatch(page, -1) {
		body, err := s.page(ctx, strings.TrimPrefix(match[1], consolePath))
		if err != nil {
			return 0, err
		}
		size += len(body)
	}
	return size, nil
}

const (
	consolePath = "/.sallyport/console"
	mostPages   = 200
)

// crawl returns the paths of pages, not of files to keep: those that links lead to, of those that differ in an id or in the text of a query alone
// the first; and the largest ones.
func (s *site) crawl(ctx context.Context) ([]string, error) {
	waiting, err := s.largest(ctx)
	if err != nil {
		return nil, err
	}
	waiting = append([]string{"/"}, waiting...)
	seen := map[string]string{}
	for len(waiting) > 0 && len(seen) < mostPages {
		path := waiting[0]
		waiting = waiting[1:]
		if _, ok := seen[shapeOf(path)]; ok {
			continue
		}
		seen[shapeOf(path)] = ""
		got, err := s.get(ctx, path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if strings.HasPrefix(got.kind, "text/html") {
			seen[shapeOf(path)] = path
			waiting = append(waiting, linksOf(path, string(got.body))...)
		}
	}
	return slices.DeleteFunc(slices.Sorted(maps.Values(seen)), func(path string) bool { return path == "" }), nil
}

// linksOf returns the paths of the console that the links of a page lead to.
func linksOf(path, page string) (paths []string) {
	base, err := url.Parse(consoleRoot + path)
	if err != nil {
		return nil
	}
	for _, match := range linkPattern.FindAllStringSubmatch(page, -1) {
		to, err := base.Parse(html.UnescapeString(match[1]))
		if err != nil || !strings.HasPrefix(to.String(), consoleRoot+"/") {
			continue
		}
		if to.Fragment = ""; to.Query().Has("format") { // what the page shows, in another format
			continue
		}
		paths = append(paths, strings.TrimPrefix(to.String(), consoleRoot))
	}
	return paths
}

// shapeOf returns what pages have in common that differ in an id, the name of a route, or a text of their query.
func shapeOf(path string) string {
	path, query, _ := strings.Cut(path, "?")
	parts := strings.Split(path, "/")
	for i, part := range parts {
		if idPattern.MatchString(part) || i == 2 && (parts[1] == "routes" || parts[1] == "live") {
			parts[i] = "*"
		}
	}
	values, _ := url.ParseQuery(query)
	keys := slices.Sorted(maps.Keys(values))
	for i, key := range keys {
		if key == "state" || key == "since" {
			keys[i] += "=" + values.Get(key)
		}
	}
	return strings.Join(parts, "/") + "?" + strings.Join(keys, "&")
}

// largest returns pages that are larger or slower than those that links lead to first: the end of a list, the largest group,
// what finds many and what finds nothing.
func (s *site) largest(ctx context.Context) ([]string, error) {
	body, err := s.page(ctx, "/groups?q=All+staff&format=json")
	if err != nil {
		return nil, err
	}
	var groups []struct {
		ID      string  `json:"id"`
		Members float64 `json:"members"`
	}
	if err := json.Unmarshal(body, &groups); err != nil || len(groups) == 0 {
		return nil, cmp.Or(err, fmt.Errorf("no group All staff"))
	}
	group := slices.MaxFunc(groups, func(a, b struct {
		ID      string  `json:"id"`
		Members float64 `json:"members"`
	}) int {
		return cmp.Compare(a.Members, b.Members)
	}).ID
	return []string{"/people?page=1000", "/people?q=a", "/people?q=nobody+is+called+so", "/groups/" + group, "/groups/" + group + "?q=a", "/groups?page=200", "/groups?q=project",
		"/why?user=eve%40castle.example&route=payroll", "/search?q=a"}, nil
}

// What is typed into the search, of which each beginning is asked for.
var typed = []string{"ada lovelace", "grace.hopper@castle", "project 0123", "argo cd", "zzzzzzzz"}

// reportSearch measures the search with each letter that is typed.
func (s *site) reportSearch(ctx context.Context, out io.Writer, _ consoleOptions) error {
	var took []time.Duration
	largest, used := 0, cpuTime(s.pid)
	for _, text := range typed {
		for i := range text {
			got, err := s.get(ctx, "/search?format=json&q="+url.QueryEscape(text[:i+1]))
			if err != nil {
				return err
			}
			if got.status != http.StatusOK {
				return fmt.Errorf("searching for %q: %d", text[:i+1], got.status)
			}
			took = append(took, got.whole)
			largest = max(largest, len(got.body))
		}
	}
	used = (cpuTime(s.pid) - used) / time.Duration(len(took))
	slices.Sort(took)
	fmt.Fprintf(out, "search: %d letters typed, until the whole response half %s, 99 of 100 %s, the slowest %s; %s of processor time for each, at most %.1f kB; load average %s\n",
		len(took), round(quantile(took, 0.5)), round(quantile(took, 0.99)), round(took[len(took)-1]), round(used), float64(largest)/1000, loadAverage())
	return nil
}

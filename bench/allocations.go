package main

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"net/http"
	"runtime/metrics"
	"strconv"
	"strings"
)

// allocations is how much a process has allocated on the heap since its start.
type allocations struct{ objects, bytes float64 }

func (a allocations) minus(b allocations) allocations {
	return allocations{a.objects - b.objects, a.bytes - b.bytes}
}

func (a allocations) each(n int) allocations {
	return allocations{a.objects / float64(n), a.bytes / float64(n)}
}

// Names of the metrics of Prometheus's client that say how much a process has allocated.
const (
	objectsMetric = "go_memstats_mallocs_total"
	bytesMetric   = "go_memstats_alloc_bytes_total"
)

// serveAllocations responds with the allocations of this process, under the names that sallyport uses for its own.
func serveAllocations(w http.ResponseWriter, _ *http.Request) {
	samples := []metrics.Sample{{Name: "/gc/heap/allocs:objects"}, {Name: "/gc/heap/tiny/allocs:objects"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(samples)
	fmt.Fprintf(w, "%s %d\n%s %d\n", objectsMetric, samples[0].Value.Uint64()+samples[1].Value.Uint64(), bytesMetric, samples[2].Value.Uint64())
}

// readAllocations asks a process for its allocations. They are NaN if it has no URL for that.
func readAllocations(ctx context.Context, url string) (a allocations, err error) {
	a = allocations{math.NaN(), math.NaN()}
	if url == "" {
		return a, nil
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return a, err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		name, text, _ := strings.Cut(lines.Text(), " ")
		switch name {
		case objectsMetric:
			a.objects, err = strconv.ParseFloat(text, 64)
		case bytesMetric:
			a.bytes, err = strconv.ParseFloat(text, 64)
		}
		if err != nil {
			return a, fmt.Errorf("%s: %s: %w", url, name, err)
		}
	}
	return a, lines.Err()
}

// allocationMeter measures what a process allocates between two moments, without what asking it costs.
type allocationMeter struct {
	url    string
	asking allocations // what asking once allocates
	before allocations
}

func newAllocationMeter(ctx context.Context, url string) (m allocationMeter, err error) {
	first, err := readAllocations(ctx, url)
	if err != nil {
		return m, err
	}
	second, err := readAllocations(ctx, url)
	return allocationMeter{url, second.minus(first), second}, err
}

// since returns the allocations since the meter was made.
func (m allocationMeter) since(ctx context.Context) (allocations, error) {
	now, err := readAllocations(ctx, m.url)
	return now.minus(m.before).minus(m.asking), err
}

package main

import (
	"context"
	"fmt"
	"runtime"
	"time"
)

// engine decides requests by rules.
type engine interface {
	allows(r *request) (bool, error)
}

// loaded is an engine that has the rules and users of a world.
type loaded struct {
	name string
	engine
	took time.Duration // to compile the rules
	heap float64       // MiB that are in use for that
}

// loadAll has every engine compile the rules.
func loadAll(ctx context.Context, w *world) (all []loaded, err error) {
	for _, one := range []struct {
		name string
		load func(context.Context, *world) (engine, error)
	}{
		{ourName, loadSallyport}, {ourName + ", users not seen before", loadSallyportFresh}, {"cel-go alone", loadCEL}, {"cedar-go, groups as parents", loadCedarParents}, {"cedar-go, groups in a set", loadCedarSets}, {"casbin", loadCasbin}, {"OPA, a list of rules", loadOPAList}, {"OPA, rules by group", loadOPAByGroup},
	} {
		before, begun := heapInUse(), time.Now()
		e, err := one.load(ctx, w)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", one.name, err)
		}
		took := time.Since(begun)
		all = append(all, loaded{one.name, e, took, heapInUse() - before})
	}
	return all, nil
}

const ourName = "Sallyport"

func heapInUse() float64 {
	runtime.GC()
	runtime.GC() // what the first one finalizes
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20)
}

// agree returns an error if the engines do not decide random requests alike, or else how many of them are allowed.
func agree(engines []loaded, w *world, many int) (allowed int, err error) {
	for i := range many {
		r := w.request()
		if i < len(w.requests) {
			r = w.requests[i]
		}
		want, err := engines[0].allows(&r)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", engines[0].name, err)
		}
		if want {
			allowed++
		}
		for _, e := range engines[1:] {
			got, err := e.allows(&r)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", e.name, err)
			}
			if got != want {
				return 0, fmt.Errorf("%s decides %t, where %s decides %t: %d %s, %s %s by %s", e.name, got, engines[0].name, want, len(w.rules), w.what, r.method, r.path, w.users[r.user].name)
			}
		}
	}
	if allowed == 0 || allowed == many {
		return allowed, fmt.Errorf("%d of %d requests are allowed, which shows nothing", allowed, many)
	}
	return allowed, nil
}

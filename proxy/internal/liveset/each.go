package liveset

import (
	"runtime"
	"slices"
	"sync"
)

// Each calls f with each of values, on all cores if they are many, and returns once all calls have returned.
func Each[T any](values []T, f func(T)) {
	const few = 128
	if len(values) <= few {
		for _, v := range values {
			f(v)
		}
		return
	}
	var all sync.WaitGroup
	for part := range slices.Chunk(values, max(few, len(values)/(4*runtime.GOMAXPROCS(0))+1)) {
		all.Go(func() {
			for _, v := range part {
				f(v)
			}
		})
	}
	all.Wait()
}

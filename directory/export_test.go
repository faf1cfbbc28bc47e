package directory

import "time"

// EndedKey returns the key in the store at which the end of a person is remembered.
func EndedKey(at time.Time, key string) []byte { return endedKey(at, key) }

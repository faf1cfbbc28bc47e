package claimed_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport/oidc/claimed"
)

var start = time.Date(2026, 11, 1, 8, 0, 0, 0, time.UTC)

// namesOf returns the groups of a claim.
func namesOf(c claimed.Claim) (names []string) {
	for name := range c.Groups() {
		names = append(names, name.Value())
	}
	return names
}

func TestMemory_HasTheNewestTokenOfEachUser(t *testing.T) {
	m := claimed.New()
	m.Note(claimed.Claim{User: "ada", At: start, Stated: true}, []string{"a", "b"})
	m.Note(claimed.Claim{User: "bob", At: start, Stated: true, Incomplete: true}, nil)
	m.Note(claimed.Claim{User: "ada", At: start.Add(time.Minute), Stated: true}, []string{"c"})
	m.Note(claimed.Claim{User: "ada", At: start.Add(-time.Hour), Stated: true}, []string{"old"})
	all := m.All()
	if len(all) != 2 || all[0].User != "ada" || !slices.Equal(namesOf(all[0]), []string{"c"}) || all[1].User != "bob" || !all[1].Incomplete {
		t.Errorf("it remembers %+v", all)
	}
	m.Note(claimed.Claim{User: "carol"}, nil)
	if all := m.All(); all[0].User != "carol" || all[0].At.IsZero() {
		t.Errorf("a token without a time: %+v", all[0])
	}
}

func TestMemory_IsBounded(t *testing.T) {
	t.Run("users", func(t *testing.T) {
		m := claimed.New()
		for i := range 10_050 {
			m.Note(claimed.Claim{User: fmt.Sprint(i), At: start}, []string{"g"})
		}
		all := m.All()
		if len(all) != 10_000 || all[0].User != "10049" || all[len(all)-1].User != "50" {
			t.Errorf("%d users, from %s to %s", len(all), all[0].User, all[len(all)-1].User)
		}
	})
	t.Run("text", func(t *testing.T) {
		m := claimed.New()
		groups := slices.Repeat([]string{strings.Repeat("x", 256)}, 200)
		for i := range 2000 {
			m.Note(claimed.Claim{User: fmt.Sprint(i), At: start}, groups)
		}
		all := m.All()
		if n := len(all) * 200 * 256; n > 64<<20 || n < 60<<20 || all[0].User != "1999" {
			t.Errorf("%d users with %d bytes, the last %s", len(all), n, all[0].User)
		}
	})
}

func TestMemory_MayBeUsedConcurrently(t *testing.T) {
	m := claimed.New()
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 200 {
				m.Note(claimed.Claim{User: fmt.Sprint(j % 20), At: start.Add(time.Duration(i*j) * time.Second)}, []string{"g"})
				_ = m.All()
			}
		})
	}
	all.Wait()
	if n := len(m.All()); n != 20 {
		t.Errorf("%d users", n)
	}
}

package admin_test

import (
	"fmt"
	"testing"

	"sallyport/directory"
	"sallyport/policy"
)

// BenchmarkOffers measures what the page of a denial costs in a directory of 20,000 users: while nothing changes, and
// while it changes all the time, so that the approvers are looked for again once a second.
func BenchmarkOffers(b *testing.B) {
	w := newWorld(b)
	w.policies = sre(func(q *policy.Requestable) { q.Approvers.Manager = false })
	w.group("leads", w.create(person{name: "lead"}))
	var bob directory.User
	for part := range 20 {
		must(b, w.directory.Update(b.Context(), func(tx *directory.Tx) error {
			for i := range 1000 {
				name := fmt.Sprintf("user-%d-%d@example.com", part, i)
				u := directory.User{UserName: name, ExternalID: name, Active: true, Document: []byte(`{"emails":[{"value":"` + name + `"}]}`)}
				if err := tx.PutUser(&u); err != nil {
					return err
				}
				bob = u
			}
			return nil
		}))
	}
	for name, changes := range map[string]bool{"unchanged": false, "changed": true} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if changes {
					b.StopTimer()
					must(b, w.directory.Update(b.Context(), func(tx *directory.Tx) error {
						u, err := tx.User(bob.ID)
						if err == nil {
							u.Document = fmt.Appendf(nil, `{"title":"%d"}`, u.Version)
							err = tx.PutUser(&u)
						}
						return err
					}))
					b.StartTimer()
				}
				w.Offers(w.user(bob.ID), "grafana")
			}
		})
	}
}

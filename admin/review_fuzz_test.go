package admin_test

import (
	"errors"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"sallyport/admin"
	"sallyport/policy"
)

// FuzzVerifyReview: whatever a file says, it is sound only if it is what was signed.
func FuzzVerifyReview(f *testing.F) {
	for _, seed := range []string{"", ".", "..", "e30.e30.", "eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJFUzI1NiIsImtpZCI6IngiLCJ0eXAiOiJzYWxseXBvcnQtcmV2aWV3K2pzb24ifQ.e30.AAAA",
		`{"payload":"e30","signatures":[]}`, "eyJhbGciOiJFUzI1NiIsImI2NCI6ZmFsc2UsImNyaXQiOlsiYjY0Il19..AAAA"} {
		f.Add(seed)
	}
	var keys jose.JSONWebKeySet
	f.Fuzz(func(t *testing.T, text string) {
		if keys.Keys == nil {
			w := newReviewed(t)
			w.join(w.sre, w.createUser("bob@example.com"))
			w.start(routeOf(t, allowGroup(policy.GroupRef{ID: sreID})), "")
			var err error
			keys, err = w.ReviewKeys(t.Context(), ada)
			must(t, err)
		}
		if _, _, err := admin.VerifyReview(text, keys); !errors.Is(err, admin.ErrUnsound) {
			t.Errorf("%q says %v", text, err)
		}
	})
}

package directory_test

import (
	"errors"
	"path/filepath"
	"testing"

	"sallyport/directory"
	"sallyport/store"
	"sallyport/store/storetest"
)

var errLost = errors.New("the connection is lost")

// TestOpen_FailsIfScanEnds: a scan that ends with an error and without a key, as one of PostgreSQL does when the connection is
// lost, is an error of Open, whatever was scanned.
func TestOpen_FailsIfScanEnds(t *testing.T) {
	h := open(t, filepath.Join(t.TempDir(), "store.db"))
	defer h.stop()
	alice, group := h.addUser(t, "alice"), h.addGroup(t, "sre")
	h.update(t, func(tx *directory.Tx) error { _, err := tx.AddMembers(group, []string{alice}); return err })
	for _, prefix := range []string{"user/", "group/", "member/", "memberof/", "suspended/", "ended/", "name/", "count/", "record/"} {
		if _, err := directory.Open(t.Context(), storetest.ScanYields{Store: h.store, Prefix: prefix, Err: errLost}, "externalId"); !errors.Is(err, errLost) || errors.Is(err, store.ErrDamaged) {
			t.Errorf("%s: %v", prefix, err)
		}
	}
}

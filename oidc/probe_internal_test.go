package oidc

import (
	"net/http"
	"testing"
	"time"
)

func TestSkewOf(t *testing.T) {
	sent := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	received := sent.Add(4 * time.Second)
	const noon = "Sat, 28 Nov 2026 12:01:02 GMT"
	if skew := skewOf(http.Header{"Date": {noon}}, sent, received); skew == nil || *skew != time.Minute {
		t.Errorf("the skew is %v", skew)
	}
	if skew := skewOf(http.Header{"Date": {noon}, "Age": {"0"}}, sent, received); skew == nil {
		t.Error("a fresh response of a cache does not tell the time")
	}
	for name, h := range map[string]http.Header{"no_date": {}, "not_a_date": {"Date": {"noon"}}, "cached": {"Date": {noon}, "Age": {"70"}}} {
		if skew := skewOf(h, sent, received); skew != nil {
			t.Errorf("%s: the skew is %s", name, skew)
		}
	}
}

package response_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"sallyport/proxy/internal/response"
)

// TestProblem_EqualsEncodingJSON checks that any JSON parser can read a problem, whatever is in it.
func TestProblem_EqualsEncodingJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-z/<>&"\\ ]{0,20}`), rapid.SampledFrom([]string{"\xff\u2028\x00", "\u2028", "\x7f", "\x1f", "é"}))
		p := response.Problem{Status: rapid.SampledFrom([]int{400, 401, 403, 503}).Draw(t, "status"), Detail: text.Draw(t, "detail"),
			Reason: text.Draw(t, "reason"), Request: text.Draw(t, "request")}
		w := httptest.NewRecorder()
		p.Write(w)
		p.Title = http.StatusText(p.Status)
		want, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if got := w.Body.String(); got != string(want)+"\n" || w.Header().Get("Content-Length") != strconv.Itoa(len(got)) || w.Code != p.Status {
			t.Fatalf("%d %v %s\nwant %s", w.Code, w.Header(), got, want)
		}
	})
}

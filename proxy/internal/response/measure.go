package response

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
)

// maxMeasured bounds the part of a response that Measure holds in memory.
const maxMeasured = 16 << 10

// Measure gives a short error response a Content-Length if the upstream did not send one. It waits for the end of the
// response. It is for a response that arrives while the client still sends its body: [Writer.Linger] can wait for the
// rest of that body only if the client can tell where the response ends.
func Measure(res *http.Response) {
	if res.StatusCode < http.StatusBadRequest || res.ContentLength >= 0 || len(res.Trailer) > 0 || res.Body == http.NoBody {
		return
	}
	start, err := io.ReadAll(io.LimitReader(res.Body, maxMeasured+1))
	if err == nil && len(start) <= maxMeasured && len(res.Trailer) == 0 {
		res.ContentLength = int64(len(start))
		res.Header["Content-Length"] = []string{strconv.Itoa(len(start))}
	}
	rest := io.Reader(res.Body)
	if err != nil {
		rest = failedReader{err}
	}
	res.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(start), rest), res.Body}
}

// failedReader reports the error of an earlier read again.
type failedReader struct{ err error }

// Read returns the error.
func (r failedReader) Read([]byte) (int, error) { return 0, r.err }

package flow

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
)

// Long addresses repeat themselves, so they are compressed before they are sealed (RFC 1951): more fit into state, and
// into the cookies of a browser. The length of a sealed value tells how well its text compresses, which discloses
// nothing: whoever wrote the target knows it, and no secret is used in two flows.
const deflated = 0 // first byte of compressed text; no other text begins with it

// deflate returns text compressed, or text itself if that is not longer.
func deflate(text []byte) []byte {
	var out bytes.Buffer
	out.WriteByte(deflated)
	w, err := flate.NewWriter(&out, flate.BestCompression)
	if err != nil {
		return text
	}
	if _, err := w.Write(text); err != nil || w.Close() != nil || out.Len() >= len(text) {
		return text
	}
	return out.Bytes()
}

// maxInflated is the size of the largest text: the longest target and what else is in a flow, in JSON.
const maxInflated = 4 * MaxTarget

var errTooLong = errors.New("text is too long")

// inflate returns the text that deflate was given.
func inflate(text []byte) ([]byte, error) {
	if len(text) == 0 || text[0] != deflated {
		return text, nil
	}
	plain, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(text[1:])), maxInflated+1))
	if err == nil && len(plain) > maxInflated {
		return nil, errTooLong
	}
	return plain, err
}

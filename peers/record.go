package peers

import (
	"bytes"
	"compress/flate"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"sallyport/store"
)

// question is the record of a question.
type question struct {
	Name   string          `json:"name"`
	Args   json.RawMessage `json:"args,omitempty"`
	Urgent bool            `json:"urgent,omitempty"` // see [Peers.AskFirst]
}

// reply is the record of a reply. Of Packed, Err and Idle, one is set.
type reply struct {
	Packed []byte `json:"packed,omitempty"` // the body, by DEFLATE
	Err    string `json:"error,omitempty"`
	Idle   bool   `json:"idle,omitempty"` // the process replies to nothing: it is a command that uses the store for a while
}

// pack returns the record of a reply.
func pack(body json.RawMessage, err error) reply {
	if err != nil {
		return reply{Err: err.Error()[:min(len(err.Error()), 1000)]}
	}
	var out bytes.Buffer
	w, _ := flate.NewWriter(&out, flate.BestSpeed) // the level is valid
	_, _ = w.Write(body)                           // a buffer takes everything
	_ = w.Close()
	if out.Len() > maxReply || len(body) > maxBody {
		return reply{Err: fmt.Sprintf("its reply is too long (%d bytes)", len(body))}
	}
	return reply{Packed: out.Bytes()}
}

// unpack returns the reply of a replica.
func (r reply) unpack(replica string) Reply {
	if r.Err != "" {
		return Reply{Replica: replica, Err: r.Err}
	}
	body, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(r.Packed)), maxBody+1))
	if err == nil && (len(body) > maxBody || !json.Valid(body)) {
		err = errors.New("it is too long, or no JSON")
	}
	if err != nil {
		return Reply{Replica: replica, Err: "its reply cannot be read: " + err.Error()}
	}
	return Reply{Replica: replica, Body: body}
}

// splitKey returns the id of the question that a key is of, and the process whose reply it is; "" for the question itself.
func splitKey(key []byte) (id, process string, ok bool) {
	rest, ok := strings.CutPrefix(string(key), prefix)
	id, process, replies := strings.Cut(rest, "/")
	raw, err := hex.DecodeString(id)
	return id, process, ok && err == nil && len(raw) == 16 && replies == (process != "")
}

// Inspect returns whether a record of the store is one of this package, and what is wrong with it.
func Inspect(e store.Entry) (ours bool, err error) {
	if !bytes.HasPrefix(e.Key, []byte(prefix)) {
		return false, nil
	}
	if _, _, ok := splitKey(e.Key); !ok || !json.Valid(e.Value) {
		return true, errors.New("the record is not what was written")
	}
	return true, nil
}

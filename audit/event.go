package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

// Kind says what an event tells of; the set is closed.
type Kind string

// The kinds of events.
const (
	KindLogin    Kind = "login"    // somebody signed in, or was not let
	KindLogout   Kind = "logout"   // somebody signed out
	KindDecision Kind = "decision" // a request was let in or turned away
	KindCut      Kind = "cut"      // a request that was let in was ended
	KindEnd      Kind = "end"      // a session was ended early
	KindSuspend  Kind = "suspend"  // an operator shut a user out, or took that back
	KindSCIM     Kind = "scim"     // the identity provider changed the directory
	KindToken    Kind = "token"    // a provisioning token was made or revoked
	KindConfig   Kind = "config"   // the configuration was put in force, or refused
	KindStart    Kind = "start"    // the server started
	KindStop     Kind = "stop"     // the server stopped
)

// Actor is who acts on Sallyport itself, and from where: an operator, or the server by itself.
type Actor struct {
	Kind    ActorKind `json:"kind,omitempty"`
	Name    string    `json:"name,omitempty"`
	Address string    `json:"address,omitempty"`
}

// ActorKind is what an actor is; the set is closed.
type ActorKind string

// The kinds of actors.
const (
	ActorOperator ActorKind = "operator" // a user of the system that Sallyport runs on; Name is that user's
	ActorSystem   ActorKind = "system"   // the server itself; Name is what caused it to act
)

// Event is one line of the record. It holds no secret and no query string.
type Event struct {
	Time     time.Time         `json:"time"`
	Kind     Kind              `json:"kind"`
	Actor    Actor             `json:"actor,omitzero"`    // who did it, where somebody acts on Sallyport itself
	Request  string            `json:"request,omitempty"` // the id shown to the caller
	User     string            `json:"user,omitempty"`    // the directory's id
	UserName string            `json:"user_name,omitempty"`
	Group    string            `json:"group,omitempty"`
	Session  string            `json:"session,omitempty"`
	Route    string            `json:"route,omitempty"`
	Host     string            `json:"host,omitempty"`
	Method   string            `json:"method,omitempty"`
	Path     string            `json:"path,omitempty"`
	Address  string            `json:"address,omitempty"` // of the client
	Code     int               `json:"code,omitempty"`
	Decision string            `json:"decision,omitempty"` // allow or deny
	Rule     string            `json:"rule,omitempty"`
	Reason   string            `json:"reason,omitempty"`
	Revision uint64            `json:"rev,omitempty"` // of the directory
	Detail   map[string]string `json:"detail,omitempty"`
}

// line is an event in its place in the chain.
type line struct {
	Seq uint64 `json:"seq"`
	Event
	Prev string `json:"prev"` // hash of the line before; "" for the first
}

// link is where a chain ends.
type link struct {
	seq  uint64
	hash string
}

// hashMark stands between a line's facts and its hash; the hash covers all before it.
const hashMark = `,"hash":"`

// append appends to lines the one that continues the chain with e, and returns the chain's new end.
func (l link) append(lines []byte, e Event) ([]byte, link) {
	begin := len(lines)
	lines = line{Seq: l.seq + 1, Event: e, Prev: l.hash}.appendFacts(lines)
	hash := digest(lines[begin:])
	lines = append(append(append(lines, hashMark...), hash...), "\"}\n"...)
	return lines, link{l.seq + 1, hash}
}

func digest(facts []byte) string {
	sum := sha256.Sum256(facts)
	return hex.EncodeToString(sum[:])
}

// follow checks that text continues the chain.
func (l link) follow(text []byte) (link, Event, error) {
	broken := func(why string) (link, Event, error) {
		return l, Event{}, fmt.Errorf("%w: line %d %s", ErrBroken, l.seq+1, why)
	}
	at := bytes.LastIndex(text, []byte(hashMark))
	if at < 0 {
		return broken("has no hash")
	}
	var one struct {
		line
		Hash string `json:"hash"`
	}
	if err := json.Unmarshal(text, &one); err != nil {
		return broken("is not JSON: " + err.Error())
	}
	switch {
	case one.Hash != digest(text[:at]):
		return broken("was changed: its hash does not match")
	case one.Prev != l.hash || one.Seq != l.seq+1:
		return broken("does not follow the line before: lines were removed or put in")
	}
	return link{one.Seq, one.Hash}, one.Event, nil
}
